"""The doctor: what it finds, what it advises, and when it says that a generation could not work."""

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from tests.clock import now
from tests.world import KEY, World
from wan_mcp.cli import folders
from wan_mcp.cli.commands import commands
from wan_mcp.cli.doctor import Finding, could_generate, examine, masked
from wan_mcp.sandbox import Fault
from wan_mcp.settings import Settings, key_file
from wan_mcp.settings.key_file import KeptKey

MADE = "sk-0123456789abcdef"


def run(**environ: str) -> Result:
    return CliRunner(env={"EVOLINK_API_KEY": "", **environ}).invoke(commands, ["doctor"])


async def wrong(world: World, transport: Any = None, **environ: str) -> list[tuple[str, str]]:
    """What the doctor finds wrong, with its advice."""
    settings = Settings.load(world.environ | environ)
    findings = await examine(settings, transport=transport or world.transport)
    assert could_generate(findings) == (not [one for one in findings if one.mark == "WRONG" and one.needed])
    assert not any(KEY in finding.text for finding in findings)
    return [(finding.text, finding.advice) for finding in findings if finding.mark == "WRONG"]


class Elsewhere(httpx2.AsyncBaseTransport):
    """The sandbox, but for one host, at which something else answers."""

    def __init__(self, world: World, host: str, answer: httpx2.Response | Exception) -> None:
        self.seen: list[str] = []
        self._world, self._host, self._answer = world, host, answer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request.url.host)
        if request.url.host != self._host:
            return await self._world.transport.handle_async_request(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        made = self._answer
        return httpx2.Response(made.status_code, headers=made.headers, stream=httpx2.ByteStream(made.content))


def test_what_is_missing_is_said() -> None:
    """Without a key: exit code 1, and how to get one."""
    result = run()
    assert result.exit_code == 1
    assert "WRONG EVOLINK_API_KEY is not set" in result.output
    assert "https://evolink.ai/dashboard/keys" in result.output
    assert result.output.endswith("A generation could not work.\n")


def test_every_bad_setting_is_named_and_no_default_is_tried_in_its_place(tmp_path: Path) -> None:
    """Each problem with what to do; the key is not shown."""
    bad = {"EVOLINK_BASE_URL": "http://example.com", "WAN_MCP_OUTPUT_DIR": "videos"}
    result = run(EVOLINK_API_KEY="sk-a b-secret", WAN_MCP_DATA_DIR=str(tmp_path), **bad)
    assert result.exit_code == 1
    assert "EVOLINK_API_KEY has white space" in result.output
    assert "EVOLINK_BASE_URL must begin with https://" in result.output
    assert "WAN_MCP_OUTPUT_DIR must be an absolute path" in result.output
    assert "b-secret" not in result.output
    assert "api.evolink.ai" not in result.output
    assert "Videos can" not in result.output


@pytest.mark.anyio
async def test_where_the_key_comes_from_is_said(world: World, tmp_path: Path) -> None:
    """The kept one is named by its file, and one that cannot be used is wrong once, with what to do."""
    kept = KeptKey(SecretStr(KEY), Settings.load({}).base_url, Settings.load({}).files_url)
    path = tmp_path / "data" / "key.json"
    key_file.keep(path, kept)
    settings = Settings.load(world.environ | {"EVOLINK_API_KEY": ""})
    findings = await examine(settings, transport=world.transport)
    used = Finding("ok", f"The key sk-…cdef of wan-mcp setup is used, kept in {path}")
    assert findings[3] == used
    assert could_generate(findings)
    path.chmod(0o644)
    [(text, advice)] = await wrong(world, EVOLINK_API_KEY="")
    assert text.endswith(f'is not used: others may use the file. Run chmod 600 "{path}".')
    assert advice == ""


@pytest.mark.anyio
async def test_everything_in_order(world: World, tmp_path: Path) -> None:
    """Each line, with what works; nothing is left behind, and nothing was paid."""
    findings = await examine(Settings.load(world.environ), transport=world.transport)
    assert could_generate(findings)
    assert [(finding.mark, finding.text) for finding in findings[1:]] == [
        ("ok", "Installed: what is needed for HEIC pictures, as iPhones make them"),
        (
            "ok",
            "Installed: what is needed for continuing, joining and previewing videos, and for the sandbox",
        ),
        ("ok", "EVOLINK_API_KEY is set: sk-…cdef"),
        (
            "ok",
            "The API https://api.evolink.ai answers and knows the key; 1000 credits ($14.71) are left",
        ),
        ("ok", "The file service https://files-api.evolink.ai answers"),
        ("ok", f"Pictures can be read in {tmp_path}"),
        ("ok", f"Videos can be saved in {tmp_path}/videos"),
        ("ok", f"The ledger {tmp_path}/data/ledger.sqlite3 is made with the first request"),
        (
            "ok",
            "Spent in the last 24 hours with this key: 0 credits ($0.00); "
            "WAN_MCP_DAILY_CREDITS is not set, so there is no limit",
        ),
        ("ok", "WAN_MCP_REQUEST_CREDITS is not set, so one request may cost anything"),
    ]
    assert os.listdir(tmp_path) == []  # noqa: PTH208  a test may block
    assert [call.at for call in world.records.calls] == ["credits", "upload"]
    assert world.records.paid == []
    assert world.sandbox.uploads.find("any") is None


@pytest.mark.anyio
async def test_a_wrong_key_is_found(world: World) -> None:
    """What the API says of the key, and what to do about it."""
    [api, files] = await wrong(world, EVOLINK_API_KEY="sk-of-somebody-else")
    assert "unauthorized" in api[0]
    assert "unauthorized" in files[0]
    assert "Check EVOLINK_API_KEY" in api[1]


@pytest.mark.anyio
async def test_an_empty_account_is_found(world: World) -> None:
    """A key that works is not enough."""
    world.sandbox.credits = 0
    [(text, advice)] = await wrong(world)
    assert "0 credits ($0.00) are left" in text
    assert "Add credits" in advice


PAGE = httpx2.Response(200, html="<h1>Welcome</h1>")
NO_SUCH_PLACE = httpx2.Response(404, json={"error": {"code": "not_found", "message": "Not found"}})


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        httpx2.ConnectError("[Errno -2] Name or service not known"),
        httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        httpx2.ReadTimeout("no answer"),
        PAGE,
        httpx2.Response(200, json={"status": "fine"}),
        httpx2.Response(200, json=[]),
        httpx2.Response(301, headers={"location": "https://example.com/"}),
        httpx2.Response(405, html="<h1>Not allowed</h1>"),
        httpx2.Response(500, text="broken"),
        NO_SUCH_PLACE,
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["EVOLINK_BASE_URL", "EVOLINK_FILES_URL"])
async def test_a_host_that_is_not_evolinks_is_found(
    world: World, name: str, answer: httpx2.Response | Exception
) -> None:
    """Unknown, without a valid certificate, silent, or another service: the other one is tried, too."""
    transport = Elsewhere(world, "other.example.com", answer)
    [(text, advice)] = await wrong(world, transport, **{name: "https://other.example.com"})
    assert "https://other.example.com does not answer as it should" in text
    assert name in advice or "again" in advice
    assert len({*transport.seen}) == 2


