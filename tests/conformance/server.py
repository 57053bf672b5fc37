"""A server with the official suite's fixtures, over streamable HTTP with sessions, as a process of its own.

``python -m tests.conformance.server`` writes its address in one line, and serves until its
standard input is closed: so it cannot outlive whoever started it.
"""

import socket
import sys
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from mcp.server import MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage

from tests.conformance.fixtures import add_fixtures
from tests.conformance.jobs import Jobs, add_jobs
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings

HOST = "127.0.0.1"
RETRY_MS = 100
"""When a client whose stream was closed comes back."""


class Events(EventStore):
    """All that was sent, for clients whose stream was closed in between."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last = int(last_event_id)
        if not 1 <= last <= len(self._sent):
            return None
        stream = self._sent[last - 1][0]
        for number, (owner, message) in enumerate(self._sent[last:], last + 1):
            if owner == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


async def serve(server: MCPServer[Any]) -> None:
    listener = socket.create_server((HOST, 0))
    app = server.streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    web = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    sys.stdout.write(f"http://{HOST}:{listener.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    async with anyio.create_task_group() as group:
        group.start_soon(web.serve, [listener])
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        web.should_exit = True


def with_fixtures() -> MCPServer[Any]:
    jobs = Jobs()
    server = create_server(Settings.load(), make_runtime=jobs.runtime)
    add_fixtures(server)
    add_jobs(server, jobs)
    return server


if __name__ == "__main__":
    anyio.run(serve, with_fixtures())
