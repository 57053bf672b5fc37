"""Tasks that jobs of a shared database follow: what a step of a job does, and what callers read meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from tests.callers import Callers
from tests.clock import now
from tests.generation.gateway import generate
from wan_mcp.errors import EvolinkError, StorageError
from wan_mcp.generation.job_following import SOON
from wan_mcp.generation.last_reads import AFTER_FAILURE
from wan_mcp.generation.owners import ONE_ACCOUNT
from wan_mcp.generation.reading import OVERDUE
from wan_mcp.generation.schedule import MAX_PAUSE, MIN_PAUSE
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.services import Services
from wan_mcp.generation.status import LINK_LIFE, TaskSnapshot
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

SECONDS = 120.0


@pytest.fixture
def callers(tmp_path: Path) -> Callers:
    return Callers(tmp_path, ONE_ACCOUNT, seconds=SECONDS)


class Later:
    """A clock that can be put forward, without all the seconds between."""

    seconds = 0.0

    def __call__(self) -> float:
        return now() + self.seconds


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
async def services(
    callers: Callers, clock: Later, database_url: str, tmp_path: Path
) -> AsyncIterator[Services]:
    """A server whose worker does nothing: a test makes the steps."""
    storage = (tmp_path / "storage").as_uri()
    settings = {"WAN_MCP_AUTOSAVE": "1", "WAN_MCP_STORAGE_URL": storage, "WAN_MCP_IMAGE_CHECK": "off"}
    async with callers.services({"clock": clock}, WAN_MCP_DATABASE_URL=database_url, **settings) as services:
        yield services


@pytest.fixture
async def service(services: Services) -> VideoService:
    return services.current()


async def begin(service: VideoService) -> str:
    return (await generate(service)).task.id


async def job(service: VideoService, task_id: str) -> list[float]:
    """Follow a task to its end; return the pauses."""
    pauses = []
    while (pause := await service.step(task_id)) is not None:
        pauses.append(pause)
        await anyio.sleep(pause)
    return pauses


async def nothing(snapshot: TaskSnapshot | None) -> None:
    """Tell nobody."""


def videos(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "storage").rglob("*.mp4") if path.is_file()]


def fetched(callers: Callers) -> int:
    return sum(made.at == "result" for made in callers.world.records.calls)


async def test_a_job_reads_its_task_by_the_schedule_and_saves_the_video_at_the_end(
    callers: Callers, service: VideoService, tmp_path: Path
) -> None:
    """The first step only waits: the answer to the POST was a read. A further step does nothing."""
    task_id = await begin(service)
    with anyio.fail_after(SECONDS + MAX_PAUSE):
        first, *pauses = await job(service, task_id)
    assert MAX_PAUSE - SOON < first <= MAX_PAUSE
    assert [pause for pause in pauses if not MIN_PAUSE <= pause <= MAX_PAUSE] == []
    reads = callers.world.records.reads
    assert reads == len(pauses) + 1
    assert len(videos(tmp_path)) == fetched(callers) == 1
    assert await service.step(task_id) is None
    assert callers.world.records.reads == reads


async def test_a_step_that_comes_before_its_read_is_due_only_waits(
    callers: Callers, service: VideoService
) -> None:
    """As that of a job which another server took over; it waits for what is left of the pause."""
    task_id = await begin(service)
    await anyio.sleep(MAX_PAUSE)
    pause = await service.step(task_id)
    assert pause is not None
    assert callers.world.records.reads == 1
    await anyio.sleep(pause / 2)
    left = await service.step(task_id)
    assert left == pytest.approx(pause / 2, abs=1)
    assert callers.world.records.reads == 1


async def test_a_failed_read_is_made_again_after_a_pause(
    callers: Callers, service: VideoService, tmp_path: Path
) -> None:
    """That the API asked for, or a usual one; the job goes on by its schedule once the reads succeed."""
    task_id = await begin(service)
    faults = callers.world.sandbox.faults
    for fault, expected in (
        (Fault("task", "dropped", times=None), AFTER_FAILURE),
        (Fault("task", "status", times=None, status=429, retry_after=33), 33.0),
    ):
        faults.add(fault)
        await anyio.sleep(MAX_PAUSE)
        assert await service.step(task_id) == expected
        faults.clear()
    await job(service, task_id)
    assert len(videos(tmp_path)) == 1


async def test_a_key_that_is_refused_is_tried_again_later(callers: Callers, service: VideoService) -> None:
    """The step raises, so that the queue makes it again after a longer pause."""
    task_id = await begin(service)
    await anyio.sleep(MAX_PAUSE)
    callers.world.sandbox.faults.add(Fault("task", "status", times=None, status=401))
    with pytest.raises(EvolinkError):
        await service.step(task_id)


async def test_while_the_storage_fails_a_video_is_not_fetched_and_then_it_is_saved(
    callers: Callers, service: VideoService, tmp_path: Path
) -> None:
    """The step raises, so that the queue makes it again after a longer pause."""
    task_id = await begin(service)
    storage = tmp_path / "storage"
    storage.rename(tmp_path / "away")
    storage.write_text("in the way")
    with pytest.raises(StorageError):
        await job(service, task_id)
    assert fetched(callers) == 0
    reads = callers.world.records.reads
    storage.unlink()
    (tmp_path / "away").rename(storage)
    await anyio.sleep(30)  # for a while, a storage that failed is not tried
    assert await service.step(task_id) is None
    assert len(videos(tmp_path)) == fetched(callers) == 1
    assert callers.world.records.reads == reads


async def test_a_task_whose_links_have_expired_is_not_followed(
    callers: Callers, service: VideoService, clock: Later
) -> None:
    """Nothing is read any more; its job ends."""
    task_id = await begin(service)
    clock.seconds = LINK_LIFE + 1
    assert await service.step(task_id) is None
    assert callers.world.records.reads == 0


async def test_a_failed_task_ends_its_job(callers: Callers, service: VideoService) -> None:
    """There is no video to fetch."""
    callers.world.sandbox.faults.add(Fault("submit", "fail"))
    task_id = await begin(service)
    await job(service, task_id)
    assert (await service.get_task(task_id)).task.status == "failed"
    assert fetched(callers) == 0


async def test_a_job_of_a_task_that_its_owner_does_not_have_ends(
    callers: Callers, services: Services, service: VideoService
) -> None:
    """The API is not asked for it: it would answer for everybody's tasks."""
    task_id = await begin(service)
    await anyio.sleep(MAX_PAUSE)
    assert await callers.of(services, "two").step(task_id) is None
    assert callers.world.records.reads == 0


