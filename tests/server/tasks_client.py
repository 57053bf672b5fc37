"""A client that speaks the tasks extension, built on the SDK's client."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
from mcp import Client
from mcp.client import ClaimContext, ClientExtension, ClientSession, ResultClaim
from mcp.types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict

from tests.world import World

TASKS = "io.modelcontextprotocol/tasks"


class Params(RequestParams):
    task_id: str


class Asked(Request[Params, str]):
    method: str
    params: Params
    name_param = "taskId"


class Anything(Result):
    """An answer with any content."""

    model_config = ConfigDict(extra="allow")


class Created(Anything):
    result_type: Literal["task"]


async def ask(session: ClientSession, method: str, task_id: str) -> dict[str, Any]:
    """The server's answer as it is sent, without what the protocol adds to each answer."""
    answered = await session.send_request(Asked(method=method, params=Params(task_id=task_id)), Anything)
    return _wire(answered)


def _wire(answered: Result) -> dict[str, Any]:
    return answered.model_dump(by_alias=True, exclude={"meta"}, exclude_unset=True)


@dataclass
class TasksClient(ClientExtension):
    """Waits without a model: asks for the state of a task at the pace that the server suggests."""

    identifier = TASKS
    created: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Created, resolve=self._wait)]

    async def _wait(self, created: Created, context: ClaimContext) -> CallToolResult:
        state = _wire(created)
        self.created.append(state)
        while state["status"] == "working":
            await anyio.sleep(state["pollIntervalMs"] / 1000)
            state = await ask(context.session, "tasks/get", state["taskId"])
            self.states.append(state)
        return CallToolResult.model_validate(state["result"])


@asynccontextmanager
async def tasks_client(
    world: World, mode: Any = "auto", **environ: str
) -> AsyncIterator[tuple[Client, TasksClient]]:
    extension = TasksClient()
    async with Client(world.server(**environ), mode=mode, extensions=[extension]) as client:
        yield client, extension
