"""One wish is paid once: seen from the callers, from the sandbox's books and from the ledger."""

import base64
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent

from tests.conftest import KEY, World, now, picture, resolve
from wan_mcp.errors import CapReached, LedgerError, OutcomeUnknown
from wan_mcp.evolink import Task, VideoRequest
from wan_mcp.generation.request import Wish
from wan_mcp.generation.service import Studio
from wan_mcp.generation.snapshot import Report
from wan_mcp.ledger import Entry, Intent, Terms
from wan_mcp.ledger.sqlite.store import SqliteLedger
from wan_mcp.sandbox import Fault
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio

ADDRESS = "https://pictures.example.com/cat.png"
PROMPT = "The cat yawns."
WISH: dict[str, Any] = {"prompt": PROMPT, "image_urls": [ADDRESS]}
FORMS = {"both": (True, True), "key": (True, False), "list": (False, True), "neither": (False, False)}
"""Whether the gateway honours the idempotency key, and whether it offers the list of tasks."""
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


SHOWN = picture(400, 400)
"""The picture, made once: nothing here is about what it shows."""


async def show(url: str) -> bytes:
    return SHOWN


def gateway(folder: Path, form: str = "both", **options: Any) -> World:
    honoured, offered = FORMS[form]
    defaults = {"seconds": 120, "honours_idempotency_key": honoured, "offers_list": offered, "fetch": show}
    world = World(folder, **(defaults | options))
    world.environ["WAN_MCP_IMAGE_CHECK"] = "off"
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return gateway(tmp_path)


async def generate(studio: Studio, prompt: str = PROMPT, **arguments: Any) -> Report:
    return await studio.generate(Wish(prompt=prompt, **({"image_urls": [ADDRESS]} | arguments)))


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