Call = Callable[[VideoService, str], Awaitable[object]]
CALLS: dict[str, Call] = {
    "wait": lambda service, task_id: service.wait(task_id, 45, nothing),
    "get": lambda service, task_id: service.get_task(task_id),
    "current": lambda service, task_id: service.current(task_id),
    "list": lambda service, task_id: service.tasks(None, 10),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


async def asked(call: Call, service: VideoService, task_id: str) -> None:
    """Call, and give up after ten seconds; else wait until then."""
    with anyio.move_on_after(10):
        await call(service, task_id)
        await anyio.sleep_forever()


@EVERY_CALL
async def test_while_the_job_reads_a_task_on_time_its_callers_do_not(
    callers: Callers, service: VideoService, call: Call
) -> None:
    """The API is read as for the job alone, however often callers ask until the end."""
    alone = await begin(service)
    await job(service, alone)
    reads, task_id = callers.world.records.reads, (await generate(service, take=2)).task.id

    async def ask() -> None:
        while True:
            await call(service, task_id)
            await anyio.sleep(3)

    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(ask)
        made = len(await job(service, task_id))  # each step but the first, and the last without a pause
        group.cancel_scope.cancel()
    assert callers.world.records.reads - reads == made
    assert (await service.get_task(task_id)).kept is not None


@EVERY_CALL
async def test_a_task_that_no_job_reads_is_read_by_its_callers_once_that_is_overdue(
    callers: Callers, service: VideoService, call: Call
) -> None:
    """A minute later than it was due."""
    task_id = await begin(service)
    due = anyio.current_time() + MAX_PAUSE
    while anyio.current_time() < due + OVERDUE - 1:
        assert callers.world.records.reads == 0
        await asked(call, service, task_id)
    await asked(call, service, task_id)
    await asked(call, service, task_id)
    assert callers.world.records.reads == 1


async def test_a_wait_tells_of_the_video_as_soon_as_the_job_has_kept_it(
    service: VideoService,
) -> None:
    """It does not read or fetch anything itself."""
    task_id = await begin(service)
    ended: list[float] = []

    async def follow() -> None:
        await job(service, task_id)
        ended.append(anyio.current_time())

    await anyio.sleep(90)
    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        waited = await service.wait(task_id, 100, nothing)
    assert waited.kept is not None
    assert anyio.current_time() - ended[0] < 3
