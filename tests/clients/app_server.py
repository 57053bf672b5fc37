"""``codex app-server``: what editors talk to, and the way to ask Codex about its servers without a model."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.clients.programs import program, started


class AppServer:
    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._lines = BufferedByteReceiveStream(process.stdout)
        self._number = 0

    async def send(self, **message: Any) -> None:
        await self._stdin.send(json.dumps(message).encode() + b"\n")

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        await self.send(id=self._number, method=method, params=params)
        while True:
            message = json.loads(await self._lines.receive_until(b"\n", 10_000_000))
            if message.get("id") == self._number and "method" not in message:
                assert "result" in message, message
                return dict(message["result"])


@asynccontextmanager
async def app_server(folder: Path, environ: Mapping[str, str] | None = None) -> AsyncIterator[AppServer]:
    """Codex with its configuration in a folder, running and past its handshake."""
    log = (folder / "codex.log").open("wb")
    with log, anyio.fail_after(60):
        async with started(
            program("codex"), "app-server", folder=folder, environ=environ, stderr=log
        ) as process:
            server = AppServer(process)
            await server.ask("initialize", clientInfo={"name": "test", "title": "Test", "version": "1"})
            await server.send(method="initialized")
            yield server
