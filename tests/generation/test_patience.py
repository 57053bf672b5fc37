"""Calls join a submission, and leave it when their time is up; it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client

from tests.calls import ARGUMENTS, PROMPT, answer, call, text
from tests.clock import now
from tests.generation.gateway import EVERY_FORM, gateway, generate, paid_for, refusal
from tests.world import World, picture
from wan_mcp.errors import LedgerError, StillUnderWay
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


async def test_a_call_is_answered_within_the_clients_patience_and_the_request_goes_on(world: World) -> None:
    """45 seconds where the client is not known; the next call gets the outcome."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=55))
    async with world.client() as client:
        began = now()
        said = await refusal(client)
        assert now() - began == 45
        assert "Evolink has not answered yet" in said
        assert "exactly the same arguments again in a minute" in said
        assert said.endswith("It is not known whether credits were charged.")
        found = await answer(client, "generate_video", **ARGUMENTS)
        assert now() - began < 60
    assert paid_for(world, PROMPT) == {found["id"]}


async def test_a_caller_that_goes_away_changes_nothing(world: World) -> None:
    """The request is still sent and recorded."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=5))
    async with world.service() as service:
        with anyio.move_on_after(1):
            await generate(service)
        await anyio.sleep(10)
        assert [entry.status for entry in await world.rows()] == ["pending"]
    assert len(world.records.paid) == 1


async def test_whoever_waits_is_told_what_is_being_done(world: World, tmp_path: Path) -> None:
    """Every few seconds; a call that is answered at once has no notices."""
    path = tmp_path / "cat.png"
    await anyio.Path(path).write_bytes(picture())
    world.sandbox.faults.add(
        Fault("upload", "slow", seconds=9), Fault("submit", "slow", seconds=9), Fault("submit", "lost")
    )
    world.sandbox.list_delay = 30
    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with world.client() as client:
        arguments = ARGUMENTS | {"image_urls": [str(path)]}
        await client.call_tool("generate_video", arguments, progress_callback=hear)
        await client.call_tool("generate_video", arguments | {"take": 2}, progress_callback=hear)
        stages = [message for _, message in heard]
        await client.call_tool("generate_video", arguments | {"take": 3}, progress_callback=hear)
    assert len(heard) == len(stages)
    for stage in ("uploading the picture", "waiting for Evolink's answer", "looking for the task in"):
        assert any((message or "").startswith(stage) for message in stages), stages


async def test_an_upload_that_takes_longer_than_the_call_is_gone_on_with(
    world: World, tmp_path: Path
) -> None:
    """Nothing was sent yet, the answer says so, and the same call again is the same request."""
    path = tmp_path / "cat.png"
    await anyio.Path(path).write_bytes(picture())
    world.sandbox.faults.add(Fault("upload", "slow", seconds=19))
    async with world.service() as service:
        with pytest.raises(StillUnderWay, match="nothing was sent yet") as raised:
            await generate(service, patience=10, image_urls=[str(path)])
        assert raised.value.charged == "no"
        snapshot = await generate(service, image_urls=[str(path)])
    assert (world.records.uploads, paid_for(world, PROMPT)) == (1, {snapshot.task.id})


class Stalling(httpx2.AsyncBaseTransport):
    """A host of pictures that never answers."""

    def __init__(self, beyond: httpx2.AsyncBaseTransport) -> None:
        self._beyond = beyond

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.headers["host"] == "pictures.example.com":
            await anyio.sleep_forever()
        return await self._beyond.handle_async_request(request)


async def test_a_picture_that_is_not_read_in_time_ends_the_call_with_words(world: World) -> None:
    """Nothing was sent, and the error says what to do."""
    world.transport = Stalling(world.transport)
    async with world.client(WAN_MCP_IMAGE_CHECK="on") as client:
        began = now()
        said = await refusal(client)
    assert now() - began <= 46
    assert "the picture could not be read within 45 seconds" in said
    assert said.endswith("Nothing was sent or charged.")


@EVERY_FORM
async def test_sixty_requests_at_a_slow_gateway_are_sixty_payments(tmp_path: Path, form: str) -> None:
    """Three times twenty POSTs of 17 s each; none is sent twice, since its time begins with its turn."""
    world = gateway(tmp_path, form, credits=10_000.0)
    world.sandbox.faults.add(Fault("submit", "slow", None, seconds=17))
    snapshots: list[TaskSnapshot] = []

    async def ask(service: VideoService, prompt: str) -> None:
        snapshots.append(await generate(service, prompt))

    began = now()
    async with world.service() as service, anyio.create_task_group() as group:
        for number in range(60):
            group.start_soon(ask, service, f"Cat {number} yawns.")
    assert now() - began == pytest.approx(51, abs=1)
    assert len({snapshot.task.id for snapshot in snapshots}) == 60
    assert world.records.posts == len(world.records.paid) == 60


def _deleted(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


def _moved(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def _replaced(folder: Path) -> None:
    path = folder / "ledger.sqlite3"
    copy = path.read_bytes()
    _deleted(folder)
    path.write_bytes(copy)


@pytest.mark.parametrize("change", [_deleted, _moved, _replaced], ids=lambda change: change.__name__[1:])
async def test_a_ledger_that_moves_under_a_running_server_stops_its_paid_calls(
    world: World, tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    """Another server may make a new ledger there: this one sends nothing until a restart; reads go on."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
        change(tmp_path / "data")
        async with world.client() as second:
            await _told_to_restart(client)
            new = await answer(second, "generate_video", **(ARGUMENTS | {"prompt": "Another."}))
        await _told_to_restart(client)
        assert (await answer(client, "get_task", task_id=first["id"]))["id"] == first["id"]
    assert {payment.task_id for payment in world.records.paid} == {first["id"], new["id"]}


async def _told_to_restart(client: Client) -> None:
    result = await call(client, "generate_video", **(ARGUMENTS | {"prompt": "Another."}))
    assert result.is_error
    assert "was deleted, moved or replaced while this server was running" in text(result)
    assert "Restart the server" in text(result)
    assert text(result).endswith("Nothing was sent or charged.")


async def test_a_ledger_that_moves_between_claim_and_sending_stops_the_request(
    world: World, tmp_path: Path
) -> None:
    """That is the last moment at which nothing is sent yet."""
    path = tmp_path / "cat.png"
    await anyio.Path(path).write_bytes(picture())
    world.sandbox.faults.add(Fault("upload", "slow", seconds=5))

    async def refused(service: VideoService) -> None:
        with pytest.raises(LedgerError, match="deleted, moved or replaced"):
            await generate(service, image_urls=[str(path)])

    async with world.service() as service, anyio.create_task_group() as group:
        group.start_soon(refused, service)
        await anyio.sleep(2)
        _moved(tmp_path / "data")
    assert world.records.posts == 0
