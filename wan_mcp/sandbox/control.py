"""The sandbox's own endpoints, for tests in other processes."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_mcp.sandbox.faults import Fault
from wan_mcp.sandbox.sandbox import Sandbox


async def books(request: Request) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    return JSONResponse(sandbox.books.as_json())


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
