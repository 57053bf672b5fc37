"""What others do while something that the server needs is down, and that all works again afterwards."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio
import pytest
from starlette.responses import Response

from tests.calls import ARGUMENTS, answer, call, text
from tests.server.http.hosted import IN_BOTH_ERAS, Era, Hosted, hosted
from tests.server.http.issuer import Issuer
from tests.server.http.test_refusals import IN_BOTH_MODES, Mode
from tests.world import KEY, World
from wan_mcp.ledger.sqlite import database
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio


async def ready(server: Hosted) -> tuple[int, str]:
    async with server.http() as http:
        found = await http.get("/readyz")
    return found.status_code, found.json()["status"]


@IN_BOTH_ERAS
@pytest.mark.parametrize(
    "broken", [Response(status_code=500), Response("<html>"), Response("{}")], ids=["500", "HTML", "empty"]
)
async def test_while_the_issuer_is_down_nobody_is_told_to_be_wrong(
    world: World, era: Era, broken: Response
) -> None:
    """503 and when to come again; then right tokens are right, and wrong ones wrong, without a restart."""
    issuer = Issuer("https://login.example.com")
    issuer.answers["*"] = broken
    async with hosted(world, issuer=issuer) as server:
        bearer = f"Bearer {issuer.token()}"
        refused = await server.post(era, authorization=bearer)
        assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "www-authenticate" not in refused.headers
        assert await ready(server) == (200, "ok")  # another server would not be better off
        issuer.answers.clear()
        await anyio.sleep(int(refused.headers["retry-after"]))
        assert (await server.post(era, authorization=bearer)).status_code == 200
        assert (await server.post(era, authorization=bearer[:-9])).status_code == 401
        issuer.answers["*"] = broken  # its keys are known now
        assert (await server.post(era, authorization=bearer)).status_code == 200
    assert world.records.calls == []


@IN_BOTH_ERAS
@pytest.mark.parametrize("fault", ["credits:status,status=503*always", "credits:dropped*always"])
async def test_while_evolink_is_down_no_new_key_is_told_to_be_wrong(
    world: World, era: Era, fault: str
) -> None:
    """503; a key that was checked before goes on, and reads what the ledger has."""
    world.sandbox.other_keys = ("sk-another-0123456789abcdef",)
    async with hosted(world) as server:
        assert (await server.post(era, authorization=f"Bearer {KEY}")).status_code == 200
        world.sandbox.faults.add(Fault.parse(fault))
        other = f"Bearer {world.sandbox.other_keys[0]}"
        refused = await server.post(era, authorization=other)
        assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await server.post(era, authorization=f"Bearer {KEY}")).status_code == 200
        world.sandbox.faults.clear()
        assert (await server.post(era, authorization=other)).status_code == 200


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program writes into the ledger, and does not come to an end."""
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.close()


@contextmanager
def replaced(folder: Path) -> Iterator[None]:
    """Another program has put something else in the place of the ledger."""
    kept = {path: path.rename(path.with_name(f"kept {path.name}")) for path in folder.glob(f"{FILE_NAME}*")}
    (folder / FILE_NAME).write_bytes(b"not a database, but long enough to be read as one" * 100)
    yield
    for path, elsewhere in kept.items():
        elsewhere.rename(path)


@pytest.mark.slow  # a locked ledger is waited for in a thread, and that takes its time
@IN_BOTH_ERAS
@IN_BOTH_MODES
@pytest.mark.parametrize("is_down", [locked, replaced])
async def test_while_the_ledger_is_down_nothing_is_paid(
    world: World,
    era: Era,
    mode: Mode,
    is_down: Callable[[Path], AbstractContextManager[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request is refused before anything is sent; the server is not ready, and is again afterwards."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 2.0)  # SQLite waits for real
    issuer = Issuer("https://login.example.com") if mode == "oauth" else None
    credential = issuer.token() if issuer else KEY
    folder = Path(world.environ["WAN_MCP_DATA_DIR"])
    async with hosted(world, issuer=issuer) as server, server.client(credential, era) as client:
        await answer(client, "list_tasks")
        with is_down(folder):
            assert await ready(server) == (503, "the ledger does not answer")
            refused = await call(client, "generate_video", **ARGUMENTS)
            assert refused.is_error
            assert "Nothing was sent or charged" in text(refused)
        await anyio.sleep(60)
        assert await ready(server) == (200, "ok")
        assert world.records.posts == 0
        await answer(client, "generate_video", **ARGUMENTS)
    assert len(world.records.paid) == 1


async def test_the_operator_reads_why_the_server_is_not_ready(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A probe that fails tells its caller nothing of the machine; the log names the folder."""
    folder = f"{__file__}/data"
    async with hosted(world, WAN_MCP_DATA_DIR=folder) as server:
        assert await ready(server) == (503, "the ledger does not answer")
    [reason] = [record.getMessage() for record in caplog.records if "not ready" in record.getMessage()]
    assert folder in reason
