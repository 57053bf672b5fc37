"""Running the official suite against a server, and reading what it found."""

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.clients.programs import program, run, started
from tests.world import KEY

ROOT = Path(__file__).parents[2]
SECONDS = 180
"""The suite takes ten; it ends a scenario by itself after 30."""


@dataclass(frozen=True)
class Scenario:
    """What one scenario found: the checks that passed, and what is wrong or advised against."""

    passed: int
    problems: tuple[str, ...]

    @classmethod
    def of(cls, checks: list[dict[str, Any]]) -> "Scenario":
        wrong = [check for check in checks if check["status"] in ("FAILURE", "WARNING")]
        return cls(
            sum(check["status"] == "SUCCESS" for check in checks),
            tuple(f"{check['id']}: {check.get('errorMessage')}" for check in wrong),
        )


@asynccontextmanager
async def with_fixtures(folder: Path) -> AsyncIterator[str]:
    """A server that has the suite's fixtures, in a process of its own; yields its address."""
    environ = {
        "EVOLINK_API_KEY": KEY,
        "EVOLINK_BASE_URL": "http://127.0.0.1:9",
        "WAN_MCP_DATA_DIR": str(folder),
        "WAN_MCP_OUTPUT_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    command = (sys.executable, "-m", "tests.conformance.server")
    log = folder / "server.log"
    try:
        with log.open("wb") as stderr:
            async with started(*command, folder=folder, environ=environ, stderr=stderr) as process:
                assert process.stdout is not None
                with anyio.fail_after(60):
                    line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 200)
                yield line.decode()
    except BaseException:
        sys.stderr.write(log.read_text("utf-8", errors="replace"))
        raise


async def required(revision: str, folder: Path) -> set[str]:
    """The scenarios for servers that belong to a revision of the protocol."""
    listed = await run(program("conformance"), "list", "--requirements", revision, folder=folder)
    assert listed.code == 0, listed.said
    scored = listed.out.partition("Server scenarios")[2].partition("\n\n")[0]
    others = re.findall(r"^ +- (\S+) \[server\]$", listed.out, re.M)
    return {*re.findall(r"^ +- (\S+)$", scored, re.M), *others}


async def examine(url: str, revision: str, folder: Path) -> dict[str, Scenario]:
    """Run the whole suite for a revision of the protocol; what each scenario found, by its name."""
    command = (program("conformance"), "server", "--url", url, "--requirements", revision)
    ran = await run(*command, "--output-dir", str(folder / "found"), folder=folder, seconds=SECONDS)
    found = {}
    for file in (folder / "found").glob("*/checks.json"):
        name = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT.*", file.parent.name)
        assert name, file
        found[name[1]] = Scenario.of(json.loads(file.read_text()))
    assert found, ran.said
    return found
