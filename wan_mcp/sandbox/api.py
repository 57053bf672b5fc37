"""The API's endpoints (submissions, tasks, credits), and the sandbox's own (records, faults)."""

import json
from collections.abc import Mapping
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_mcp.sandbox.faults import Fault
from wan_mcp.sandbox.idempotency import Keys, Record
from wan_mcp.sandbox.orders import read_order
from wan_mcp.sandbox.problems import Problem
from wan_mcp.sandbox.sandbox import Sandbox
from wan_mcp.sandbox.tasks import FILTERS, Task

PAGE_SIZE = 20
MAX_PAGE_SIZE = 50
REPLAYED = {"idempotency-replayed": "true"}

Answer = TypeVar("Answer")


async def submit(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    body = await read_json(request)
    order = read_order(body)
    record = hold_key(request, sandbox.submission_keys, body)
    if record.answer is not None:
        # A gateway that recognises requests by their bodies does not say which answer is a replay.
        headers = {} if sandbox.deduplicates else replay_headers(sandbox)
        return JSONResponse(record.answer.answer(sandbox.dates), headers=headers)
    key = request.headers.get("idempotency-key")
    failure = getattr(request.state, "failure", None)
    postponed = getattr(request.state, "postponed", 0.0)
    task = await sandbox.submit(
        order,
        base_url(request),
        account=request.state.account,
        sent_by=request.state.call.sent_by,
        key=key,
        failure=failure,
        postponed=postponed,
    )
    record.answer = task
    if postponed:
        record.effective_at = task.created
    return JSONResponse(task.answer(sandbox.dates))


async def task(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    found = sandbox.task(request.path_params["task_id"], request.state.account)
    return JSONResponse(sandbox.body_of(found, base_url(request)))


async def list_tasks(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    if not sandbox.offers_list:
        raise Problem(404, "There is nothing at this address.")
    query = request.query_params
    page = _number(query, "page", default=1, most=10**6)
    size = _number(query, "page_size", default=PAGE_SIZE, most=MAX_PAGE_SIZE)
    tasks = sandbox.tasks(request.state.account)
    matching = _summaries(sandbox, tasks, query.get("model"), query.get("status"))
    shown = matching[(page - 1) * size : page * size]
    return JSONResponse({"data": shown, "total": len(matching), "page": page, "page_size": size})


async def credits(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    account, now = request.state.account, sandbox.clock()
    numbers = {"remaining_credits": account.remaining(now), "used_credits": account.used(now)}
    token = numbers | {"unlimited_credits": False}
    return JSONResponse({"success": True, "data": {"user": numbers, "token": token}})


async def records(request: Request) -> JSONResponse:
    """Not part of the API: what reached the sandbox, for tests in other processes."""
    sandbox: Sandbox = request.app.state.sandbox
    return JSONResponse(sandbox.records.as_json())


async def add_faults(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    try:
        items = await request.json()
        faults = [Fault.from_json(item) for item in (items if isinstance(items, list) else [items])]
    except ValueError as error:
        return JSONResponse({"error": str(error)}, 400)
    sandbox.faults.add(*faults)
    return JSONResponse({"added": len(faults)})


async def clear_faults(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    sandbox.faults.clear()
    return JSONResponse({"added": 0})


async def read_json(request: Request) -> object:
    try:
        return json.loads(await request.body())
    except ValueError:
        raise Problem(400, "The body is not valid JSON.") from None


def hold_key(request: Request, keys: Keys[Answer], content: object) -> Record[Answer]:
    """The record of the request's idempotency key; the key is held until the answer is ready to be sent."""
    sandbox: Sandbox = request.app.state.sandbox
    key = request.headers.get("idempotency-key") if sandbox.honours_idempotency_key else None
    held = keys.hold(request.headers["authorization"], key, content)
    record: Record[Answer] = request.state.until_answered.enter_context(held)
    return record


def replay_headers(sandbox: Sandbox) -> Mapping[str, str]:
    return REPLAYED if sandbox.says_replayed else {}


def base_url(request: Request) -> str:
    """The address at which the caller reached the sandbox."""
    return str(request.base_url).rstrip("/")


def _summaries(
    sandbox: Sandbox, tasks: list[Task], model: str | None, status: str | None
) -> list[dict[str, object]]:
    if not sandbox.filters_list:
        model = status = None
    if status is not None and status not in FILTERS:
        raise Problem(400, f"status must be one of {', '.join(FILTERS)}.", param="status")
    now = sandbox.clock()
    matching = [task for task in tasks if task.matches(model, status, now)]
    return [task.summary(now, sandbox.dates) for task in matching]


def _number(query: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise Problem(400, f"{name} must be an integer from 1 to {most}.", param=name)
    return int(text)