@pytest.mark.anyio
async def test_a_host_that_cannot_be_connected_to_is_named_by_its_own_setting(world: World) -> None:
    """The advice about a connection names the setting of that host."""
    transport = Elsewhere(world, "files.example.com", httpx2.ConnectError("refused"))
    [(_, advice)] = await wrong(world, transport, EVOLINK_FILES_URL="https://files.example.com")
    assert "EVOLINK_FILES_URL" in advice
    assert "EVOLINK_BASE_URL" not in advice


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 422])
async def test_a_file_service_that_refuses_an_upload_without_a_file_works(world: World, status: int) -> None:
    """In its documented words, or in those of another version."""
    answer = httpx2.Response(status, json={"error": {"message": "file is required"}})
    assert await wrong(world, Elsewhere(world, "files-api.evolink.ai", answer)) == []


@pytest.mark.anyio
async def test_a_passing_fault_is_no_finding(world: World) -> None:
    """The balance is read again, as for any other read."""
    world.sandbox.faults.add(Fault("credits", "status", status=503))
    assert await wrong(world) == []


@pytest.mark.anyio
async def test_folders_that_cannot_be_used_are_wrong_but_stop_no_generation(
    world: World, tmp_path: Path
) -> None:
    """Web pictures and links go without them."""
    (tmp_path / "file").write_text("")
    bad = {"WAN_MCP_IMAGE_DIRS": str(tmp_path / "none"), "WAN_MCP_OUTPUT_DIR": str(tmp_path / "file" / "v")}
    found = await wrong(world, **bad)
    assert found == [
        (
            f"Pictures cannot be read in {tmp_path}/none (No such file or directory)",
            "Make it readable, or name others in WAN_MCP_IMAGE_DIRS.",
        ),
        (
            f"Videos cannot be saved in {tmp_path}/file/v (Not a directory)",
            "Name another folder in WAN_MCP_OUTPUT_DIR.",
        ),
    ]
    assert could_generate(await examine(Settings.load(world.environ | bad), transport=world.transport))


