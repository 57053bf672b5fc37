"""The programs that these tests use: finding them, and running them for a bounded time.

The folder in which ``package.json`` was installed is ``WAN_MCP_NODE_TOOLS``; without it the PATH is searched.
A test whose program is missing is skipped. With ``WAN_MCP_REQUIRE_NODE=1`` it fails, unless the program is an
agent. ``python -m tests.clients.programs`` prints the versions of all programs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
from anyio.abc import Process

NODE = 22
"""The oldest node that the official suite runs on."""
FROM_NODE = ("node", "conformance", "mcp-inspector", "mcpb")
AGENTS = ("claude", "codex", "gemini")
"""These are searched only in the folder: one on the PATH may have any version."""
OTHERS = ("fastmcp", "uv", "chromium")
CLIENT = "@modelcontextprotocol/client"

_FOLDER = os.environ.get("WAN_MCP_NODE_TOOLS", "") and str(Path(os.environ["WAN_MCP_NODE_TOOLS"]).resolve())
_REQUIRED = os.environ.get("WAN_MCP_REQUIRE_NODE") == "1"
_INSTALLED = str(Path(_FOLDER, "node_modules", ".bin")) if _FOLDER else ""
PATH = os.pathsep.join(filter(None, [_INSTALLED, os.environ.get("PATH", os.defpath)]))
QUIET = {
    "CI": "true",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "FASTMCP_CHECK_FOR_UPDATES": "off",
    "LANG": "C.UTF-8",
    "NO_COLOR": "1",
}
"""Keeps the programs from asking questions, and their output plain."""


def program(name: str) -> str:
    """Where a program is; if it is missing, the test is skipped, or fails where it is required."""
    found, why = _find(name)
    if found is None:
        missing(why, optional=name in AGENTS)
    return str(found)


def package_folder() -> str:
    """The folder that holds the TypeScript client."""
    program("node")
    if not _version_of_client():
        missing(f"{CLIENT} is not installed in WAN_MCP_NODE_TOOLS")
    return _FOLDER


def axe() -> str:
    """The program of the accessibility checker, which runs in a page."""
    file = Path(_FOLDER, "node_modules", "axe-core", "axe.min.js")
    if not _FOLDER or not file.exists():
        missing("axe-core is not installed in WAN_MCP_NODE_TOOLS")
    return file.read_text("utf-8")


def missing(why: str, *, optional: bool = False) -> NoReturn:
    """Skip the test, or fail it where the program is required."""
    if _REQUIRED and not optional:
        pytest.fail(why)
    pytest.skip(why)


@cache
def _find(name: str) -> tuple[str | None, str]:
    """Where a program is, or why it cannot be used."""
    found = shutil.which(name, path=_INSTALLED if name in AGENTS else PATH)
    if found is None:
        return None, f"{name} is not installed"
    if not _version(found):
        return None, f"{name} is installed, but does not start"
    if name in FROM_NODE and _node() < NODE:
        return None, f"node {NODE} or newer is needed, and here is {_node() or 'none'}"
    return found, ""


@cache
def _version(command: str) -> str:
    """The version that a program prints; empty where it does not start."""
    with tempfile.TemporaryDirectory() as home, suppress(OSError, subprocess.TimeoutExpired):
        ran = subprocess.run(
            [command, "--version"],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return (ran.stdout.strip() or "?") if ran.returncode == 0 else ""
    return ""


@cache
def _node() -> int:
    found = shutil.which("node", path=PATH)
    return int((_version(found) if found else "").lstrip("v").partition(".")[0] or 0)


def _version_of_client() -> str:
    file = Path(_FOLDER, "node_modules", CLIENT, "package.json")
    return str(json.loads(file.read_text())["version"]) if _FOLDER and file.exists() else ""


def environment(home: str | Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment that has only the caller's PATH and certificates."""
    kept = {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
    return {"PATH": PATH, "HOME": str(home), **QUIET, **kept, **(more or {})}


def let_uv_install(home: Path) -> None:
    """Have uv use the system's own certificates, and one cache in all tests.

    In a file: not every client passes on uv's environment variables.
    """
    cache = Path(_FOLDER or tempfile.gettempdir(), "uv-cache")
    folder = home / ".config" / "uv"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "uv.toml").write_text(f"cache-dir = {json.dumps(str(cache))}\nsystem-certs = true\n")


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"

    @property
    def printed(self) -> str:
        """For a program that may use either: Gemini CLI prints to stderr when ``CI`` is set."""
        return self.out + self.err


async def run(
    *command: str,
    folder: Path,
    seconds: float = 60,
    stdin: str = "",
    environ: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program in a folder that is also its home; it and its children end with this call."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        files = {"stdin": given, "stdout": out, "stderr": err}
        async with started(*command, folder=folder, environ=environ, **files) as process:
            with anyio.move_on_after(seconds):
                await process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    ended = process.returncode is not None and process.returncode >= 0
    assert ended, f"{command[0]} did not end by itself within {seconds} s: {texts}"
    return Finished(process.returncode or 0, *texts)


async def succeed(
    name: str, *arguments: str, folder: Path, environ: Mapping[str, str] | None = None
) -> Finished:
    """Run one of the programs, which must not fail."""
    ran = await run(program(name), *arguments, folder=folder, environ=environ, seconds=120)
    assert ran.code == 0, ran.said
    return ran


async def listed_by_gemini(folder: Path, environ: Mapping[str, str]) -> str:
    """What Gemini CLI says of its servers, once one is connected, or after five times.

    It waits for each server for five seconds, which may be too short on a busy machine.
    """
    for _ in range(5):
        ran = await succeed("gemini", "mcp", "list", folder=folder, environ=environ)
        if " - Connected" in ran.printed:
            break
    return ran.printed


@asynccontextmanager
async def started(
    *command: str, folder: Path, environ: Mapping[str, str] | None = None, **files: Any
) -> AsyncIterator[Process]:
    """A running program; it and its children end with this block."""
    process = await anyio.open_process(
        command, cwd=folder, env=environment(folder, environ), start_new_session=True, **files
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.aclose()


def main() -> None:
    sys.stdout.write(f"{'python':15} {sys.version.split()[0]}\n")
    for name in (*FROM_NODE, *AGENTS, *OTHERS):
        found, why = _find(name)
        version = _version(found).splitlines()[0] if found else f"({why})"
        sys.stdout.write(f"{name:15} {version}\n")
    sys.stdout.write(f"{'ts client':15} {_version_of_client() or '(not installed)'}\n")


if __name__ == "__main__":
    main()
