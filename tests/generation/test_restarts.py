"""What is still known after the end of the process."""

import base64
from pathlib import Path

import anyio
import pytest

from tests.calls import ARGUMENTS, PROMPT, answer, call
from tests.generation.gateway import EVERY_FORM, gateway, generate, listed, make_elsewhere, paid_for
from tests.world import KEY, World, picture
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


@EVERY_FORM
async def test_a_new_server_knows_what_the_old_one_paid(tmp_path: Path, form: str) -> None:
    """The same folder, another process: the same task, and the list has it."""
    world = gateway(tmp_path, form)
    async with world.client() as client:
        first = await answer(client, "generate_video", **ARGUMENTS)
    async with world.client() as client:
        again = await answer(client, "generate_video", **ARGUMENTS)
        rows = await listed(client)
    assert (again["id"], again["repeated"]) == (first["id"], True)
    assert [(row["id"], row["prompt"]) for row in rows] == [(first["id"], PROMPT)]
    assert world.records.posts == 1


@pytest.mark.parametrize("form", ["both", "key", "list"])
async def test_a_server_that_stops_in_the_middle_leaves_what_the_next_one_needs(
    tmp_path: Path, form: str
) -> None:
    """The request is under way when it stops; the next equal call finds its task."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "slow", seconds=20))
    async with world.client() as client:
        with anyio.move_on_after(3):
            await call(client, "generate_video", **ARGUMENTS)
    async with world.client() as client:
        [row] = await listed(client)
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert row["status"] == "unknown"
    assert paid_for(world, PROMPT) == {found["id"]}


async def test_another_key_has_tasks_of_its_own(world: World) -> None:
    """The requests of one key are neither listed nor repeated for another one."""
    async with world.service() as service:
        await generate(service)
    world.sandbox.key = f"{KEY}-two"
    async with world.client(EVOLINK_API_KEY=f"{KEY}-two") as client:
        assert await listed(client) == []
        assert "repeated" not in await answer(client, "generate_video", **ARGUMENTS)


async def test_a_task_made_elsewhere_can_be_read_and_is_listed_from_then_on(world: World) -> None:
    """But it is not the answer to any request of this ledger."""
    other = await make_elsewhere(world, PROMPT)
    async with world.client() as client:
        assert await listed(client) == []
        assert (await answer(client, "get_task", task_id=other))["id"] == other
        [row] = await listed(client)
        found = await answer(client, "generate_video", **ARGUMENTS)
    assert (row["id"], row["status"], "prompt" in row) == (other, "pending", False)
    assert found["id"] != other


@pytest.mark.parametrize(
    "fault",
    [
        Fault("task", "status", times=None, status=503),
        Fault("task", "status", times=None, status=404),
        Fault("task", "status", times=None, status=429),
        Fault("task", "lost", times=None),
        Fault("task", "html", times=None),
    ],
    ids=lambda fault: f"{fault.kind}{fault.details.get('status', '')}",
)
async def test_where_upstream_is_out_of_reach_the_last_known_state_is_told(
    world: World, fault: Fault
) -> None:
    """With its time, and the reason why there is nothing newer; a new server knows it, too."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        await anyio.sleep(60)
        seen = await answer(client, "get_task", task_id=task_id)
    world.sandbox.faults.add(fault)
    await anyio.sleep(600)
    async with world.client() as client:
        for tool, arguments in (("get_task", {}), ("wait_for_task", {"timeout_seconds": 0})):
            told = await answer(client, tool, task_id=task_id, **arguments)
            assert (told["status"], told["progress"]) == (seen["status"], seen["progress"])
            assert "The last read failed" in told["next"] or "does not know this task" in told["next"]
            assert "This is how the task was today" in told["next"]
        again = await answer(client, "generate_video", **ARGUMENTS)
        assert (again["id"], again["repeated"]) == (task_id, True)
        assert [row["status"] for row in await listed(client)] == [seen["status"]]


async def test_the_answer_says_what_was_reserved_and_what_was_used(world: World) -> None:
    """Also in the answer to a repeat, and in the list."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **ARGUMENTS))["id"]
        await anyio.sleep(130)
        done = await answer(client, "get_task", task_id=task_id)
        again = await answer(client, "generate_video", **ARGUMENTS)
        [row] = await listed(client)
    assert done["credits"] == again["credits"] == {"reserved": 25.5, "used": 25.5}
    assert (row["credits"], row["results"]) == (25.5, done["results"])
    assert again["status"] == "completed"


async def test_neither_key_nor_picture_is_in_the_ledgers_files(world: World, tmp_path: Path) -> None:
    """The raw bytes of the files are searched, while the ledger is open and afterwards."""
    content = picture()
    await anyio.Path(tmp_path / "cat.png").write_bytes(content)
    request = ARGUMENTS | {"image_urls": [str(tmp_path / "cat.png")]}
    world.sandbox.faults.add(Fault("submit", "status", status=401, message=f"Bad token {KEY}"))
    world.sandbox.faults.add(Fault("submit", "patch", times=2, body={"model": f"a {KEY}", "id": None}))
    piece = content[len(content) // 2 :][:32]
    secrets = [KEY.encode(), piece, base64.b64encode(content)[600:640], piece.hex().encode()]

    def search() -> int:
        files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
        assert not [path for path in files for secret in secrets if secret in path.read_bytes()]
        return len(files)

    async with world.client() as client:
        for _ in range(3):
            await call(client, "generate_video", **request)
        await call(client, "list_tasks")
        assert search() == 3
    assert search() == 1