@pytest.mark.anyio
async def test_a_ledger_that_cannot_be_made_or_opened_stops_a_generation(
    world: World, tmp_path: Path
) -> None:
    """Nothing is paid without a record."""
    (tmp_path / "file").write_text("")
    [(text, _)] = await wrong(world, WAN_MCP_DATA_DIR=str(tmp_path / "file"))
    assert text == f"The ledger {tmp_path}/file/ledger.sqlite3 cannot be made (Not a directory)"
    (tmp_path / "ledger.sqlite3").write_text("this is no database" * 100)
    [(text, advice)] = await wrong(world, WAN_MCP_DATA_DIR=str(tmp_path))
    assert "cannot be used" in text
    assert "Move it away" in advice


@pytest.mark.anyio
async def test_spending_and_caps_are_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this key, over the last day; a cap without room for the cheapest video stops a generation."""
    monkeypatch.setattr("time.time", now)
    async with world.client() as client:
        request = {"prompt": "The cat yawns.", "image_urls": ["https://pictures.example.com/cat.png"]}
        await client.call_tool("generate_video", request)
    spent = "Spent in the last 24 hours with this key: 25.5 credits ($0.38)"
    caps = {"WAN_MCP_DAILY_CREDITS": "38.25", "WAN_MCP_REQUEST_CREDITS": "12.75"}
    findings = await examine(Settings.load(world.environ | caps), transport=world.transport)
    assert could_generate(findings)
    assert [finding.text for finding in findings[-3:]] == [
        f"The ledger {world.environ['WAN_MCP_DATA_DIR']}/ledger.sqlite3 opens; rows: 1",
        f"{spent} of 38.25 (WAN_MCP_DAILY_CREDITS)",
        "One request may cost 12.75 credits ($0.19) by WAN_MCP_REQUEST_CREDITS",
    ]
    caps = {"WAN_MCP_DAILY_CREDITS": "38.24", "WAN_MCP_REQUEST_CREDITS": "12.74"}
    assert await wrong(world, **caps) == [
        (
            f"{spent} of 38.24 (WAN_MCP_DAILY_CREDITS): the cheapest video costs 12.75",
            "Wait, or raise the cap.",
        ),
        (
            "One request may cost 12.74 credits ($0.19) by WAN_MCP_REQUEST_CREDITS: "
            "the cheapest video costs 12.75",
            "Raise the cap.",
        ),
    ]
    await anyio.sleep(24 * 3600)
    assert await wrong(world, WAN_MCP_DAILY_CREDITS="12.75") == []


@pytest.mark.anyio
async def test_a_cap_that_cannot_be_used_is_not_said_to_be_unset(world: World) -> None:
    """It is wrong, and that is all that can be said of it."""
    caps = {"WAN_MCP_DAILY_CREDITS": "many", "WAN_MCP_REQUEST_CREDITS": "-1"}
    findings = await examine(Settings.load(world.environ | caps), transport=world.transport)
    assert len([finding for finding in findings if finding.mark == "WRONG"]) == 2
    assert not any("is not set" in finding.text for finding in findings)


@pytest.mark.anyio
async def test_nobody_is_told_to_wait_where_waiting_does_not_help(world: World) -> None:
    """No day leaves room for a video under a cap that is below the cheapest."""
    assert [advice for _, advice in await wrong(world, WAN_MCP_DAILY_CREDITS="5")] == ["Raise the cap."]


@pytest.mark.anyio
async def test_a_network_file_system_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks do not work well there; it stops nothing."""
    monkeypatch.setattr("wan_mcp.cli.doctor.network_file_system", lambda folder: "nfs4")
    [(text, advice)] = await wrong(world)
    assert "is on a network file system (nfs4)" in text
    assert "WAN_MCP_DATA_DIR" in advice


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("disk / ext4 rw 0 0\n", None),
        ("disk / ext4 rw 0 0\nbox:/a {} nfs4 rw 0 0\n", "nfs4"),
        ("disk / ext4 rw 0 0\nme@box: {} fuse.sshfs rw 0 0\n", "sshfs"),
        ("box:/a / nfs rw 0 0\ndisk {} xfs rw 0 0\n", None),
        ("box:/a {}-other nfs rw 0 0\n", None),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, kind: str | None
) -> None:
    """As Linux lists them, with spaces written as numbers."""
    folder = tmp_path / "a b"
    text = mounts.format(str(folder).replace(" ", "\\040"))
    monkeypatch.setattr(Path, "read_text", lambda *arguments: text)
    assert folders.network_file_system(folder / "data") == kind


