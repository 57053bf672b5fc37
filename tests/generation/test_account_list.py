"""The account's own list tells what became of a submission without an answer."""

from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from tests.calls import PROMPT
from tests.clock import now
from tests.generation.gateway import gateway, generate, listed, make_elsewhere, paid_for, refusal
from tests.world import KEY, World
from wan_mcp.errors import OutcomeUnknown
from wan_mcp.evolink import Task
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import ClaimRules, Intent
from wan_mcp.ledger.sqlite.store import SqliteLedger, SqliteOwnerLedger
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


async def test_several_tasks_that_may_be_it_are_named_and_nothing_is_sent(world: World) -> None:
    """Who cannot tell does not pay; the answer says which they are, and how to go on."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.client() as client:
        await refusal(client)
        other = await make_elsewhere(world)
        posts = world.records.posts
        for arguments in ({}, {"new_take": True}):
            said = await refusal(client, **arguments)
            assert "Nothing was sent now." in said
            assert {
                name for name in said.replace(",", " ").replace(".", " ").split() if "task-unified" in name
            } == {
                other,
                *paid_for(world, PROMPT),
            }
            assert "wan-mcp tasks --forget '#1'" in said
        assert world.records.posts == posts
        assert [row["status"] for row in await listed(client)] == ["unknown"]


async def test_a_request_that_was_forgotten_is_a_new_one(world: World) -> None:
    """As the answer advises, where it cannot be told which task it is."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        await make_elsewhere(world)
        with pytest.raises(OutcomeUnknown, match="cannot be told which"):
            await generate(service)
        assert await world.forget("#1")
        snapshot = await generate(service)
    assert snapshot.task.id in paid_for(world, PROMPT)


async def test_two_requests_lost_together_are_not_mistaken_for_one_another(world: World) -> None:
    """Either task may be either's: both are named, and nothing is sent."""
    world.sandbox.faults.add(Fault("submit", "status", times=2, status=500, carried_out=True))
    prompts = ("The cat yawns.", "The dog yawns.")
    async with world.service() as service:
        for prompt in prompts:
            with pytest.raises(OutcomeUnknown):
                await generate(service, prompt)
        for prompt in prompts:
            with pytest.raises(OutcomeUnknown) as raised:
                await generate(service, prompt)
            assert all(payment.task_id in raised.value.message for payment in world.records.paid)
    assert world.records.posts == 2


async def test_a_task_that_may_be_another_lost_request_s_is_not_taken(world: World) -> None:
    """One of two lost requests arrived, and it cannot be told which: nothing is sent, nothing guessed."""
    world.sandbox.faults.add(
        Fault("submit", "status", status=500), Fault("submit", "status", status=500, carried_out=True)
    )
    async with world.service() as service:
        for prompt in (PROMPT, "The dog yawns."):
            with pytest.raises(OutcomeUnknown):
                await generate(service, prompt)
        with pytest.raises(OutcomeUnknown, match=world.records.paid[0].task_id):
            await generate(service)
    assert world.records.posts == 2


async def test_a_task_of_another_key_of_the_account_is_not_taken(world: World) -> None:
    """The list is the whole account's, and the ledger knows whose task it is."""
    world.sandbox.faults.add(Fault("submit", "status", status=500))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
    world.sandbox.key = f"{KEY}-two"
    async with world.service(EVOLINK_API_KEY=f"{KEY}-two") as service:
        other = await generate(service)
    world.sandbox.key = KEY
    async with world.service() as service:
        snapshot = await generate(service)
    assert snapshot.task.id != other.task.id
    assert world.records.posts == 3


async def test_a_search_waits_for_the_requests_that_are_under_way(world: World) -> None:
    """When the other one has its answer, what is left is ours."""
    world.sandbox.faults.add(
        Fault("submit", "status", status=500, carried_out=True), Fault("submit", "slow", seconds=5)
    )
    found: dict[str, TaskSnapshot] = {}

    async def ask(service: VideoService, prompt: str) -> None:
        found[prompt] = await generate(service, prompt)

    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service, "The cat yawns.")
        async with anyio.create_task_group() as group:
            group.start_soon(ask, service, "The dog yawns.")
            await anyio.sleep(1)
            group.start_soon(ask, service, "The cat yawns.")
    for prompt, snapshot in found.items():
        assert paid_for(world, prompt) == {snapshot.task.id}
        assert snapshot.recovered is (prompt == "The cat yawns.")


