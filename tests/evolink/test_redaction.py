"""What others say is shown without what gives access."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calls import ARGUMENTS, call, text
from tests.world import World
from wan_mcp.evolink.redaction import tidy
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://h.example/cat.png?X-Amz-Signature=canary", "https://h.example/cat.png?…"),
        ("bucket.s3.amazonaws.com/cat.png?X-Amz-Signature=canary", "bucket.s3.amazonaws.com/cat.png?…"),
        ("//h.example/x?sig=canary", "//h.example/x?…"),
        ("host/path?token=canary", "host/path?…"),
        ("/cat.png?canary", "/cat.png?…"),
        ("www.x.com?sig=canary", "www.x.com?…"),
        ("localhost:8000?sig=canary", "localhost:8000?…"),
        ("https:\\/\\/h.example\\/x?sig=canary", "https:\\/\\/h.example\\/x?…"),
        ("s3://bucket/cat.png?sig=canary", "s3://bucket/cat.png?…"),
        ("https://h.example/x#access_token=canary", "https://h.example/x?…"),
        ("www.x.com#token=canary", "www.x.com?…"),
        ("https%3A%2F%2Fh.example%2Fx%3Fsig%3Dcanary", "https://h.example/x?…"),
        ("url=https%253a%252f%252fh.example%252fx%253fsig%253dcanary", "url=https://h.example/x?…"),
        ("h.example%2Fx%3Fsig%3Dcanary", "h.example/x?…"),
        ("https://user:canary@h.example/x", "https://h.example/x"),
        ("https://user:can?ary@h.example/x?a=b", "https://h.example/x?…"),
        ("https://canary@h.example/x", "https://h.example/x"),
        ("//user:canary@h.example", "//h.example"),
        ("user:canary@h.example/x", "h.example/x"),
        ("https://a:canary@b.example,https://c:canary@d.example", "https://b.example,https://d.example"),
        ("https://a.example/?x=canary,https://b.example/?y=canary", "https://a.example/?…"),
    ],
)
async def test_an_address_in_an_upstream_text_is_shown_without_what_gives_access(
    world: World, address: str, shown: str
) -> None:
    """However it is written: queries, fragments, users and passwords are left out."""
    world.sandbox.faults.add(Fault("submit", "status", status=400, message=f"Cannot fetch {address} now"))
    async with world.client() as client:
        told = text(await call(client, "generate_video", **ARGUMENTS))
    assert f"Cannot fetch {shown} now" in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "sentence",
    [
        "Is it a cat? Yes.",
        "What?No!",
        "Is example.com down? Ask support@evolink.ai.",
        "Really...?",
        "100% sure? 50%?",
        "See issue#12, and/or C#.",
        "See https://docs.evolink.ai/errors.",
        "Two: a/b.",
        "Allowed: 360-2000 (why?)",
    ],
)
def test_a_sentence_is_shown_as_it_is(sentence: str) -> None:
    """A question mark is not always the beginning of a query."""
    assert tidy(sentence) == sentence


@given(st.text(st.sampled_from("a.:/@?#%3F= \n\u2028\ud800"), max_size=200), st.integers(1, 50))
def test_any_text_becomes_one_bounded_line(upstream: str, limit: int) -> None:
    """Never an exception."""
    shown = tidy(upstream, limit)
    assert len(shown) <= limit
    assert not shown or shown.isprintable()
