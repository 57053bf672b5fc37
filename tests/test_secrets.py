"""Keys, picture data and the queries of signed addresses: canaries that must not be found again."""

import base64
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.calls import call
from tests.server.test_stdio import imitation, serving
from tests.world import KEY, World, picture
from wan_mcp.sandbox import Fault

pytestmark = pytest.mark.anyio

QUERY = "X-Amz-Signature=canary-of-a-signed-address"
SIGNED = f"https://pictures.example.com/cat.png?{QUERY}"


def request(**more: Any) -> dict[str, Any]:
    return {"prompt": "go", "image_urls": [SIGNED], **more}


FAULTS = [
    Fault("submit", "status", status=401, message=f"Invalid token {KEY} for {SIGNED}"),
    Fault("submit", "status", status=400, message=f"input media URL could not be fetched: {SIGNED}"),
    Fault("submit", "status", status=500, message=f"{KEY} {SIGNED}"),
    Fault("submit", "html"),
    Fault("submit", "fail", code="image_processing_error", message=f"cannot read {SIGNED} with {KEY}"),
]


@pytest.mark.parametrize(
    "fault", FAULTS, ids=[f"{fault.kind} {fault.details.get('status', '')}" for fault in FAULTS]
)
async def test_what_upstream_repeats_reaches_neither_answers_nor_logs(
    world: World, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Error texts of the API may hold the key and the address of the picture: ours do not."""
    caplog.set_level(logging.DEBUG)
    world.sandbox.faults.add(fault)
    async with world.client(WAN_MCP_LOG_LEVEL="DEBUG") as client:
        caplog.set_level(logging.DEBUG, "wan_mcp")
        asked = await call(client, "generate_video", **request())
        told = [str(asked)]
        if not asked.is_error:
            task_id = (asked.structured_content or {})["id"]
            for _ in range(3):
                told.append(str(await call(client, "wait_for_task", task_id=task_id)))
        told.append(str(await call(client, "list_tasks")))
    for canary in (KEY, QUERY):
        assert canary not in "".join(told)
        assert canary not in caplog.text


async def test_refused_arguments_are_not_repeated(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What a caller sent by mistake may be secret: a key as a prompt, a password in an address."""
    caplog.set_level(logging.DEBUG, "wan_mcp")
    async with world.client() as client:
        for arguments in (
            request(quality=KEY),
            request(callback_url=f"https://user:{KEY}@example.com/"),
            request(**{KEY: 1}),
            {"prompt": f"{KEY}\x00", "image_urls": [SIGNED]},
            {"prompt": "go", "image_urls": [f"https://user:{KEY}@example.com/?{QUERY}"]},
            {"prompt": "go", "image_urls": [f"https://10.0.0.1/a.png?{QUERY}"]},
            {"prompt": "go", "image_urls": [f"data:image/png;base64,{KEY}"]},
        ):
            result = await call(client, "generate_video", **arguments)
            assert result.is_error
            for canary in (KEY, QUERY):
                assert canary not in str(result)
                assert canary not in caplog.text


async def test_the_ledger_holds_neither_key_nor_picture(world: World, tmp_path: Path) -> None:
    """Searched for in the raw bytes of its files, the write-ahead log among them."""
    content = picture()
    data = base64.b64encode(content).decode()
    async with world.client() as client:
        asked = await call(client, "generate_video", prompt="go", image_urls=f"data:image/png;base64,{data}")
        task_id = (asked.structured_content or {})["id"]
        await client.read_resource(f"wan://tasks/{task_id}/poster")  # the only copy, made anew and smaller
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        raw = b"".join(path.read_bytes() for path in files)
    assert [path.suffix for path in files].count(".jpg") == 1
    assert b"SQLite format 3" in raw
    for canary in (KEY.encode(), content[30:60], data[40:90].encode()):
        assert canary not in raw


@pytest.mark.slow
class TestInARealProcess:
    """With everything logged, in development mode."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def test_nothing_secret_is_on_stderr(self, tmp_path: Path) -> None:
        """Uploads, submissions, reads, refusals and downloads, at debug level."""
        (tmp_path / "cat.png").write_bytes(picture())
        local = [str(tmp_path / "cat.png")]
        with (tmp_path / "stderr").open("wb") as stderr:
            async with imitation(seconds=0.2) as (sandbox, url):
                flags, level = ("-X", "dev"), "DEBUG"
                environ: Any = {"WAN_MCP_LOG_LEVEL": level, "WAN_MCP_MAX_WAIT_SECONDS": "1"}
                server = serving(tmp_path, url, *flags, stderr=stderr, **environ)
                async with server as process:
                    asked = await process.tool("generate_video", prompt="go", image_urls=local)
                    task_id = asked["structuredContent"]["id"]
                    await process.tool("wait_for_task", task_id=task_id)
                    await process.tool("save_video", task_id=task_id)
                    missing = f"{url}/cat.png?{QUERY}"
                    await process.tool("generate_video", prompt="go", image_urls=[missing])
                    sandbox.faults.add(*FAULTS)
                    for number in range(len(FAULTS)):
                        await process.tool("generate_video", prompt=f"{number}", image_urls=local)
        logged = (tmp_path / "stderr").read_text()
        assert "wan_mcp" in logged
        for canary in (KEY, QUERY, base64.b64encode(picture()).decode()[40:90]):
            assert canary not in logged


async def test_spans_hold_nothing_secret(world: World) -> None:
    """The SDK traces every message for whoever installs an exporter; so it may be told to someone."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    async with world.client() as client:
        await call(client, "generate_video", **request())
        world.sandbox.faults.add(*FAULTS)
        for number in range(len(FAULTS)):
            await call(client, "generate_video", **request(prompt=f"{number}"))
    spans = "".join(span.to_json() for span in exporter.get_finished_spans())
    provider.shutdown()
    assert "tools/call" in spans
    for canary in (KEY, QUERY):
        assert canary not in spans
