"""A hosted server keeps rows, videos, uploads and posters for as long as its settings say, and no longer."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.callers import Callers
from tests.calls import answer, made
from tests.clock import now
from tests.generation.gateway import generate
from wan_mcp.generation import retention
from wan_mcp.generation.owners import ONE_ACCOUNT, OWN_KEYS, Deployment
from wan_mcp.generation.poster_files import PosterFiles
from wan_mcp.generation.retention import MARGIN, Retention
from wan_mcp.generation.services import Services
from wan_mcp.generation.stored import DAY, HOUR
from wan_mcp.ledger import Kept

pytestmark = pytest.mark.anyio

DEAD_BUCKET = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(params=[OWN_KEYS, ONE_ACCOUNT], ids=["own keys", "one account"])
def callers(tmp_path: Path, request: pytest.FixtureRequest) -> Callers:
    deployment: Deployment = request.param
    return Callers(tmp_path, deployment, seconds=30)


class Calendar:
    """A clock whose days pass at once."""

    days = 0.0

    def __call__(self) -> float:
        return now() + self.days * DAY


@asynccontextmanager
async def serving(
    callers: Callers, folder: Path, calendar: Calendar, **environ: str
) -> AsyncIterator[Services]:
    """With its storage in a folder, unless the settings say otherwise."""
    url = {"WAN_MCP_STORAGE_URL": (folder / "storage").as_uri()}
    async with callers.services({"clock": calendar}, **(url | environ)) as services:
        yield services


def files(folder: Path) -> set[str]:
    """What is stored, and under ``data`` the posters that an earlier version kept in the data folder."""
    stored = {f"{path.parent.name}/{path.name}" for path in folder.glob("storage/*/*")}
    return stored | {f"data/{path.name}" for path in folder.glob("data/posters/*")}


async def kept(callers: Callers, services: Services, name: str, prompt: str) -> Kept:
    """A completed task whose video is kept."""
    service = callers.of(services, name)
    task_id = (await generate(service, prompt=prompt)).task.id
    await anyio.sleep(100)
    found = (await service.save(task_id, None)).kept
    assert found is not None
    return found


async def test_an_old_row_goes_with_all_that_belongs_to_it(callers: Callers, tmp_path: Path) -> None:
    """Of every caller; what is younger stays, to the last file."""
    calendar = Calendar()
    async with serving(callers, tmp_path, calendar, WAN_MCP_RESULT_DAYS="9999") as services:
        for name in ("one", "two"):
            await kept(callers, services, name, "The cat yawns.")
        posters = PosterFiles(tmp_path / "data", services.runtime.ledger)
        await posters.put((await callers.world.rows())[0], b"of an earlier version")
        old = files(tmp_path)
        assert len(old) == 5
        calendar.days = 10
        await kept(callers, services, "one", "The dog barks.")
        young = files(tmp_path) - old
        assert len(young) == 2
        removing = Retention(services.runtime)
        calendar.days = 364
        await removing.sweep()
        assert files(tmp_path) == old | young
        calendar.days = 366
        await removing.sweep()
        assert files(tmp_path) == young
    assert [row.prompt for row in await callers.world.rows()] == ["The dog barks."]


@pytest.mark.parametrize(
    ("age", "left"),
    [
        (2 * HOUR + MARGIN - 60, {"uploads", "results", "films", "posters", "data"}),
        (2 * HOUR + MARGIN + 60, {"results", "films", "posters", "data"}),
        (3 * DAY + MARGIN - 60, {"results", "films", "posters", "data"}),
        (3 * DAY + MARGIN + 60, {"posters", "data"}),
        (5 * DAY + MARGIN - 60, {"posters", "data"}),
        (5 * DAY + MARGIN + 60, set()),
    ],
)
async def test_files_go_by_their_age(callers: Callers, tmp_path: Path, age: float, left: set[str]) -> None:
    """Also those that belong to no row, but not other programs'; an hour late, since clocks differ."""
    others = {
        "uploads/2024-holiday.jpg",
        "results/exam.csv",
        "films/wedding.mov",
        "posters/cat.jpg",
        "mine/one",
    }
    days = {"WAN_MCP_RESULT_DAYS": "3", "WAN_MCP_UPLOAD_HOURS": "2", "WAN_MCP_POSTER_DAYS": "5"}
    async with serving(callers, tmp_path, Calendar(), **days) as services:
        storage = services.runtime.storage
        assert storage is not None
        ours = ("uploads/{}", "results/{}.mp4", "films/{}.webm", "posters/{}.jpg")
        for key in (*others, *(key.format("a" * 40) for key in ours)):
            await storage.objects.create(key, b"content")
        picture = tmp_path / "data" / "posters" / f"1-{'0' * 16}.jpg"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(b"content")
        await Retention(services.runtime, lambda: time.time() + age).sweep()
        assert files(tmp_path) >= others
        assert {name.partition("/")[0] for name in files(tmp_path) - others} == left


async def test_a_row_stays_until_its_video_could_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bucket that cannot be reached holds up nothing else, and is said in one line."""
    callers = Callers(tmp_path, ONE_ACCOUNT, seconds=30)
    calendar = Calendar()
    async with serving(callers, tmp_path, calendar) as services:
        await kept(callers, services, "one", "The cat yawns.")
    for name, value in DEAD_BUCKET.items():
        monkeypatch.setenv(name, value)
    before, calendar.days = await callers.world.rows(), 366
    async with serving(callers, tmp_path, calendar, WAN_MCP_STORAGE_URL="s3://bucket") as services:
        await Retention(services.runtime, lambda: time.time() + 366 * DAY).sweep()
    assert await callers.world.rows() == before
    assert {name.partition("/")[0] for name in files(tmp_path)} == {"results", "posters"}
    said = [
        record.getMessage().partition(":")[0]
        for record in caplog.records
        if record.name == retention.__name__
    ]
    assert said == [
        f"old {what} could not be removed" for what in ("requests", "results", "films", "posters", "uploads")
    ]
    assert all(len(record.getMessage().splitlines()) == 1 for record in caplog.records)


async def test_a_server_does_this_by_itself(tmp_path: Path) -> None:
    """In the background, from its start on."""
    callers = Callers(tmp_path, OWN_KEYS, seconds=30)
    async with callers.client(WAN_MCP_TASK_DAYS="2") as (client, _):
        await made(client)
        await anyio.sleep(2 * DAY - HOUR)
        assert len(await callers.world.rows()) == 1
        for _ in range(50):  # in its hourly search the storage takes real time, and this clock none
            if await callers.world.rows():
                await anyio.sleep(600)
        assert (await answer(client, "list_tasks"))["tasks"] == []
