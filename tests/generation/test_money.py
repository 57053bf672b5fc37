"""What is paid, and what the caller is told: every event at every kind of gateway."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from tests.clock import now
from tests.generation.gateway import gateway, generate, generate_from_text, key_use
from tests.world import World, picture
from wan_mcp.errors import OutcomeUnknown, WanError
from wan_mcp.generation.owners import LOCAL
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.status import TaskSnapshot
from wan_mcp.ledger import KeyUse
from wan_mcp.sandbox import Fault
from wan_mcp.server.results import task_result

pytestmark = pytest.mark.anyio

Ask = Callable[..., Awaitable[TaskSnapshot]]
GATEWAYS: dict[str, tuple[str, KeyUse]] = {
    "honoured and known": ("both", "honoured"),
    "honoured and unknown": ("both", "unknown"),
    "honoured, no list": ("key", "unknown"),
    "ignored and list": ("list", "unknown"),
    "ignored and known": ("list", "ignored"),
    "neither": ("neither", "unknown"),
}
"""The form of the gateway, and what the ledger knows of the key when the event begins."""


@dataclass
class Scene:
    """A caller whose request meets an event."""

    world: World
    folder: Path
    ask: Ask = generate
    """Requests a video from a picture, or from text."""
    shift: float = 0.0
    """Seconds by which the caller's clock is wrong."""
    outcomes: list[TaskSnapshot | WanError] = field(default_factory=list)

    async def run(self, *prompts: str, patience: float = float("inf"), **arguments: Any) -> None:
        """Make one call for each prompt in a process that ends when all are answered."""
        clock = {"clock": lambda: now() + self.shift}
        async with self.world.service(clock) as service, anyio.create_task_group() as group:
            for prompt in prompts:
                group.start_soon(self._ask, service, prompt, patience, arguments)

    async def _ask(
        self, service: VideoService, prompt: str, patience: float, arguments: dict[str, Any]
    ) -> None:
        try:
            self.outcomes.append(await self.ask(service, prompt, patience=patience, **arguments))
        except WanError as error:
            self.outcomes.append(error)

    async def die_after_paying(self, **arguments: Any) -> None:
        """Send the request in a process that ends before it has the answer."""
        self.world.sandbox.faults.add(Fault("submit", "lost"))
        await self.run("A cat.", patience=1, **arguments)
        assert len(self.world.records.paid) == 1
        self.outcomes.clear()


async def lost_before(scene: Scene) -> None:
    scene.world.sandbox.faults.add(Fault("submit", "dropped"))
    await scene.run("A cat.")


async def lost_after(scene: Scene) -> None:
    scene.world.sandbox.faults.add(Fault("submit", "lost"))
    await scene.run("A cat.")


async def unclear(scene: Scene) -> None:
    scene.world.sandbox.faults.add(Fault("submit", "status", status=500, carried_out=True))
    await scene.run("A cat.")


def late(seconds: float, status: int = 503) -> "Event":
    async def event(scene: Scene) -> None:
        scene.world.sandbox.faults.add(Fault("submit", "late", seconds=seconds, status=status))
        await scene.run("A cat.")

    return event


def slow(seconds: float) -> "Event":
    async def event(scene: Scene) -> None:
        scene.world.sandbox.faults.add(Fault("submit", "slow", seconds=seconds))
        await scene.run("A cat.")

    return event


def listed_late(seconds: float) -> "Event":
    async def event(scene: Scene) -> None:
        scene.world.sandbox.list_delay = seconds
        await lost_after(scene)

    return event


def killed(after: float, shift: float = 0.0) -> "Event":
    async def event(scene: Scene) -> None:
        await scene.die_after_paying()
        await anyio.sleep(after)
        scene.shift = shift
        await scene.run("A cat.")

    return event


async def picture_gone(scene: Scene) -> None:
    path = scene.folder / "cat.png"
    await anyio.Path(path).write_bytes(picture())
    await scene.die_after_paying(image_urls=[str(path)])
    await anyio.Path(path).unlink()
    await scene.run("A cat.", image_urls=[str(path)])


def parallel(count: int) -> "Event":
    async def event(scene: Scene) -> None:
        scene.world.sandbox.faults.add(Fault("submit", "lost", count))
        await scene.run(*[f"Cat {number}." for number in range(count)])

    return event


async def foreign(scene: Scene) -> None:
    scene.world.sandbox.add_foreign(created=now() + 0.7)
    await lost_before(scene)


