"""README's section for operators: its commands start a server, and its numbers are the code's."""

import re
import shlex
from pathlib import Path

import pytest
from click import IntRange

from tests.packages.facts import ROOT
from wan_mcp.cli import commands
from wan_mcp.server.http import app, gate, keys, limits, serving
from wan_mcp.settings import Settings

README = (ROOT / "README.md").read_text("utf-8")
SECTION = README.partition("\n## Host it for a team\n")[2].partition("\n## ")[0]
PROSE = " ".join(SECTION.split())


def exported(mode: str) -> dict[str, str]:
    """The variables that the commands of a mode set."""
    (block,) = re.findall(rf"<!-- command: hosted {mode} -->\n```sh\n(.*?)```", SECTION, re.S)
    *exports, serve = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert serve == [".venv/bin/wan-mcp", "http"]
    assert {words[0] for words in exports} == {"export"}
    return dict(word.split("=", 1) for words in exports for word in words[1:])


@pytest.mark.parametrize(
    ("mode", "auth"), [("sandbox", "key"), ("key", "key"), ("oauth", "oauth"), ("replicas", "key")]
)
def test_a_server_starts_with_the_settings_of_a_command(mode: str, auth: str, tmp_path: Path) -> None:
    """In an empty environment, as README says; only the placeholder of a key is replaced."""
    environ = exported(mode)
    if auth == "oauth":
        assert environ["EVOLINK_API_KEY"] == "your-key"
        environ["EVOLINK_API_KEY"] = "sk-0123456789abcdef"
    settings = Settings.load(environ | {"WAN_MCP_DATA_DIR": str(tmp_path)})
    assert (settings.problems, settings.auth) == ((), auth)
    app.create_app(settings)


def test_the_addresses_are_the_defaults_of_the_commands() -> None:
    """Of the server, and of the sandbox that it is tried with."""
    port = {
        name: option.default
        for name in ("http", "sandbox")
        for option in commands.commands.commands[name].params
        if isinstance(option.type, IntRange) and option.name == "port"
    }
    assert f"http://127.0.0.1:{port['http']}{app.PATH} " in PROSE
    assert exported("sandbox")["EVOLINK_BASE_URL"] == f"http://127.0.0.1:{port['sandbox']}"
    assert all(f"`{path}`" in SECTION for path in gate.PROBES)


def test_the_limits_are_those_of_the_code() -> None:
    """Requests, sizes, and the seconds in which it stops."""
    assert f"more than {limits.OF_AN_OWNER} requests in a minute with one key" in PROSE
    assert f"more than {limits.OF_AN_ADDRESS} from one address" in PROSE
    megabytes = app.MAX_BODY // 2**20
    assert f"a body of more than {megabytes} MB" in PROSE
    assert "client_max_body_size 20m;" in PROSE
    assert f"or {megabytes} MB to `{app.PATH}` for a picture" in PROSE
    assert (keys.GOOD_FOR, keys.BAD_FOR) == (600, 60)
    assert "it is good for 10 minutes, and a wrong one is refused for a minute" in PROSE
    assert (app.LAST_WORK, app.READY_SECONDS) == (2, 1)
    assert "submissions have two more seconds" in PROSE
    assert "the ledger answers within a second" in PROSE
    assert 2 < serving.END <= 3
    assert "ends within three seconds" in PROSE


def test_the_times_are_those_of_the_settings() -> None:
    """Each default has a row of what is stored, or a sentence."""
    told = {
        "task_days": "`WAN_MCP_TASK_DAYS`, {:g} days after",
        "poster_days": "`WAN_MCP_POSTER_DAYS`, {:g} days, but",
        "result_days": "`WAN_MCP_RESULT_DAYS`, {:g} days, but",
    }
    fields = Settings.model_fields
    for name, words in told.items():
        assert words.format(fields[name].default) in PROSE
    assert (fields["link_hours"].default, fields["upload_hours"].default) == (7 * 24, 1)
    assert "links to them that work for 7 days" in PROSE
    assert "`WAN_MCP_UPLOAD_HOURS`, one hour" in PROSE


def test_the_statuses_are_those_of_the_gate_and_of_the_library() -> None:
    """Each has a row. The library answers with 401 and 413, and 403 where a scope is missing."""
    refusals = re.findall(r"\b_(?:Refusal|later)\(\s*(\d{3})", Path(gate.__file__).read_text("utf-8"))
    assert re.findall(r"^\| (\d{3}) \|", SECTION, re.M) == sorted({*refusals, "401", "413"})
