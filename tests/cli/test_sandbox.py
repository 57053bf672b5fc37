"""`wan-mcp sandbox`: what it prints, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from click.testing import CliRunner, Result

from wan_mcp.cli.commands import commands
from wan_mcp.cli.sandbox import KEY
from wan_mcp.sandbox import faults

COMMANDS = (["demo"], ["generate", "cat.png", "The cat yawns.", "--sandbox"], ["sandbox", "--port", "0"])


def run(*arguments: str) -> Result:
    return CliRunner(env={"EVOLINK_API_KEY": ""}).invoke(commands, list(arguments))


def test_an_unknown_fault_is_refused() -> None:
    """It says which places and kinds there are."""
    result = run("sandbox", "--fault", "submit:earthquake")
    assert result.exit_code == 2
    assert result.output.startswith("Error: --fault: There is no kind 'earthquake': choose from status, ")


def test_the_help_lists_every_place_kind_and_detail() -> None:
    """Each with an example, which can be copied."""
    text = run("sandbox", "--help").output
    for name in (*faults.PLACES, *faults.KINDS, *faults.DETAILS):
        assert re.search(rf"^  {name}\b", text, re.M), name
    for _, example in (*faults.KINDS.values(), *faults.DETAIL_EXAMPLES.values()):
        assert f"as in {example}\n" in text


def test_a_port_that_is_taken_is_an_error_in_words() -> None:
    """Nothing is printed before, no traceback, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("sandbox", "--port", str(port))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: Port {port} cannot be used (Address already in use); try another.\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("prefix", "install"),
    [
        ("/home/me/.local/pipx/venvs/wan-mcp", "pipx inject wan-mcp av"),
        ("/home/me/.local/share/uv/tools/wan-mcp", 'uv pip install --python "/a b/python" av'),
        ("/home/me/venv", '"/a b/python" -m pip install av'),
    ],
)
def test_without_its_library_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, prefix: str, install: str, command: list[str]
) -> None:
    """The exact command that installs it is said at once, however wan-mcp was installed."""
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(sys, "executable", "/a b/python")
    result = run(*command)
    assert result.exit_code == 1
    assert result.output == (
        "Error: Making the sandbox's videos needs PyAV, which is not installed. "
        f"Run {install} and try again.\n"
    )


@contextmanager
def serving(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A sandbox on a free port, and the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wan_mcp", "sandbox", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [False, True])
def test_it_prints_its_address_and_a_line_for_each_request(quiet: bool) -> None:
    """The real port; method, path, status and time, never the key or the query; and it ends quietly."""
    with serving("--fault", "credits:lost", *(["--quiet"] if quiet else [])) as (process, first):
        url = first.split()[-1]
        headers = {"Authorization": f"Bearer {KEY}"}
        with pytest.raises(httpx2.ReadError):
            httpx2.get(f"{url}/v1/credits?secret=1", headers=headers, trust_env=False)
        assert httpx2.get(f"{url}/v1/credits?secret=1", headers=headers, trust_env=False).status_code == 200
        assert httpx2.get(f"{url}/no%0Awhere", trust_env=False).status_code == 404
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert not url.endswith(":0")
    assert out.splitlines() == [
        "To use it, set for the server:",
        f"  EVOLINK_API_KEY={KEY}",
        f"  EVOLINK_BASE_URL={url}",
        f"  EVOLINK_FILES_URL={url}",
        "  WAN_MCP_ALLOW_PRIVATE_NETWORK=1",
        "Ctrl-C ends it.",
    ]
    lines = (
        []
        if quiet
        else [
            "GET /v1/credits  no answer  N ms  (fault lost)",
            "GET /v1/credits  200  N ms",
            "GET /no%0Awhere  404  N ms",
        ]
    )
    assert re.sub(r"\d+ ms", "N ms", err).split("\n") == [*lines, "", "Stopped.", ""]


@pytest.mark.slow
def test_each_of_its_accounts_has_a_key_that_it_prints() -> None:
    """They are all accepted, and a task of one is unknown to the others."""
    with serving("--accounts", "3", "--quiet") as (process, first):
        url = first.split()[-1]
        assert process.stdout is not None
        printed = [process.stdout.readline().rstrip("\n") for _ in range(10)]
        keys = [line.strip() for line in printed[-4:-1]]
        order = {"model": "wan2.5-text-to-video", "prompt": "A cat yawns"}
        with httpx2.Client(base_url=url, trust_env=False) as client:
            headers = [{"Authorization": f"Bearer {key}"} for key in keys]
            made = client.post("/v1/videos/generations", json=order, headers=headers[1]).json()["id"]
            found = [client.get(f"/v1/tasks/{made}", headers=sent).status_code for sent in headers]
    assert printed[5:] == [
        "The keys of its 3 accounts:",
        f"  {KEY}",
        f"  {KEY}-2",
        f"  {KEY}-3",
        "Ctrl-C ends it.",
    ]
    assert found == [404, 200, 404]