Event = Callable[[Scene], Awaitable[None]]
FOUND, TOLD, TWICE, OPEN, OFFERED = "found", "told", "twice", "open", "offered"
"""Found in the list; answered by a task; answered, and told that two were paid; not known, and nothing more
is sent; the same, and another take is offered."""
EVENTS: dict[str, tuple[Event, list[tuple[int, str]]]] = {
    # What is charged and what is said, at each gateway in order.
    "lost before": (lost_before, [(1, TOLD)] * 6),
    "lost after": (lost_after, [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "unclear": (unclear, [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "503, 4 s late": (late(4), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "503, 60 s late": (late(60), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "lost, 35 s late": (late(35, 0), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "slow: 24 s": (slow(24), [(1, TOLD)] * 6),
    "slow: 55 s": (slow(55), [(1, TOLD)] * 6),
    "too slow": (slow(90), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "list 3 s late": (listed_late(3), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "list 10 s late": (
        listed_late(10),
        [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)],
    ),
    "list 95 s late": (
        listed_late(95),
        [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)],
    ),
    "killed": (killed(1), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "killed an hour ago": (
        killed(3600),
        [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)],
    ),
    **{
        f"killed, clock {shift:+}": (
            killed(1, shift),
            [(1, TOLD), (1, TOLD), (1, TOLD), (2, TWICE), (1, OFFERED), (2, TOLD)],
        )
        for shift in (600, -600, 3600, -3600, 12)
    },
    "killed, clock +3": (killed(1, 3), [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "picture gone": (picture_gone, [(1, TOLD), (1, FOUND), (1, TOLD), (1, FOUND), (1, FOUND), (2, TOLD)]),
    "2 in parallel": (parallel(2), [(2, TOLD), (2, TOLD), (2, TOLD), (3, TWICE), (2, OFFERED), (4, TOLD)]),
    "5 in parallel": (parallel(5), [(5, TOLD), (5, TOLD), (5, TOLD), (6, TWICE), (5, OFFERED), (10, TOLD)]),
    "foreign task": (foreign, [(1, TOLD), (0, FOUND), (1, TOLD), (0, FOUND), (0, FOUND), (1, TOLD)]),
}
TEXT_EVENTS: dict[str, tuple[Event, list[tuple[int, str]]]] = {
    # The same for videos from text. Here, no request can have made a task of the other model.
    **{
        title: EVENTS[title]
        for title in (
            *("lost before", "lost after", "503, 60 s late", "too slow", "list 95 s late"),
            *("killed", "killed an hour ago", "killed, clock +600", "2 in parallel"),
        )
    },
    "foreign task": (foreign, [(1, TOLD)] * 6),
}


async def ask_by_turns(service: VideoService, prompt: str, **arguments: Any) -> TaskSnapshot:
    """Cat 1 is made from text, any other from a picture."""
    return await (generate_from_text if prompt == "Cat 1." else generate)(service, prompt, **arguments)


BOTH_EVENTS: dict[str, tuple[Event, list[tuple[int, str]]]] = {
    # Requests of different models are no rivals.
    "one of each": (parallel(2), [(2, TOLD), (2, FOUND), (2, TOLD), (2, FOUND), (2, FOUND), (4, TOLD)]),
}
KINDS = (("", generate, EVENTS), ("text: ", generate_from_text, TEXT_EVENTS), ("", ask_by_turns, BOTH_EVENTS))
CASES = [
    pytest.param(ask, event, name, charged, said, id=f"{kind}{title}-{name}")
    for kind, ask, events in KINDS
    for title, (event, cells) in events.items()
    for name, (charged, said) in zip(GATEWAYS, cells, strict=True)
]


@pytest.mark.parametrize(("ask", "event", "name", "charged", "said"), CASES)
async def test_what_is_charged_and_said(
    tmp_path: Path, ask: Ask, event: Event, name: str, charged: int, said: str
) -> None:
    """The charges that the gateway recorded, and the first answer; further calls never pay more."""
    form, use = GATEWAYS[name]
    scene = Scene(gateway(tmp_path, form, credits=10_000.0), tmp_path, ask)
    await key_use(scene.world, use)
    await event(scene)
    assert len(scene.world.records.paid) == charged
    assert said_by(scene.outcomes[0]) == said
    for snapshot in scene.outcomes:
        if isinstance(snapshot, TaskSnapshot) and said != FOUND:
            assert snapshot.task.id in {payment.task_id for payment in scene.world.records.paid}
    if use == "unknown" and said == TWICE:
        assert await key_use(scene.world) == "ignored"
    posts = scene.world.records.posts
    scene.outcomes.clear()
    await scene.run(*{str(call.body["prompt"]) for call in posts_of(scene.world)}, **arguments_of(scene))
    assert len(scene.world.records.paid) == charged, "asking again was paid"
    assert name in ("honoured and known", "honoured and unknown", "honoured, no list") or (
        scene.world.records.posts == posts
    )


def posts_of(world: World) -> list[Any]:
    return [call for call in world.records.calls if call.at == "submit"]


def arguments_of(scene: Scene) -> dict[str, Any]:
    path = scene.folder / "cat.png"
    gone = any("/files/" in call.body.get("image_urls", [""])[0] for call in posts_of(scene.world))
    return {"image_urls": [str(path)]} if gone else {}


def said_by(outcome: TaskSnapshot | WanError) -> str:
    """What an answer says, as the model reads it."""
    if isinstance(outcome, WanError):
        assert isinstance(outcome, OutcomeUnknown), outcome
        assert outcome.charged == "unknown"
        assert "forget" not in outcome.next_step
        assert "change the prompt" not in outcome.next_step
        assert "exactly the same arguments again" in outcome.next_step
        return OFFERED if "take: 2 makes another video, which costs" in outcome.next_step else OPEN
    words = cast(Any, task_result(outcome, LOCAL).content[0]).text
    if "charged twice" in words:
        return TWICE
    return FOUND if "was found in the account's list" in words else TOLD