def text(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def answer(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await call(client, tool, **arguments)
    assert not result.is_error, text(result)
    content: dict[str, Any] | None = result.structured_content
    assert content is not None
    return content


async def refusal(client: Client, **arguments: Any) -> str:
    result = await call(client, "generate_video", **(WISH | arguments))
    assert result.is_error
    return text(result)


async def listed(client: Client) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = (await answer(client, "list_tasks"))["tasks"]
    return tasks


async def make_elsewhere(world: World, prompt: str = "A dog.") -> str:
    """A task of the same account that another program asked for."""
    key = f"another-program-{len(world.books.calls)}"
    async with world.evolink() as evolink:
        request = VideoRequest(prompt=prompt, image_urls=[ADDRESS])
        return (await evolink.submit(request, idempotency_key=key)).id


def paid_for(world: World, prompt: str) -> set[str]:
    return {payment.task_id for payment in world.books.paid if payment.prompt == prompt}


async def entries(studio: Studio) -> list[Entry]:
    return await studio.ledger.entries(None)


# Repeats.


async def test_the_same_wish_has_its_task_and_says_so(world: World) -> None:
    """The second answer is the first one's task, as it is now, in object and words."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **WISH)
        await anyio.sleep(60)
        again = await call(client, "generate_video", **WISH)
    assert again.structured_content is not None
    assert "repeated" not in first
    assert again.structured_content["repeated"] is True
    assert again.structured_content["id"] == first["id"]
    assert again.structured_content["status"] == "processing"
    assert "The same was asked for before" in text(again)
    assert "nothing was charged again" in text(again)
    assert "new_take" in text(again)
    assert world.books.posts == len(world.books.paid) == 1


async def test_a_default_that_is_said_makes_no_other_wish(world: World) -> None:
    """Nor does the order of the arguments; another duration does."""
    async with world.studio() as studio:
        first = await generate(studio)
        again = await generate(studio, duration=5, quality="720p", prompt_extend=True)
        other = await generate(studio, duration=10)
    assert (again.task.id, again.repeated) == (first.task.id, True)
    assert (other.repeated, world.books.posts) == (False, 2)


async def test_the_same_picture_at_another_place_is_the_same_wish(world: World, tmp_path: Path) -> None:
    """What counts is what it shows, byte for byte."""
    for name in ("cat.png", "copy of cat.png"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "dog.png").write_bytes(picture(900, 700))
    async with world.studio() as studio:
        first = await generate(studio, image_urls=[str(tmp_path / "cat.png")])
        again = await generate(studio, image_urls=[(tmp_path / "copy of cat.png").as_uri()])
        other = await generate(studio, image_urls=[str(tmp_path / "dog.png")])
    assert (again.task.id, again.repeated) == (first.task.id, True)
    assert other.repeated is False
    assert world.books.posts == 2


@pytest.mark.parametrize(
    ("minutes", "after", "repeated"), [("60", 3590, True), ("60", 3610, False), ("0", 1, False)]
)
async def test_after_the_window_the_same_wish_is_a_new_one(
    world: World, minutes: str, after: float, repeated: bool
) -> None:
    """The setting says for how long; 0 turns it off."""
    async with world.studio(WAN_MCP_REPEAT_MINUTES=minutes) as studio:
        first = await generate(studio)
        await anyio.sleep(after)
        second = await generate(studio)
    assert second.repeated is repeated
    assert (second.task.id == first.task.id) is repeated
    assert world.books.posts == (1 if repeated else 2)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_what_ended_without_a_video_may_be_wished_again(world: World, status: str) -> None:
    """It cost nothing, and the next call makes another task."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **WISH)
        world.sandbox.faults.add(Fault("task", "patch", body={"status": status}))
        seen = await call(client, "get_task", task_id=first["id"])
        assert "not charged" in text(seen)
        second = await answer(client, "generate_video", **WISH)
    assert second["id"] != first["id"]
    assert "repeated" not in second


async def test_a_new_take_is_another_task(world: World) -> None:
    """Said so, the same wish is paid again; the repeat of a later call is the newest."""
    async with world.client() as client:
        first = await answer(client, "generate_video", **WISH)
        second = await answer(client, "generate_video", **WISH, new_take=True)
        third = await answer(client, "generate_video", **WISH)
    assert second["id"] != first["id"]
    assert "repeated" not in second
    assert (third["id"], third["repeated"]) == (second["id"], True)
    assert world.books.posts == len(world.books.paid) == 2


async def test_a_new_take_joins_one_that_is_still_unanswered(world: World) -> None:
    """A client that repeats a call which took too long repeats new_take, too: it is one take."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=5))
    found: list[str] = []

    async def ask(client: Client) -> None:
        found.append((await answer(client, "generate_video", **WISH, new_take=True))["id"])

    async with world.client() as client, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask, client)
    assert len(found) == 3
    assert len(set(found)) == world.books.posts == 1


async def test_a_new_take_goes_on_with_one_whose_answer_was_lost(world: World) -> None:
    """The lost one is the take that was asked for."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio, new_take=True)
        found = await generate(studio, new_take=True)
    assert [payment.task_id for payment in world.books.paid] == [found.task.id]


# At once.


@EVERY_FORM
async def test_fifty_equal_calls_at_once_are_one_request(tmp_path: Path, form: str) -> None:
    """All of them get the task, and one of them made it."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "slow", seconds=3))
    reports: list[Report] = []

    async def ask(studio: Studio) -> None:
        reports.append(await generate(studio))

    async with world.studio() as studio, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask, studio)
    assert len({report.task.id for report in reports}) == 1
    assert [report.repeated for report in reports].count(False) == 1
    assert len(reports) == 50
    assert world.books.posts == len(world.books.paid) == 1


async def test_fifty_equal_calls_of_a_client_are_one_request(world: World) -> None:
    """The same over the protocol."""
    answers: list[dict[str, Any]] = []

    async def ask(client: Client) -> None:
        answers.append(await answer(client, "generate_video", **WISH))

    async with world.client() as client, anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(ask, client)
    assert len(answers) == 50
    assert len({found["id"] for found in answers}) == world.books.posts == 1


async def test_two_servers_on_one_ledger_make_one_request(world: World) -> None:
    """Two clients have the same wish at the same time."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=3))
    reports: list[Report] = []

    async def ask(studio: Studio) -> None:
        reports.append(await generate(studio))

    async with world.studio() as one, world.studio() as two, anyio.create_task_group() as group:
        group.start_soon(ask, one)
        group.start_soon(ask, two)
    assert len({report.task.id for report in reports}) == world.books.posts == 1


async def test_fifty_different_wishes_are_fifty_requests(tmp_path: Path) -> None:
    """Each has its own task and its own row."""
    world = gateway(tmp_path, credits=10_000.0)
    found: dict[str, str] = {}

    async def ask(studio: Studio, prompt: str) -> None:
        found[prompt] = (await generate(studio, prompt)).task.id

    async with world.studio() as studio:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(ask, studio, f"Cat {number} yawns.")
        rows = {entry.prompt: entry.task.id for entry in await entries(studio) if entry.task}
    assert world.books.posts == 50
    assert rows == found == {payment.prompt: payment.task_id for payment in world.books.paid}


async def test_whoever_waited_for_a_lost_request_is_told_so(tmp_path: Path) -> None:
    """Equal calls at once share the bad news, and send nothing of their own."""
    world = gateway(tmp_path, "key")
    world.sandbox.faults.add(Fault("submit", "lost", times=None))
    told: list[str] = []

    async def ask(studio: Studio) -> None:
        with pytest.raises(OutcomeUnknown) as raised:
            await generate(studio)
        told.append(raised.value.charged)

    async with world.studio() as studio, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask, studio)
    assert told == ["unknown"] * 5
    assert (world.books.posts, len(world.books.paid)) == (2, 1)


# Answers that are lost.

LOST = {
    "lost": Fault("submit", "lost"),
    "cut": Fault("submit", "cut"),
    "slow": Fault("submit", "slow", seconds=31),
    "garbage": Fault("submit", "garbage"),
    "html": Fault("submit", "html"),
    "empty": Fault("submit", "empty"),
    "huge": Fault("submit", "huge", size=3_000_000),
    "no task": Fault("submit", "body", body={"ok": True}),
    "no id": Fault("submit", "patch", body={"id": None}),
    "502": Fault("submit", "status", status=502, carried_out=True),
    "503": Fault("submit", "status", status=503, carried_out=True),
    "504": Fault("submit", "html", status=504),
    "still open": Fault("submit", "status", status=409, code="paid_outcome_unknown", carried_out=True),
}
"""The task is made and paid, and nobody hears of it; it is looked for at once."""
UNCLEAR = {
    "500": Fault("submit", "status", status=500, carried_out=True),
    "520": Fault("submit", "html", status=520),
    "redirect": Fault("submit", "redirect", carried_out=True),
    "conflict": Fault("submit", "status", status=409, carried_out=True),
    "a page for 400": Fault("submit", "html", status=400),
}
"""An answer that says nothing for sure; the caller has to decide to ask again."""


def times(fault: Fault, count: int | None) -> Fault:
    details: dict[str, Any] = fault.details
    return Fault(fault.at, fault.kind, count, **details)


@EVERY_FORM
@pytest.mark.parametrize("kind", LOST)
async def test_an_answer_that_is_lost_once_costs_nobody_a_thing(tmp_path: Path, form: str, kind: str) -> None:
    """The call itself finds the task in the list, or gets it by the same key; with neither, it pays again."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(LOST[kind])
    async with world.studio() as studio:
        found = await generate(studio)
        again = await generate(studio)
        rows = await entries(studio)
    assert (again.task.id, again.repeated) == (found.task.id, True)
    assert [entry.task and entry.task.id for entry in rows] == [found.task.id]
    assert found.task.id in paid_for(world, PROMPT)
    assert len(world.books.paid) == (2 if form == "neither" else 1)
    assert world.books.posts == (1 if form in ("both", "list") else 2)
    assert found.adopted is (form in ("both", "list"))


async def test_a_task_that_was_found_in_the_list_is_said_to_be(world: World) -> None:
    """The user learns that it was taken for theirs."""
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with world.client() as client:
        found = await answer(client, "generate_video", **WISH)
    assert "The answer to the request had been lost" in found["next"]
    assert "found in the account's list" in found["next"]


@pytest.mark.parametrize("form", ["key", "neither"])
@pytest.mark.parametrize("kind", LOST)
async def test_an_answer_that_is_lost_twice_is_said_to_be_unknown(
    tmp_path: Path, form: str, kind: str
) -> None:
    """What is not known, that it is listed, and that asking again goes on; and it does."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(times(LOST[kind], 2))
    async with world.client() as client:
        said = await refusal(client)
        [row] = await listed(client)
        assert (row["status"], "id" in row, row["credits"]) == ("unknown", False, 25.5)
        found = await answer(client, "generate_video", **WISH)
        rows = await listed(client)
    assert "It is not known whether" in said
    assert "Ask for exactly the same again" in said
    assert "Nothing was" not in said
    assert [row["id"] for row in rows] == [found["id"]]
    assert world.books.posts == 3
    assert len(paid_for(world, PROMPT)) == (1 if form == "key" else 3)


@EVERY_FORM
@pytest.mark.parametrize("kind", UNCLEAR)
async def test_an_answer_that_is_unclear_is_not_acted_on_before_one_asks(
    tmp_path: Path, form: str, kind: str
) -> None:
    """One request, a report that it is unknown, and the next equal call finds the task."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(UNCLEAR[kind])
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown) as raised:
            await generate(studio)
        await anyio.sleep(3600)
        assert world.books.posts == 1
        assert [entry.status for entry in await entries(studio)] == ["unknown"]
        found = await generate(studio)
        again = await generate(studio)
    assert "Ask for exactly the same again" in raised.value.next_step
    assert raised.value.charged == "unknown"
    assert found.task.id in paid_for(world, PROMPT)
    assert (again.task.id, again.repeated) == (found.task.id, True)
    assert world.books.posts == (1 if form in ("both", "list") else 2)
    assert len(world.books.paid) == (2 if form == "neither" else 1)


@EVERY_FORM
async def test_a_request_that_never_arrived_is_sent_again(tmp_path: Path, form: str) -> None:
    """The look finds nothing, so that nothing is paid twice in any form."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "dropped"))
    async with world.studio() as studio:
        report = await generate(studio)
    assert (report.adopted, world.books.posts) == (False, 2)
    assert paid_for(world, PROMPT) == {report.task.id}


@EVERY_FORM
async def test_a_request_that_never_arrived_is_sent_again_by_the_next_call(tmp_path: Path, form: str) -> None:
    """Hours later, by a server that was started anew, under the same key."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "dropped", times=2))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
    await anyio.sleep(5 * 3600)
    async with world.studio() as studio:
        report = await generate(studio)
    assert len({call.idempotency_key for call in world.books.calls if call.at == "submit"}) == 1
    assert len({str(call.body) for call in world.books.calls if call.at == "submit"}) == 1
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_a_request_gone_on_with_hours_later_is_repeated_from_then_on(world: World) -> None:
    """The answer to that call may be lost as well: asking once more must not pay again."""
    world.sandbox.faults.add(Fault("submit", "dropped", times=2))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        await anyio.sleep(5 * 3600)
        found = await generate(studio)
        again = await generate(studio)
    assert (again.task.id, again.repeated) == (found.task.id, True)
    assert len(world.books.paid) == 1


async def test_a_refusal_of_the_second_sending_says_nothing_of_the_first(tmp_path: Path) -> None:
    """The first one may have been paid: it stays unknown, whatever came now."""
    world = gateway(tmp_path, "key")
    world.sandbox.faults.add(Fault("submit", "lost"), Fault("submit", "status", times=2, status=402))
    async with world.client() as client:
        assert "It is not known whether credits were charged." in await refusal(client)
        assert "It is not known whether credits were charged." in await refusal(client)
        assert [row["status"] for row in await listed(client)] == ["unknown"]
        found = await answer(client, "generate_video", **WISH)
    assert paid_for(world, PROMPT) == {found["id"]}


# Looking before repeating.


async def test_several_tasks_that_may_be_it_are_named_and_nothing_is_sent(world: World) -> None:
    """Who cannot tell does not pay; the answer says which they are, and how to go on."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.client() as client:
        await refusal(client)
        other = await make_elsewhere(world)
        posts = world.books.posts
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
        assert world.books.posts == posts
        assert [row["status"] for row in await listed(client)] == ["unknown"]


async def test_a_request_that_was_forgotten_is_a_new_one(world: World) -> None:
    """As the answer advises, where it cannot be told which task it is."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        await make_elsewhere(world)
        with pytest.raises(OutcomeUnknown, match="cannot be told which"):
            await generate(studio)
        assert await studio.ledger.forget("#1")
        report = await generate(studio)
    assert report.task.id in paid_for(world, PROMPT)


async def test_two_requests_lost_together_are_not_mistaken_for_one_another(world: World) -> None:
    """Either task may be either's: both are named, and nothing is sent."""
    world.sandbox.faults.add(Fault("submit", "status", times=2, status=500, carried_out=True))
    prompts = ("The cat yawns.", "The dog yawns.")
    async with world.studio() as studio:
        for prompt in prompts:
            with pytest.raises(OutcomeUnknown):
                await generate(studio, prompt)
        for prompt in prompts:
            with pytest.raises(OutcomeUnknown) as raised:
                await generate(studio, prompt)
            assert all(payment.task_id in raised.value.message for payment in world.books.paid)
    assert world.books.posts == 2


async def test_a_task_that_may_be_another_lost_request_s_is_not_taken(world: World) -> None:
    """One of two lost requests arrived, and it cannot be told which: nothing is sent, nothing guessed."""
    world.sandbox.faults.add(
        Fault("submit", "status", status=500), Fault("submit", "status", status=500, carried_out=True)
    )
    async with world.studio() as studio:
        for prompt in (PROMPT, "The dog yawns."):
            with pytest.raises(OutcomeUnknown):
                await generate(studio, prompt)
        with pytest.raises(OutcomeUnknown, match=world.books.paid[0].task_id):
            await generate(studio)
    assert world.books.posts == 2


async def test_a_task_of_another_key_of_the_account_is_not_taken(world: World) -> None:
    """The list is the whole account's, and the ledger knows whose task it is."""
    world.sandbox.faults.add(Fault("submit", "status", status=500))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
    world.sandbox.key = f"{KEY}-two"
    async with world.studio(EVOLINK_API_KEY=f"{KEY}-two") as studio:
        other = await generate(studio)
    world.sandbox.key = KEY
    async with world.studio() as studio:
        report = await generate(studio)
    assert report.task.id != other.task.id
    assert world.books.posts == 3


async def test_a_look_waits_for_the_requests_that_are_under_way(world: World) -> None:
    """When the other one has its answer, what is left is ours."""
    world.sandbox.faults.add(
        Fault("submit", "status", status=500, carried_out=True), Fault("submit", "slow", seconds=5)
    )
    found: dict[str, Report] = {}

    async def ask(studio: Studio, prompt: str) -> None:
        found[prompt] = await generate(studio, prompt)

    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio, "The cat yawns.")
        async with anyio.create_task_group() as group:
            group.start_soon(ask, studio, "The dog yawns.")
            await anyio.sleep(1)
            group.start_soon(ask, studio, "The cat yawns.")
    for prompt, report in found.items():
        assert paid_for(world, prompt) == {report.task.id}
        assert report.adopted is (prompt == "The cat yawns.")