def test_a_missing_decoder_is_a_note_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only some pictures and the sandbox need stops no generation."""
    for module in ("av", "pillow_heif"):
        monkeypatch.setitem(sys.modules, module, None)
    output = run().output
    assert "note  Not installed: what is needed for HEIC pictures" in output
    assert "pip install pillow-heif" in output
    assert "pip install av" in output
    assert could_generate([Finding("note", "PyAV"), Finding("WRONG", "folder", needed=False)])


@pytest.mark.parametrize(("key", "shown"), [(MADE, "sk-…cdef"), ("sk-short", "………")])
def test_a_key_is_shown_masked(key: str, shown: str) -> None:
    """Enough to recognise it, too little to use it; of a short one nothing."""
    assert masked(SecretStr(key)) == shown


@pytest.mark.anyio
async def test_a_ledger_in_a_database_is_looked_at_there(world: World, database_url: str) -> None:
    """Whether it can be used, and what was spent; of its address, nothing is shown."""
    findings = await examine(
        Settings.load(world.environ | {"WAN_MCP_DATABASE_URL": database_url}), transport=world.transport
    )
    name = "The ledger in the database of WAN_MCP_DATABASE_URL"
    assert ("ok", f"{name} opens; rows: 0") in [(finding.mark, finding.text) for finding in findings]
    assert not [finding for finding in findings if "ledger.sqlite3" in finding.text]
    [(text, advice)] = await wrong(world, WAN_MCP_DATABASE_URL="postgresql://me:secret@127.0.0.1:1/ledger")
    assert text.startswith("The ledger's database cannot be used: connection failed: ")
    assert "Connection refused" in text
    assert "secret" not in text + advice
