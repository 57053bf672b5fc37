"""The long jobs that the official suite asks for: each is a video of the sandbox, and a wait for it.

A call of one of these tools is answered as a call of ``wait_for_task`` would be: by the product's own
extension, and by the product's own tool for a client that does not declare it.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2
from mcp.server import MCPServer, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import require_client_extension

from tests.world import KEY, Web, fetch, render, resolve
from wan_mcp.generation.request import GenerationRequest
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.services import Services
from wan_mcp.sandbox import Sandbox, create_app
from wan_mcp.server.task_extension import TaskExtension

PICTURE = "https://pictures.example.com/cat.png"


class Jobs(httpx2.AsyncBaseTransport):
    """The sandbox, in which a job is a video; and it refuses the key to whoever reads a failing one."""

    def __init__(self) -> None:
        self.sandbox = Sandbox(key=KEY, fetch=fetch, render=render)
        self._web = Web(httpx2.ASGITransport(create_app(self.sandbox)))
        self._numbers = itertools.count()
        self._failing: set[str] = set()

    @property
    def runtime(self) -> Callable[..., Runtime]:
        """Makes what serves the calls."""
        return partial(Runtime, transport=self, resolve=resolve)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.rpartition("/")[2] in self._failing:
            return httpx2.Response(401, stream=httpx2.ByteStream(b"{}"))
        return await self._web.handle_async_request(request)

    async def begin(self, services: Services, seconds: float, *, fails: bool) -> str:
        """Request a video that takes so many seconds; its task id."""
        self.sandbox.seconds = seconds
        request = GenerationRequest(prompt=f"Job {next(self._numbers)}.", image_urls=[PICTURE])
        task_id = (await services.current().generate(request)).task.id
        if fails:
            self._failing.add(task_id)
        return task_id

    async def instead(self, ctx: ServerRequestContext[Services, Any], call_next: CallNext) -> HandlerResult:
        """Call ``wait_for_task`` instead of a job's tool, with the task of a new job."""
        params: dict[str, Any] = dict(ctx.params or {})
        name = params.get("name") if ctx.method == "tools/call" else None
        if name not in ("slow_compute", "failing_job"):
            return await call_next(ctx)
        if name == "failing_job":  # the suite's example of a tool that only works as a task
            require_client_extension(ctx, TaskExtension.identifier)
        seconds = params.get("arguments", {}).get("seconds", 1)
        task_id = await self.begin(ctx.lifespan_context, seconds, fails=name == "failing_job")
        params |= {"name": "wait_for_task", "arguments": {"task_id": task_id}}
        return await call_next(replace(ctx, params=params))


def add_jobs(server: MCPServer[Services], jobs: Jobs) -> None:
    """Offer the tools of the suite's scenarios for tasks."""
    server.middleware.append(jobs.instead)
    for tool in (greet, slow_compute, failing_job):
        server.add_tool(tool, structured_output=False)


def greet(name: str) -> str:
    """Answers at once."""
    return f"Hello, {name}!"


def slow_compute(seconds: float, label: str = "") -> str:
    """Waits for a video that takes so many seconds."""
    raise AssertionError("wait_for_task is called instead")


def failing_job() -> str:
    """Waits for a video whose state nobody may read."""
    raise AssertionError("wait_for_task is called instead")