async def test_a_task_that_finds_its_request_during_the_look_is_not_taken(world: World) -> None:
    """The other request is answered between two readings of the ledger: its task is its own."""
    ledger = Overtaken(world)
    world.sandbox.faults.add(Fault("submit", "status", status=500))
    async with served(world, ledger) as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        ledger.foreign = await make_elsewhere(world)
        ledger.number = await ledger.post_another(await studio._owner())
        report = await generate(studio)
    assert report.task.id != ledger.foreign
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_a_list_that_breaks_off_after_a_find_is_no_empty_list(tmp_path: Path) -> None:
    """A task that may be ours was seen on the first page: it is not paid for again."""
    world = gateway(tmp_path, "list", credits=10_000.0)
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        await anyio.sleep(200)
        for _ in range(49):
            await make_elsewhere(world)
        posts = world.books.posts
        world.sandbox.faults.add(Fault("tasks", "status", times=None, after=1, status=500))
        with pytest.raises(OutcomeUnknown, match="broke off"):
            await generate(studio)
        assert world.books.posts == posts
        world.sandbox.faults.clear()
        report = await generate(studio)
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_a_task_that_moves_to_the_next_page_is_one_task(world: World) -> None:
    """The list grows while it is read: what stands on two pages is not two candidates."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        [payment] = world.books.paid
        page = {"data": [{"id": payment.task_id, "status": "processing", "created_at": int(payment.time)}]}
        world.sandbox.faults.add(Fault("tasks", "body", times=2, body=page))
        report = await generate(studio)
    assert (report.task.id, report.adopted) == (payment.task_id, True)


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
async def test_where_the_list_is_not_to_be_had_the_key_has_to_do(world: World, fault: Fault) -> None:
    """Another status, another shape: the same request under the same key, once."""
    world.sandbox.faults.add(Fault("submit", "lost"), fault)
    async with world.studio() as studio:
        report = await generate(studio)
    assert (world.books.posts, report.adopted) == (2, False)
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_a_clock_that_was_set_back_makes_nobody_wait(world: World) -> None:
    """The pause before a look is two seconds, whatever the time of day has become."""
    world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
    began = now()
    async with served(world, clock=lambda: now() - 4000) as studio:
        report = await generate(studio)
    assert now() - began < 10
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_an_adoption_ends_when_the_task_turns_out_to_be_another_wishes(world: World) -> None:
    """The wish that guessed wrong is unknown again, and its next call gets a task of its own."""
    world.sandbox.faults.add(Fault("submit", "status", status=500))
    async with world.studio() as studio:
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        foreign = await make_elsewhere(world, "The dog yawns.")
        assert (await generate(studio)).task.id == foreign
        its_answer = {"id": foreign, "status": "processing", "usage": {"credits_reserved": 25.5}}
        world.sandbox.faults.add(Fault("submit", "body", body=its_answer, carried_out=False))
        dog = await generate(studio, "The dog yawns.")
        assert (dog.task.id, dog.adopted) == (foreign, False)
        assert [entry.status for entry in await entries(studio)] == ["processing", "unknown"]
        cat = await generate(studio)
    assert paid_for(world, PROMPT) == {cat.task.id}


# Ledgers that fail.


class Failing(SqliteLedger):
    """A ledger whose disk is full for some calls of a kind."""

    def __init__(self, world: World, **fails: int) -> None:
        super().__init__(Path(world.environ["WAN_MCP_DATA_DIR"]))
        self._fails = fails

    def _fail(self, kind: str) -> None:
        if self._fails.get(kind, 0) > 0:
            self._fails[kind] -= 1
            raise LedgerError("The ledger cannot be used (disk is full).", next_step="Make room.")

    async def claim(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("claim")
        return await super().claim(*args, **kwargs)

    async def posting(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("posting")
        return await super().posting(*args, **kwargs)

    async def answered(self, *args: Any, **kwargs: Any) -> Any:
        self._fail("answered")
        return await super().answered(*args, **kwargs)


class Overtaken(SqliteLedger):
    """A ledger in which another request gets its task right after it was asked which ones are taken."""

    foreign, number = "", 0

    def __init__(self, world: World) -> None:
        super().__init__(Path(world.environ["WAN_MCP_DATA_DIR"]))

    async def post_another(self, owner: str) -> int:
        wish = Intent(owner, "print of dog", "The dog yawns.", 5, "720p", 25.5)
        claim = await self.claim(wish, Terms(now(), 3600))
        return (await self.posting(claim.entry.number, {}, now())).number

    async def claimed_ids(self, task_ids: list[str]) -> set[str]:
        taken = await super().claimed_ids(task_ids)
        if self.number:
            await self.answered(self.number, Task(id=self.foreign, status="pending"), now())
            self.number = 0
        return taken


@asynccontextmanager
async def served(world: World, ledger: SqliteLedger | None = None, clock: Callable[[], float] = now) -> Any:
    """A studio with another ledger, or another clock."""
    settings = Settings.load(world.environ)
    studio = Studio(settings, transport=world.transport, resolve=resolve, clock=clock)
    if ledger is not None:
        studio.__dict__["ledger"] = ledger
    async with studio:
        yield studio


async def test_without_a_ledger_nothing_is_paid(world: World, tmp_path: Path) -> None:
    """The folder cannot be made: refused before any request, not even an upload."""
    await anyio.Path(tmp_path / "file").write_text("in the way")
    await anyio.Path(tmp_path / "cat.png").write_bytes(picture())
    async with world.client(WAN_MCP_DATA_DIR=str(tmp_path / "file" / "data")) as client:
        said = await refusal(client, image_urls=[str(tmp_path / "cat.png")])
        assert (await answer(client, "get_credits"))["remaining"] == 1000
    assert said.endswith("Nothing was sent or charged.")
    assert "WAN_MCP_DATA_DIR" in said
    assert [call.at for call in world.books.calls] == ["credits"]


@pytest.mark.parametrize("kind", ["claim", "posting"])
async def test_an_intent_that_cannot_be_written_is_not_sent(world: World, kind: str) -> None:
    """No request, no row; when there is room again the same call works."""
    async with served(world, Failing(world, **{kind: 1})) as studio:
        with pytest.raises(LedgerError):
            await generate(studio)
        assert (world.books.posts, await entries(studio)) == (0, [])
        report = await generate(studio)
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_an_intent_that_cannot_be_written_again_is_not_sent_again(tmp_path: Path) -> None:
    """Then nothing was sent now, but that says nothing of the first sending."""
    world = gateway(tmp_path, "key")
    ledger = Failing(world)
    async with served(world, ledger) as studio:
        world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
        with pytest.raises(OutcomeUnknown):
            await generate(studio)
        ledger._fails["posting"] = 1
        with pytest.raises(OutcomeUnknown) as raised:
            await generate(studio)
        assert (raised.value.charged, world.books.posts) == ("unknown", 1)
        report = await generate(studio)
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_an_automatic_repeat_is_written_down_before_it_is_sent(tmp_path: Path) -> None:
    """Each sending has its time in the ledger: the next look searches there as well."""
    world = gateway(tmp_path, "key")
    ledger = Failing(world)

    async def note(url: str) -> bytes:
        ledger._fails["posting"] = 1
        return picture()

    world.sandbox._fetch = note
    world.sandbox.faults.add(Fault("submit", "lost"))
    async with served(world, ledger) as studio:
        with pytest.raises(OutcomeUnknown, match="disk is full"):
            await generate(studio)
        assert world.books.posts == 1
        report = await generate(studio)
    assert paid_for(world, PROMPT) == {report.task.id}


@pytest.mark.parametrize("form", ["both", "key", "list"])
async def test_a_ledger_that_fails_after_the_request_hides_no_task(tmp_path: Path, form: str) -> None:
    """The caller gets what was paid; the next equal call does not wait, and finds the same."""
    world = gateway(tmp_path, form)
    async with served(world, Failing(world, answered=1)) as studio:
        report = await generate(studio)
        assert [entry.status for entry in await entries(studio)] == ["unknown"]
        began = now()
        again = await generate(studio)
        assert now() - began < 5
        assert [entry.task for entry in await entries(studio)] != [None]
    assert report.task.id == again.task.id
    assert paid_for(world, PROMPT) == {report.task.id}


async def test_a_request_that_is_forgotten_under_way_hides_no_task(world: World) -> None:
    """Somebody clears the ledger in the middle: the caller gets what was paid."""
    world.sandbox.faults.add(Fault("submit", "slow", seconds=5))
    reports: list[Report] = []

    async def ask(studio: Studio) -> None:
        reports.append(await generate(studio))

    async with world.studio() as studio, anyio.create_task_group() as group:
        group.start_soon(ask, studio)
        await anyio.sleep(2)
        assert await studio.ledger.forget("#1")
    assert paid_for(world, PROMPT) == {reports[0].task.id}


# Refusals.


@pytest.mark.parametrize(
    "fault",
    [
        Fault("submit", "status", status=402),
        Fault("submit", "status", status=402, code="insufficient_token_quota"),
        Fault("submit", "status", status=400, code="content_policy_violation"),
        Fault("submit", "status", status=401),
        Fault("submit", "status", status=400, code="invalid_request"),
        Fault("submit", "status", times=3, status=429),
        Fault("submit", "capacity", times=3),
    ],
    ids=lambda fault: str(fault.details.get("code") or fault.details.get("status") or fault.kind),
)
async def test_a_plain_refusal_leaves_no_row_and_the_next_call_pays(world: World, fault: Fault) -> None:
    """What surely was not accepted is not remembered."""
    world.sandbox.faults.add(fault)
    async with world.client() as client:
        assert "Nothing was charged." in await refusal(client)
        assert await listed(client) == []
        found = await answer(client, "generate_video", **WISH)
    assert "repeated" not in found
    assert paid_for(world, PROMPT) == {found["id"]}


async def test_the_cap_refuses_with_numbers_and_sends_nothing(world: World, tmp_path: Path) -> None:
    """What was spent, what this would cost, when there is room; not even the picture is uploaded."""
    await anyio.Path(tmp_path / "cat.png").write_bytes(picture())
    async with world.client(WAN_MCP_DAILY_CREDITS="40") as client:
        await answer(client, "generate_video", **WISH)
        calls = len(world.books.calls)
        said = await refusal(client, prompt="Another.", image_urls=[str(tmp_path / "cat.png")])
        assert len(world.books.calls) == calls
        assert (await answer(client, "generate_video", **WISH))["repeated"] is True
        small = await answer(client, "generate_video", **(WISH | {"quality": "480p"}))
    for fact in ("40 credits", "25.5 were spent", "estimated at 25.5", "There is room for it from 20"):
        assert fact in said
    assert said.endswith("Nothing was sent or charged.")
    assert small["credits"]["reserved"] == 12.75


async def test_the_cap_gives_back_what_failed_and_what_is_a_day_old(world: World) -> None:
    """A failed task costs nothing, and after 24 hours there is room again."""
    world.sandbox.faults.add(Fault("submit", "fail", at_once=True))
    async with world.studio(WAN_MCP_DAILY_CREDITS="26") as studio:
        await generate(studio)
        await studio.look(world.books.paid[0].task_id)
        await generate(studio)
        with pytest.raises(CapReached):
            await generate(studio, "Another.")
        await anyio.sleep(24 * 3600)
        await generate(studio, "Another.")
    assert world.books.posts == 3


async def test_fifty_different_wishes_at_once_keep_to_the_cap(world: World) -> None:
    """The cap is judged together with the claim, so that no two slip through it."""
    refused = 0

    async def ask(studio: Studio, prompt: str) -> None:
        nonlocal refused
        try:
            await generate(studio, prompt)
        except CapReached:
            refused += 1

    async with world.studio(WAN_MCP_DAILY_CREDITS="255") as studio, anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(ask, studio, f"Cat {number} yawns.")
    assert (world.books.posts, refused) == (10, 40)


# What outlives the process.


@EVERY_FORM
async def test_a_new_server_knows_what_the_old_one_paid(tmp_path: Path, form: str) -> None:
    """The same folder, another process: the same task, and the list has it."""
    world = gateway(tmp_path, form)
    async with world.client() as client:
        first = await answer(client, "generate_video", **WISH)
    async with world.client() as client:
        again = await answer(client, "generate_video", **WISH)
        rows = await listed(client)
    assert (again["id"], again["repeated"]) == (first["id"], True)
    assert [(row["id"], row["prompt"]) for row in rows] == [(first["id"], PROMPT)]
    assert world.books.posts == 1


@pytest.mark.parametrize("form", ["both", "key", "list"])
async def test_a_server_that_stops_in_the_middle_leaves_what_the_next_one_needs(
    tmp_path: Path, form: str
) -> None:
    """The request is under way when it stops; the next equal call finds its task."""
    world = gateway(tmp_path, form)
    world.sandbox.faults.add(Fault("submit", "slow", seconds=20))
    async with world.client() as client:
        with anyio.move_on_after(3):
            await call(client, "generate_video", **WISH)
    async with world.client() as client:
        [row] = await listed(client)
        found = await answer(client, "generate_video", **WISH)
    assert row["status"] == "unknown"
    assert paid_for(world, PROMPT) == {found["id"]}


async def test_another_key_has_tasks_of_its_own(world: World) -> None:
    """What one key asked for is neither listed nor repeated for another one."""
    async with world.studio() as studio:
        await generate(studio)
    world.sandbox.key = f"{KEY}-two"
    async with world.client(EVOLINK_API_KEY=f"{KEY}-two") as client:
        assert await listed(client) == []
        assert "repeated" not in await answer(client, "generate_video", **WISH)


async def test_a_task_made_elsewhere_can_be_looked_at_and_is_listed_from_then_on(world: World) -> None:
    """It answers no wish of ours, though."""
    other = await make_elsewhere(world, PROMPT)
    async with world.client() as client:
        assert await listed(client) == []
        assert (await answer(client, "get_task", task_id=other))["id"] == other
        [row] = await listed(client)
        found = await answer(client, "generate_video", **WISH)
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
    """With its time, and with why there is nothing newer; a new server knows it, too."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **WISH))["id"]
        await anyio.sleep(60)
        seen = await answer(client, "get_task", task_id=task_id)
    world.sandbox.faults.add(fault)
    await anyio.sleep(600)
    async with world.client() as client:
        for tool, arguments in (("get_task", {}), ("wait_for_task", {"timeout_seconds": 0})):
            told = await answer(client, tool, task_id=task_id, **arguments)
            assert (told["status"], told["progress"]) == (seen["status"], seen["progress"])
            assert "The last look failed" in told["next"]
            assert "This is how the task was at 20" in told["next"]
        again = await answer(client, "generate_video", **WISH)
        assert (again["id"], again["repeated"]) == (task_id, True)
        assert [row["status"] for row in await listed(client)] == [seen["status"]]