async def test_a_task_that_finds_its_request_during_the_search_is_not_taken(world: World) -> None:
    """The other request is answered between two readings of the ledger: its task is its own."""
    ledger = Overtaken(world)
    world.sandbox.faults.add(Fault("submit", "status", status=500))
    async with world.service({"ledger": ledger}) as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        ledger.foreign = await make_elsewhere(world)
        await ledger.post_another()
        snapshot = await generate(service)
    assert snapshot.task.id != ledger.foreign
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_list_that_breaks_off_after_a_find_is_no_empty_list(tmp_path: Path) -> None:
    """A task that may be ours was seen on the first page: it is not paid for again."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        await anyio.sleep(200)
        for _ in range(49):
            await make_elsewhere(world)
        posts = world.records.posts
        world.sandbox.faults.add(Fault("tasks", "status", times=None, after=1, status=500))
        with pytest.raises(OutcomeUnknown, match="list of tasks failed"):
            await generate(service)
        assert world.records.posts == posts
        world.sandbox.faults.clear()
        snapshot = await generate(service)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_task_that_moves_to_the_next_page_is_one_task(world: World) -> None:
    """The list grows while it is read: what stands on two pages is not two candidates."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        [payment] = world.records.paid
        page = {"data": [{"id": payment.task_id, "status": "processing", "created_at": int(payment.time)}]}
        world.sandbox.faults.add(Fault("tasks", "body", times=2, body=page))
        snapshot = await generate(service)
    assert (snapshot.task.id, snapshot.recovered) == (payment.task_id, True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("tasks", "status", times=None, status=404),
        Fault("tasks", "status", times=None, status=500),
        Fault("tasks", "html", times=None),
        Fault("tasks", "body", times=None, body={"tasks": []}),
        Fault("tasks", "lost", times=None),
    ],
    ids=lambda fault: f"{fault.kind}{fault.details.get('status', '')}",
)
async def test_where_the_list_is_not_available_the_key_has_to_suffice(world: World, fault: Fault) -> None:
    """Another status, another shape: the same request under the same key, once."""
    world.sandbox.faults.add(Fault("submit", "lost"), fault)
    async with world.service() as service:
        snapshot = await generate(service)
    assert (world.records.posts, snapshot.recovered) == (2, False)
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_clock_that_was_set_back_makes_nobody_wait(world: World) -> None:
    """The pause before a search is two seconds, whatever the time of day has become."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
    began = now()
    async with world.service({"clock": lambda: now() - 4000}) as service:
        snapshot = await generate(service)
    assert now() - began < 10
    assert paid_for(world, PROMPT) == {snapshot.task.id}


async def test_a_recovery_ends_when_the_task_turns_out_to_be_another_requests(world: World) -> None:
    """The request that guessed wrong is unknown again, and its next call gets a task of its own."""
    world.sandbox.faults.add(Fault("submit", "status", status=500))
    async with world.service() as service:
        with pytest.raises(OutcomeUnknown):
            await generate(service)
        foreign = await make_elsewhere(world, "The dog yawns.")
        assert (await generate(service)).task.id == foreign
        its_answer = {"id": foreign, "status": "processing", "usage": {"credits_reserved": 25.5}}
        world.sandbox.faults.add(Fault("submit", "body", body=its_answer, carried_out=False))
        dog = await generate(service, "The dog yawns.")
        assert (dog.task.id, dog.recovered) == (foreign, False)
        assert [entry.status for entry in await world.rows()] == ["processing", "unknown"]
        cat = await generate(service)
    assert paid_for(world, PROMPT) == {cat.task.id}


class Overtaken(SqliteLedger):
    """A ledger in which another request gets its task right after it was asked which ones are taken."""

    foreign, number = "", 0

    def __init__(self, world: World) -> None:
        super().__init__(Path(world.environ["WAN_MCP_DATA_DIR"]))

    def for_owner(self, *identity: str) -> SqliteOwnerLedger:
        owned: Any = super().for_owner(*identity)
        taken_ids = owned.taken_ids

        async def overtaken(task_ids: list[str]) -> set[str]:
            taken: set[str] = await taken_ids(task_ids)
            if self.number:
                await owned.mark_answered(self.number, Task(id=self.foreign, status="pending"), now())
                self.number = 0
            return taken

        owned.taken_ids = overtaken
        return cast(SqliteOwnerLedger, owned)

    async def post_another(self) -> None:
        """A request of the same owner that is sent and has no answer yet."""
        owned = super().for_owner("https://api.evolink.ai", KEY)
        claim = await owned.claim(
            Intent("print of dog", "The dog yawns.", 5, "720p", 25.5), ClaimRules(now(), 3600)
        )
        self.number = (await owned.mark_posted(claim.entry.number, {}, now())).number
