"""What others say is shown without the key and without what gives access; what is used stays as it is."""

import json
import logging
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.calls import ARGUMENTS, call, text
from tests.evolink.gateway import reply
from tests.world import KEY, World
from wan_mcp.errors import EvolinkError
from wan_mcp.evolink import Connections, Evolink, Task
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


def evolink(key: str, payload: object, status: int = 200, **headers: str) -> Evolink:
    answer = httpx2.MockTransport(lambda _: reply(payload, status, **headers))
    return Evolink(SecretStr(key), Connections(answer))


@pytest.mark.parametrize("key", ["k", "task", "unified", "tas", KEY])
async def test_the_key_is_masked_in_texts_and_never_in_an_id_or_a_link(key: str) -> None:
    """An id that is altered is a paid task that is lost."""
    task_id, link = f"task-unified-1757169743-{key}", f"https://media.evolink.ai/{key}/v.mp4?k={key}"
    payload = {
        "id": task_id,
        "status": "completed",
        "model": f"model of {key}",
        "results": [link, {"url": link}],
    }
    task = await evolink(key, payload).task(task_id)
    assert task == Task(id=task_id, status="completed", model="model of [the key]", results=(link, link))
    listing = await evolink(key, {"data": [payload]}).tasks()
    assert listing.tasks == (task,)


async def test_a_short_key_is_masked_as_a_word_only(caplog: pytest.LogCaptureFixture) -> None:
    """The text around it stays readable, and ids in it stay ids."""
    caplog.set_level(logging.DEBUG)
    error = {"code": "bad_tas", "message": "tas: no task-unified-1-tas for 'tas'. Wrong key tas."}
    with pytest.raises(EvolinkError) as caught:
        await evolink("tas", {"error": error}, 400, **{"x-request-id": "tas 7"}).task("task-unified-1-tas")
    assert "[the key]: no task-unified-1-tas for '[the key]'. Wrong key [the key]." in str(caught.value)
    assert caught.value.request_id == "[the key] 7"
    assert caught.value.code == "bad_tas"


async def test_a_key_that_is_repeated_anywhere_is_in_no_error_log_or_ledger(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the JSON spells it with escapes, and as a status that nobody knows."""
    caplog.set_level(logging.DEBUG)
    escaped = KEY.replace("-", "\\u002d")
    body = {"id": "task-unified-1757169743-a", "status": "KEY", "model": "KEY", "usage": {"KEY": "KEY"}}
    failed = body | {"status": "failed", "error": {"code": "KEY", "message": "KEY", "KEY": ["KEY"]}}
    for payload in (body, failed):
        content = json.dumps(payload).replace("KEY", escaped).encode()
        world.transport = httpx2.MockTransport(
            lambda _, content=content: httpx2.Response(200, stream=httpx2.ByteStream(content))
        )
        async with world.client(WAN_MCP_LOG_LEVEL="DEBUG") as client:
            told = str(await call(client, "get_task", task_id=body["id"]))
        assert "[the key]" in told
        assert KEY not in told
    assert KEY not in caplog.text
    assert not any(KEY.encode() in path.read_bytes() for path in (tmp_path / "data").iterdir())