async def test_the_answer_says_what_was_reserved_and_what_was_used(world: World) -> None:
    """Also where it is a repeat, and in the list."""
    async with world.client() as client:
        task_id = (await answer(client, "generate_video", **WISH))["id"]
        await anyio.sleep(130)
        done = await answer(client, "get_task", task_id=task_id)
        again = await answer(client, "generate_video", **WISH)
        [row] = await listed(client)
    assert done["credits"] == again["credits"] == {"reserved": 25.5, "used": 25.5}
    assert (row["credits"], row["results"]) == (25.5, done["results"])
    assert again["status"] == "completed"


async def test_neither_key_nor_picture_is_in_the_ledgers_files(world: World, tmp_path: Path) -> None:
    """Whatever happened: searched in the raw bytes, while they are open and afterwards."""
    content = picture()
    await anyio.Path(tmp_path / "cat.png").write_bytes(content)
    wish = WISH | {"image_urls": [str(tmp_path / "cat.png")]}
    world.sandbox.faults.add(Fault("submit", "status", status=401, message=f"Bad token {KEY}"))
    world.sandbox.faults.add(Fault("submit", "patch", times=2, body={"model": f"a {KEY}", "id": None}))
    piece = content[len(content) // 2 :][:32]
    secrets = [KEY.encode(), piece, base64.b64encode(content)[600:640], piece.hex().encode()]

    def search() -> int:
        files = list((tmp_path / "data").iterdir())
        assert not [path for path in files for secret in secrets if secret in path.read_bytes()]
        return len(files)

    async with world.client() as client:
        for _ in range(3):
            await call(client, "generate_video", **wish)
        await call(client, "list_tasks")
        assert search() == 3
    assert search() == 1
