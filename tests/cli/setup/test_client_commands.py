"""`wan-mcp setup` where a client has a command of its own."""

import json
import os
import select
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.setup.homes import (
    FILES,
    OWN,
    assert_key_is_only_in_its_file,
    backups,
    kept,
    run,
    words,
    write,
)
from tests.world import KEY

IMITATION = """#!{python}
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
with (home / "calls").open("a") as calls:
    print(json.dumps([sys.argv[1:], os.environ.get("EVOLINK_API_KEY")]), file=calls)
{body}
"""


def imitate(tmp_path: Path, name: str, body: str) -> None:
    """A client's command, that notes how it is called."""
    path = tmp_path / "programs" / name
    path.write_text(IMITATION.format(python=sys.executable, body=body))
    path.chmod(0o755)


def calls(home: Path) -> list[Any]:
    return [json.loads(line) for line in (home / "calls").read_text().splitlines()]


ADD_TO_CODEX = """
path = home / ".codex" / "config.toml"
if sys.argv[2] == "add":
    path.write_text(f'[mcp_servers.wan]\\ncommand = "{sys.argv[5]}"\\n')
else:
    path.write_text("")
"""


def test_a_clients_own_command_is_used(home: Path, tmp_path: Path) -> None:
    """Without the key in its arguments or its environment; the file is copied before."""
    imitate(tmp_path, "codex", ADD_TO_CODEX)
    write(home / ".codex/config.toml", '# mine\nmodel = "x"\n')
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 0, result.output
    assert f"By the command: codex mcp add wan -- {OWN}" in words(result)
    assert "Codex may then drop comments of the file." in words(result)
    assert [path.read_text() for path in backups(home)] == ['# mine\nmodel = "x"\n']
    assert run("--yes").output.count("Already set up.") == 1
    assert run("--undo", "--yes").exit_code == 0
    wanted = [["mcp", "add", "wan", "--", OWN], ["mcp", "remove", "wan"]]
    assert calls(home) == [[arguments, None] for arguments in wanted]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('sys.exit("It is \\x1b[31mlocked.")', "its command failed and said: It is [31mlocked."),
        ("sys.exit(3)", "its command failed and said: nothing"),
        ("", "the file is not as it should be after that"),
    ],
)
def test_a_command_that_fails_is_told(home: Path, tmp_path: Path, body: str, why: str) -> None:
    """In its own words, with what to add by hand."""
    imitate(tmp_path, "codex", body)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert f"Left alone: {why}." in words(result)
    added = tomllib.loads(result.output.split("by hand:\n")[1].split("\n\n")[0])
    assert added == {"mcp_servers": {"wan": {"command": OWN}}}


def test_a_command_that_hangs_is_ended(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded time."""
    imitate(tmp_path, "codex", "import time; time.sleep(600)")
    monkeypatch.setattr("wan_mcp.cli.client_commands.COMMAND_SECONDS", 0.5)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert "Left alone: its command did not end within 0.5 seconds." in words(result)


def test_what_a_hanging_command_started_is_ended_too(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients are often scripts, and it is the program behind one that writes the file."""
    os.mkfifo(home / "alive")
    script = tmp_path / "programs" / "codex"
    script.write_text('#!/bin/sh\n/bin/sleep 600 > "$HOME/alive"\n')
    script.chmod(0o755)
    monkeypatch.setattr("wan_mcp.cli.client_commands.COMMAND_SECONDS", 0.5)
    reader = os.open(home / "alive", os.O_RDONLY | os.O_NONBLOCK)
    try:
        run("--yes", EVOLINK_API_KEY=KEY)
        os.set_blocking(reader, True)
        assert select.select([reader], [], [], 10)[0], "it still runs"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_ctrl_c_waits_for_a_clients_command(home: Path, tmp_path: Path) -> None:
    """So that it leaves a whole file; then nothing more is done."""
    slow = "import signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(0.2)"
    imitate(tmp_path, "codex", f"{slow}{ADD_TO_CODEX}")
    (home / ".codex").mkdir()
    write(home / FILES["zed"], {})
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 130
    assert "The command had begun and went on to its end. Stopped." in words(result)
    assert tomllib.loads((home / ".codex/config.toml").read_text())["mcp_servers"]["wan"]["command"] == OWN
    assert (home / FILES["zed"]).read_text() == "{}"


def test_a_key_does_not_get_into_copies_that_a_client_makes(home: Path, tmp_path: Path) -> None:
    """With --undo, a file with a key is edited and not left to the client's command."""
    imitate(tmp_path, "claude", "")
    entry = {"command": OWN, "args": [], "env": {"EVOLINK_API_KEY": KEY}}
    path = write(home / FILES["claude-code"], {"mcpServers": {"wan": entry}})
    assert run("--undo", "--yes").exit_code == 0
    assert json.loads(path.read_text()) == {"mcpServers": {}}
    assert not (home / "calls").exists()


def test_a_command_that_cannot_be_started_is_told(home: Path, tmp_path: Path) -> None:
    """It is there, but what it needs is not."""
    path = tmp_path / "programs" / "codex"
    path.write_text("#!/nowhere/python\n")
    path.chmod(0o755)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert "Left alone: its command could not be started (No such file or directory)." in words(result)


CODEX_WITH_KEY = f'[mcp_servers.wan]\ncommand = "{OWN}"\n[mcp_servers.wan.env]\nEVOLINK_API_KEY = "{KEY}"\n'


def test_a_key_in_the_configuration_of_codex_is_kept_and_removed_there(home: Path, tmp_path: Path) -> None:
    """By its command, which writes the entry anew; the copy has no key."""
    imitate(tmp_path, "codex", ADD_TO_CODEX)
    write(home / ".codex/config.toml", CODEX_WITH_KEY)
    assert run("--yes").exit_code == 0
    assert kept() == KEY
    assert_key_is_only_in_its_file(home)


def test_other_settings_of_codex_are_not_dropped(home: Path, tmp_path: Path) -> None:
    """Its command would, so it is not run."""
    imitate(tmp_path, "codex", ADD_TO_CODEX)
    path = write(home / ".codex/config.toml", CODEX_WITH_KEY + 'WAN_MCP_AUTOSAVE = "0"\n')
    result = run("--yes")
    assert 'Left alone: the command codex would drop the other settings of "wan".' in words(result)
    assert path.read_text() == CODEX_WITH_KEY + 'WAN_MCP_AUTOSAVE = "0"\n'
    assert not (home / "calls").exists()


def test_without_its_command_toml_is_left_alone(home: Path) -> None:
    """What to add or remove by hand is said."""
    write(home / ".codex/config.toml", 'model = "x"\n')
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert "Left alone: setup does not write TOML, and the command codex is not found." in words(result)
    write(home / ".codex/config.toml", f'[mcp_servers.wan]\ncommand = "{OWN}"\n')
    assert "Already set up." in run("--yes").output
    assert "Remove the part [mcp_servers.wan] by hand." in words(run("--undo", "--yes"))
    write(home / ".codex/config.toml", "[mcp")
    assert "Left alone: the file is not TOML (" in words(run("--yes"))


def test_a_read_only_file_is_not_left_to_a_clients_command(home: Path, tmp_path: Path) -> None:
    """It would replace the file."""
    imitate(tmp_path, "codex", ADD_TO_CODEX)
    write(home / ".codex/config.toml", "").chmod(0o444)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert "Left alone: the file is read-only." in words(result)
    assert not (home / "calls").exists()
