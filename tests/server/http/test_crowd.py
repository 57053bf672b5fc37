"""Many callers at once, in both eras: every request upstream is its caller's, and nobody sees another's."""

import base64
import json
import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ResourceTemplateReference
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.calls import answer, call, text
from tests.server.http.hosted import ADDRESS, CLIENT_MODE, HTTP_ERAS, Era, Hosted, hosted
from tests.server.http.issuer import Issuer
from tests.server.http.test_refusals import IN_BOTH_MODES, Mode
from tests.server.tasks_client import TasksClient
from tests.world import KEY, World, picture
from wan_mcp.sandbox import Account

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(400)]

CALLERS: dict[Mode, int] = {"key": 72, "oauth": 24}
"""What they do repeats after 24. Where all share the operator's key, there is less to be mixed up."""
TASK_ID = re.compile(r"task-unified-\d+-\w+")
CREDENTIAL = re.compile(r"sk-canary-\w+|eyJ[\w.-]{50,}")
PROMPT = re.compile(r"prompt-canary-\d+")
EVERY_TASK = ResourceTemplateReference(type="ref/resource", uri="wan://tasks/{task_id}")


@dataclass
class Caller:
    """One of them."""

    number: int
    credential: str

    @property
    def prompt(self) -> str:
        return f"prompt-canary-{self.number:04}"

    @property
    def era(self) -> Era:
        return HTTP_ERAS[self.number % 2]


class Answers:
    """The application; all bytes of its answers are kept, by the credential of the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.given: dict[str, bytearray] = defaultdict(bytearray)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        credential = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")

        async def keep(message: Message) -> None:
            self.given[credential] += repr(message.get("headers", "")).encode() + message.get("body", b"")
            await send(message)

        await self._app(scope, receive, keep)


class Upstream(httpx2.AsyncBaseTransport):
    """The network; all requests are kept."""

    def __init__(self, network: httpx2.AsyncBaseTransport) -> None:
        self._network = network
        self.requests: list[tuple[str, str]] = []
        """The credential of each, and all the rest of it."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = dict(request.headers)
        credential = headers.pop("authorization", "").removeprefix("Bearer ")
        body = (await request.aread()).decode("latin-1")
        self.requests.append((credential, f"{request.method} {request.url} {headers} {body}"))
        return await self._network.handle_async_request(request)


async def work(client: Client, caller: Caller, others: Sequence[str]) -> str:
    """All that a caller can do, much of it at once; returns the id of its task."""
    data = "data:image/png;base64," + base64.b64encode(picture()).decode()
    address = f"https://pictures.example.com/{caller.prompt}.png?signature=canary"
    image = data if caller.number % 4 < 2 else address
    asked = await answer(client, "generate_video", prompt=caller.prompt, image_urls=[image], quality="480p")
    task_id = str(asked["id"])
    uri = f"wan://tasks/{task_id}"

    async def wait() -> None:
        while True:
            found = await answer(client, "wait_for_task", task_id=task_id, timeout_seconds=50)
            if found["status"] == "completed":
                return

    async def look() -> None:
        assert [task["id"] for task in (await answer(client, "list_tasks"))["tasks"]] == [task_id]
        if caller.number % 8 < 4:  # in both eras
            await answer(client, "get_credits")
            await client.read_resource(uri)
        else:
            await client.read_resource("wan://tasks")
            await client.read_resource(f"{uri}/poster")
            completed = await client.complete(EVERY_TASK, {"name": "task_id", "value": ""})
            assert completed.completion.values == [task_id]
        for other in others[:2]:
            refused = await call(client, "get_task", task_id=other)
            assert refused.is_error
            assert "prompt-canary" not in text(refused)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        group.start_soon(look)
    return task_id


@IN_BOTH_MODES
@pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed")
async def test_callers_at_once_are_never_mixed_up(
    tmp_path: Path, mode: Mode, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """In requests upstream, answers, logs, the ledger and the books of the sandbox."""
    caplog.set_level(logging.DEBUG, "wan_mcp")
    issuer = Issuer("https://login.example.com") if mode == "oauth" else None
    callers = [
        Caller(number, issuer.token(sub=f"caller-{number}") if issuer else f"sk-canary-{number:04}-abcdef")
        for number in range(CALLERS[mode])
    ]
    accounts = [] if issuer else [Account(f"{one.number}", one.credential) for one in callers]
    world = World(tmp_path, seconds=120, credits=1e6, accounts=accounts)
    upstream = Upstream(world.transport)
    world.transport = upstream
    made: dict[int, str] = {}

    async def run(server: Hosted, caller: Caller) -> None:
        headers = {"authorization": f"Bearer {caller.credential}"}
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(server.http(f"192.0.2.{caller.number}", headers=headers))
            transport = streamable_http_client(f"{ADDRESS}/mcp", http_client=http)
            extensions = [TasksClient()] if caller.number % 3 == 0 else []
            client = await stack.enter_async_context(
                Client(transport, mode=CLIENT_MODE[caller.era], extensions=extensions)
            )
            made[caller.number] = await work(client, caller, list(made.values())[:5])

    async with hosted(world, issuer=issuer) as server:
        answers = Answers(server.app)
        server.app = answers  # type: ignore[assignment]
        async with anyio.create_task_group() as group:
            for caller in callers:
                group.start_soon(run, server, caller)

    assert len(world.records.paid) == len(made) == CALLERS[mode]
    owner_of = {task_id: callers[number] for number, task_id in made.items()}

    # What went upstream.
    assert {credential for credential, _ in upstream.requests} - {""} == (
        {KEY} if issuer else {caller.credential for caller in callers}
    )
    for credential, rest in upstream.requests:
        assert CREDENTIAL.findall(rest) == [], rest
        if issuer is None and credential:
            named = [owner_of[task_id] for task_id in TASK_ID.findall(rest) if "results" not in rest]
            asked = [callers[int(prompt.rsplit("-")[-1])] for prompt in PROMPT.findall(rest)]
            own = [one for one in named + asked if one.credential == credential]
            assert len(own) == len(named) + len(asked) or _asked_for_another(rest, asked), rest

    # What came back: nothing of anybody else but the ids that the caller asked for itself.
    for caller in callers:
        given = answers.given[caller.credential].decode()
        assert set(PROMPT.findall(given)) == {caller.prompt}
        assert CREDENTIAL.findall(given) == []

    # What is kept, and what is logged.
    books = json.dumps(world.records.as_json())
    assert [credential for credential in CREDENTIAL.findall(books) if credential != KEY] == []
    if issuer is None:
        for payment in world.records.paid:
            assert payment.sent_by == f"{owner_of[payment.task_id].number}/1"
            assert payment.prompt == owner_of[payment.task_id].prompt
    rows = await world.rows()
    assert {row.task.id for row in rows if row.task} == set(owner_of)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    logged = str([vars(record) for record in caplog.records]) + caplog.text + "".join(capfd.readouterr())
    for credential in (KEY, *(caller.credential for caller in callers)):
        assert credential.encode() not in kept
        assert credential not in logged
    assert PROMPT.findall(logged) == []
    assert "signature=canary" not in logged


def _asked_for_another(rest: str, asked: Sequence[Caller]) -> bool:
    """Whether this is the read of an id that the caller was given by another: it is not known to its key."""
    return rest.startswith("GET") and "/v1/tasks/" in rest and not asked
