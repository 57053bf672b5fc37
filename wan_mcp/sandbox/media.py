"""The endpoints of the file host and the result host."""

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from wan_mcp.sandbox.api import base_url, hold_key, replay_headers
from wan_mcp.sandbox.problems import Problem
from wan_mcp.sandbox.sandbox import Sandbox


async def upload_stream(request: Request) -> JSONResponse:
    async with request.form() as form:
        file, name = form.get("file"), form.get("file_name")
        if not isinstance(file, UploadFile):
            return _refused("The field file is missing.")
        content = await file.read()
        return _upload(request, str(name) if name else file.filename, content)


async def file(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    found = sandbox.uploads.find(request.path_params["file_id"])
    return Response(found.content, media_type=found.mime_type) if found else _gone()


async def result(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    try:
        task = sandbox.task(request.path_params["task_id"])
    except Problem:
        return _gone()
    if not task.has_result(sandbox.clock()):
        return _gone()
    return FileResponse(await sandbox.results.of(task), media_type="video/mp4")


def _upload(request: Request, name: str | None, content: bytes) -> JSONResponse:
    sandbox: Sandbox = request.app.state.sandbox
    record = hold_key(request, sandbox.upload_keys, (name, content))
    replayed = record.answer is not None
    if record.answer is None:
        try:
            record.answer = sandbox.uploads.add(name, content)
        except ValueError as error:
            return _refused(str(error))
    body = {
        "success": True,
        "code": 200,
        "msg": "The file was uploaded.",
        "data": record.answer.body(base_url(request)),
    }
    return JSONResponse(body, headers=replay_headers(sandbox) if replayed else None)


def _refused(reason: str) -> JSONResponse:
    """Uploads are refused under HTTP 200."""
    return JSONResponse({"success": False, "code": 400, "msg": reason, "data": None})


def _gone() -> PlainTextResponse:
    return PlainTextResponse("There is nothing at this address, or no longer.", 404)
