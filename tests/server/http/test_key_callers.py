"""Callers who bring an Evolink key: who may call, what that costs, and what it leaves behind."""

from typing import Any

import anyio
import pytest

from tests.calls import answer
from tests.server.http.hosted import HTTP_ERAS, IN_BOTH_ERAS, Era, Hosted, hosted, message
from tests.world import KEY, World
from wan_mcp.sandbox import Fault
from wan_mcp.server.http import keys

pytestmark = pytest.mark.anyio

WRONG = "sk-wrong-0123456789abcdef"


async def checks(world: World) -> int:
    """How many times the sandbox was asked for the credits."""
    return sum(call.at == "credits" for call in world.records.calls)


@IN_BOTH_ERAS
async def test_the_right_key_may_call_and_is_checked_once(world: World, era: Era) -> None:
    """In either header; one small read, good for ten minutes."""
    async with hosted(world) as server:
        for headers in ({"authorization": f"Bearer {KEY}"}, {"x_api_key": KEY}) * 2:
            assert (await server.post(era, **headers)).status_code == 200
        assert await checks(world) == 1
        await anyio.sleep(keys.GOOD_FOR + 1)
        assert (await server.post(era, x_api_key=KEY)).status_code == 200
        assert await checks(world) == 2


@IN_BOTH_ERAS
async def test_a_wrong_key_is_refused_for_a_minute_without_asking_again(world: World, era: Era) -> None:
    """It may be a key that was just made."""
    async with hosted(world) as server:
        for _ in range(3):
            refused = await server.post(era, authorization=f"Bearer {WRONG}")
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
        assert await checks(world) == 1
        await anyio.sleep(keys.BAD_FOR + 1)
        world.sandbox.other_keys = (WRONG,)
        assert (await server.post(era, authorization=f"Bearer {WRONG}")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        ("credits:status,status=500*always", "5"),
        ("credits:status,status=429,retry_after=45*always", "45"),
        ("credits:dropped*always", "5"),
    ],
    ids=["fault of the API", "rate limit of the API", "no answer"],
)
async def test_a_key_that_cannot_be_checked_is_neither_right_nor_wrong(
    world: World, fault: str, after: str
) -> None:
    """503, when to come again, and nothing is remembered."""
    async with hosted(world) as server:
        world.sandbox.faults.add(Fault.parse(fault))
        refused = await server.post(authorization=f"Bearer {KEY}")
        assert refused.status_code == 503, refused.text
        assert refused.headers["retry-after"] == after
        world.sandbox.faults.clear()
        assert (await server.post(authorization=f"Bearer {KEY}")).status_code == 200


async def test_equal_keys_at_once_are_checked_once(world: World) -> None:
    """A program that begins with a hundred calls."""
    async with hosted(world) as server, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(_expect, server, 200, f"192.0.2.{number}", KEY)
    assert await checks(world) == 1


async def _expect(server: Hosted, status: int, address: str, key: str) -> None:
    assert (await server.post(address=address, authorization=f"Bearer {key}")).status_code == status


async def test_a_thousand_invented_keys_cost_a_small_read_each_and_no_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No owner, no decoding, no upload; of the checks, only so many are remembered."""
    monkeypatch.setattr(keys, "MAX_KNOWN", 100)
    async with hosted(world) as server:
        for number in range(1000):
            await _expect(server, 401, f"192.0.2.{number % 200}", f"{WRONG}{number}")
        services = server.app.state.hosted.services
        assert services.owners == 0
        known = server.app.state.hosted.callers.keys.known
        assert known <= 100
        await _expect(server, 200, "192.0.2.201", KEY)
    assert {call.at for call in world.records.calls} == {"credits"}
    assert world.records.uploads == 0


@pytest.mark.parametrize(
    "key", ["your-api-key", "sk-" + "x" * 600, "sk-ö", '"sk-quoted-0123456"', "x" * 5000]
)
async def test_what_cannot_be_a_key_is_refused_unasked(world: World, key: str) -> None:
    """Placeholders, and characters that no key has."""
    async with hosted(world) as server:
        body, headers = message("tools/list", "modern")
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with server.http() as http:
            named.append((b"authorization", f"Bearer {key}".encode()))
            refused = await http.post("/mcp", json=body, headers=named)
        assert refused.status_code == 401
    assert await checks(world) == 0


async def test_the_server_has_no_key_of_its_own(world: World) -> None:
    """Nobody is served without a key, not even for a list of tools."""
    async with hosted(world) as server:
        for era in HTTP_ERAS:
            for method in ("tools/list", "initialize", "server/discover", "resources/list", "ping"):
                assert (await server.post(era, method)).status_code == 401
    assert world.records.calls == []


@IN_BOTH_ERAS
async def test_a_video_is_paid_with_the_callers_key(world: World, era: Era) -> None:
    """From the request to the completed task."""
    async with hosted(world) as server, server.client(KEY, era) as client:
        arguments: dict[str, Any] = {"prompt": "go", "image_urls": ["https://pictures.example.com/cat.png"]}
        asked = await answer(client, "generate_video", **arguments)
        await anyio.sleep(130)
        assert (await answer(client, "get_task", task_id=asked["id"]))["status"] == "completed"
    assert all(call.authorized for call in world.records.calls if call.at != "file")
    assert len(world.records.paid) == 1
