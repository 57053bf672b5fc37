"""Requests are strict."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tests.evolink.gateway import (
    ARGUMENTS,
    ONCE,
    REQUEST,
    account,
    patient,
)
from tests.world import World
from wan_mcp.errors import (
    InvalidRequest,
    SettingsError,
)
from wan_mcp.evolink import (
    IMAGE_MODEL,
    TEXT_MODEL,
    Connections,
    Evolink,
    ImageToVideoRequest,
    TextToVideoRequest,
)
from wan_mcp.evolink.requests import ASPECT_RATIOS, QUALITIES, request_of
from wan_mcp.sandbox.orders import read_order
from wan_mcp.sandbox.problems import Problem

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": ""},
        {"prompt": " \n"},
        {"prompt": "x" * 1001},
        {"prompt": "a\x00b"},
        {"prompt": "\ud800"},
        {"prompt": 5},
        {"prompt": None},
        {"image_urls": []},
        {"image_urls": ARGUMENTS["image_urls"] * 2},
        {"image_urls": ARGUMENTS["image_urls"][0]},
        {"image_urls": ["data:image/png;base64,AAAA"]},
        {"image_urls": ["ftp://example.com/a.png"]},
        {"image_urls": ["https://"]},
        {"image_urls": ["https://user:secret@example.com/a.png"]},
        {"image_urls": ["https://example.com/a b.png"]},
        {"image_urls": [5]},
        {"duration": 7},
        {"duration": "5"},
        {"duration": True},
        {"duration": 5.5},
        {"quality": "4k"},
        {"quality": 720},
        {"prompt_extend": "yes"},
        {"prompt_extend": 1},
        {"callback_url": "http://example.com"},
        {"callback_url": "https://10.0.0.1/hook"},
        {"callback_url": "https://localhost/hook"},
        {"callback_url": "https://example.com/" + "x" * 2048},
        {"model": "wan2.6-image-to-video"},
        {"seed": 1},
    ],
)
def test_a_request_that_breaks_a_rule_cannot_be_made(wrong: dict[str, Any]) -> None:
    """What the endpoint would refuse, or does not know, is no request."""
    with pytest.raises(ValidationError):
        ImageToVideoRequest.model_validate(ARGUMENTS | wrong)


@patient
@given(
    st.fixed_dictionaries(
        {
            "prompt": st.text(max_size=1001) | st.sampled_from(["x" * 1000, "猫" * 1000, "x" * 1001]),
            "image_urls": st.lists(
                st.sampled_from([*ARGUMENTS["image_urls"], "a.png", "http://[::1]/", "https://é.fr/a"])
            ),
        },
        optional={
            "duration": st.sampled_from([5, 10, 5.0, 6, "5", None, True]),
            "quality": st.sampled_from(["480p", "720p", "1080p", "", None]),
            "prompt_extend": st.booleans() | st.none() | st.integers(),
            "callback_url": st.sampled_from(
                [
                    "https://example.com/hook",
                    "https://1.1.1.1/",
                    "https://[::ffff:10.0.0.1]/",
                    "https://a.local",
                    "",
                ]
            ),
            "model": st.just(IMAGE_MODEL) | st.text(),
        },
    )
)
def test_every_request_that_can_be_made_is_one_that_the_api_takes(fields: dict[str, Any]) -> None:
    """The imitation of the API is the witness: it shares no code with the request."""
    try:
        request = ImageToVideoRequest.model_validate(fields)
    except ValidationError:
        return
    order = read_order(json.loads(json.dumps(request.body())))
    assert order.prompt == fields["prompt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": "x" * 1001},
        {"prompt": ["a cat"]},
        {"aspect_ratio": "16/9"},
        {"aspect_ratio": "21:9"},
        {"aspect_ratio": 1},
        {"aspect_ratio": "4:3", "quality": "480p"},
        {"aspect_ratio": "3:4", "quality": "480p"},
        {"image_urls": ARGUMENTS["image_urls"]},
        {"model": IMAGE_MODEL},
    ],
)
def test_a_text_request_that_breaks_a_rule_cannot_be_made(wrong: dict[str, Any]) -> None:
    """It takes no picture, and the picture's model is another one."""
    with pytest.raises(ValidationError):
        TextToVideoRequest.model_validate({"prompt": "A cat yawns."} | wrong)


@patient
@given(
    st.fixed_dictionaries(
        {"prompt": st.just("A cat yawns.")},
        optional={
            "aspect_ratio": st.sampled_from([*ASPECT_RATIOS, "16/9", None]),
            "quality": st.sampled_from([*QUALITIES, "", None]),
            "duration": st.sampled_from([5, 10, None]),
            "model": st.sampled_from([TEXT_MODEL, IMAGE_MODEL]),
        },
    )
)
def test_a_text_request_can_be_made_exactly_where_the_api_takes_it(fields: dict[str, Any]) -> None:
    """Each shape at each quality; what was not given is not sent."""
    given_fields = {"model": TEXT_MODEL} | {
        name: value for name, value in fields.items() if value is not None
    }
    try:
        order = read_order(given_fields)
    except Problem:
        with pytest.raises(ValidationError):
            TextToVideoRequest.model_validate(fields)
        return
    assert order.model == TEXT_MODEL
    assert TextToVideoRequest.model_validate(fields).body() == given_fields


def test_a_recorded_body_is_read_as_the_request_that_it_was() -> None:
    """By its model; any other is refused."""
    text = TextToVideoRequest(prompt="A cat yawns.", aspect_ratio="1:1")
    assert [request_of(request.body()) for request in (REQUEST, text)] == [REQUEST, text]
    wrong: tuple[object, ...] = (None, [], {}, {"prompt": "A cat yawns."}, text.body() | {"model": "another"})
    for body in wrong:
        with pytest.raises(ValidationError):
            request_of(body)


@pytest.mark.parametrize(
    "key", ["", "short", "x" * 15, "x" * 97, "has spaces in it.", "é" * 20, "a/b" * 8, ONCE + "\n"]
)
async def test_a_key_that_is_no_idempotency_key_is_never_sent(key: str) -> None:
    """The gateway might pass over it, and a repeat be paid twice."""
    world = account()
    with pytest.raises(InvalidRequest):
        await world.evolink().submit(REQUEST, idempotency_key=key)
    assert world.records.calls == []


@pytest.mark.parametrize("key", ["x" * 16, "x" * 96, "Az09._-" * 5])
async def test_every_documented_idempotency_key_is_sent(key: str) -> None:
    """16 to 96 letters, digits, dots, underscores and dashes."""
    world = account()
    await world.evolink().submit(REQUEST, idempotency_key=key)
    assert world.records.paid[0].idempotency_key == key


async def test_the_servers_own_keys_are_idempotency_keys(world: World) -> None:
    """Each request has one of its own, and it is of the form that the gateway knows."""
    async with world.client() as client:
        for prompt in ("a", "b"):
            result = await client.call_tool("generate_video", ARGUMENTS | {"prompt": prompt})
            assert not getattr(result, "is_error", True)
    keys = [payment.idempotency_key or "" for payment in world.records.paid]
    assert len(set(keys)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{16,96}", key) for key in keys)


@pytest.mark.parametrize("key", ["", " ", "sk-a b", "sk-a\n", "sk-é", "sk-\x00"])
def test_a_key_that_no_header_can_hold_is_refused_at_once(key: str) -> None:
    """And the refusal does not repeat it."""
    with pytest.raises(SettingsError) as caught:
        Evolink(SecretStr(key), Connections())
    assert "sk-" not in str(caught.value)
