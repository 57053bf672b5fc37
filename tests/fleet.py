"""Several ``wan-mcp http`` as real processes, which share a database and a storage behind a balancer."""

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Literal

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.balancer import Balancer, balancer
from tests.server.http.hosted import CLIENT_MODE, Era, oauth_settings
from tests.server.http.issuer import LiveIssuer, live_issuer
from tests.server.http.live import KEY, LiveServer, live_at
from wan_mcp.sandbox import Sandbox, running

Mode = Literal["key", "oauth"]
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}
"""Other tests measure which code they reach; that makes a server slower by half."""


class Fleet:
    """The replicas, by their numbers from 0 on."""

    def __init__(
        self,
        sandbox_url: str,
        folder: Path,
        balancer: Balancer,
        issuer: LiveIssuer | None,
        settings: Sequence[dict[str, str]],
        programs: Sequence[str],
    ) -> None:
        self.balancer = balancer
        self.issuer = issuer
        self._sandbox_url = sandbox_url
        self._folder = folder
        self._settings = settings
        self._programs = programs
        self._servers: dict[int, LiveServer] = {}
        self._ends: dict[int, AsyncExitStack] = {}

    def __getitem__(self, number: int) -> LiveServer:
        return self._servers[number]

    @property
    def credential(self) -> str:
        """The token of a caller, or the key where callers pay themselves."""
        return self.issuer.token() if self.issuer else KEY

    def http(self, credential: str = "") -> httpx2.AsyncClient:
        """A client that sends this key or token; each of its requests may be answered by another replica."""
        return httpx2.AsyncClient(
            base_url=self.balancer.url,
            headers={"authorization": f"Bearer {credential or self.credential}"},
            limits=httpx2.Limits(max_keepalive_connections=0),
            timeout=60,
            trust_env=False,
        )

    @asynccontextmanager
    async def client(self, era: Era, credential: str = "") -> AsyncIterator[Client]:
        """An MCP client that sends this key or token."""
        async with self.http(credential) as http:
            transport = streamable_http_client(f"{self.balancer.url}/mcp", http_client=http)
            async with Client(transport, mode=CLIENT_MODE[era]) as client:
                yield client

    async def start(self, number: int) -> None:
        """Start a replica, and wait until it is ready."""
        async with AsyncExitStack() as stack:
            folder = self._folder / f"replica-{number}"
            folder.mkdir(exist_ok=True)
            program, settings = self._programs[number], self._settings[number]
            live = live_at(self._sandbox_url, folder, program, **UNMEASURED, **settings)
            server = await stack.enter_async_context(live)
            self._servers[number], self._ends[number] = server, stack.pop_all()
        self.balancer.add(server.port)

    async def stop(self, number: int, by: signal.Signals = signal.SIGTERM) -> int:
        """End a replica with a signal, and wait for its exit code."""
        server = self._servers.pop(number)
        server.stop(by)
        code = await server.ended()
        self.balancer.remove(server.port)
        await self._ends.pop(number).aclose()
        return code

    async def kill(self, number: int) -> None:
        """End a replica without letting it do anything more."""
        await self.stop(number, signal.SIGKILL)

    async def restart(self, number: int, by: signal.Signals = signal.SIGTERM) -> None:
        """End a replica with a signal, and start it again, with the same data folder and another port."""
        await self.stop(number, by)
        await self.start(number)

    def pause(self, number: int) -> None:
        """Give a replica no time to run; the balancer still leads connections to it."""
        self._servers[number].stop(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Let a replica go on after ``pause``."""
        self._servers[number].stop(signal.SIGCONT)

    @property
    def log(self) -> str:
        """All that the replicas have written, also those that ended."""
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("replica-*/log-*")))

    async def aclose(self) -> None:
        """Kill all replicas that run."""
        with anyio.CancelScope(shield=True):
            for number in list(self._servers):
                await self.kill(number)


@asynccontextmanager
async def fleet(
    sandbox: Sandbox,
    folder: Path,
    database_urls: Sequence[str],
    mode: Mode = "key",
    programs: Sequence[str] = (),
    **environ: str,
) -> AsyncIterator[Fleet]:
    """Replicas that serve the accounts of a sandbox until the end of the block.

    Args:
        sandbox: what they call instead of Evolink.
        folder: where their data folders, logs and common storage are.
        database_urls: the address of the database as each replica has it.
        mode: who pays: the callers with their keys, or the operator.
        programs: run in each replica before its command.
        environ: further settings of all of them.
    """
    with balancer() as balance, live_issuer() if mode == "oauth" else nullcontext() as issuer:
        common = {
            "WAN_MCP_SECRET": "secret-of-all-replicas-0123456789",
            "WAN_MCP_STORAGE_URL": (folder / "storage").as_uri(),
            "WAN_MCP_PUBLIC_URL": balance.url,
        }
        if issuer:
            common |= oauth_settings(issuer.address) | {"EVOLINK_API_KEY": KEY}
        settings = [common | {"WAN_MCP_DATABASE_URL": url} | environ for url in database_urls]
        async with running(sandbox) as sandbox_url:
            replicas = Fleet(sandbox_url, folder, balance, issuer, settings, programs or [""] * len(settings))
            try:
                async with anyio.create_task_group() as starting:
                    for number in range(len(settings)):
                        starting.start_soon(replicas.start, number)
                yield replicas
            finally:
                await replicas.aclose()
