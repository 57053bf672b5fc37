"""`wan-mcp setup`: each client's configuration starts this installation, and everything else stays."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.setup.homes import (
    ENTRY,
    FILES,
    OWN,
    SERVERS,
    assert_key_is_only_in_its_file,
    backups,
    kept,
    run,
    servers,
    snapshot,
    words,
    write,
)
from tests.world import KEY
from wan_mcp.cli import setup
from wan_mcp.cli.clients import all_clients
from wan_mcp.cli.screen import Person
from wan_mcp.settings import Settings


def test_every_client_is_set_up_and_everything_else_stays(everything: Path) -> None:
    """By the path of this installation; each file is copied first, and the key is in none of them."""
    before = snapshot(everything)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 0, result.output
    for name, file in FILES.items():
        was = json.loads(before[file])
        was[SERVERS.get(name, "mcpServers")]["wan"] = ENTRY
        assert json.loads((everything / file).read_bytes()) == was
        assert f"{everything / file}" in result.output
    assert [path.read_bytes() for path in backups(everything)] == [
        before[FILES[name]] for name in sorted(FILES)
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in backups(everything)} == {0o600}
    assert "Now restart: Claude Desktop, Claude Code, Cursor, VS Code, Gemini CLI, Windsurf, Zed." in words(
        result
    )
    assert_key_is_only_in_its_file(everything)


def test_the_second_time_changes_nothing(everything: Path) -> None:
    """And makes no further copies."""
    run("--yes", EVOLINK_API_KEY=KEY)
    before = snapshot(everything)
    result = run("--yes")
    assert result.exit_code == 0
    assert result.output.count("Already set up.") == len(FILES)
    assert "restart" not in result.output
    assert snapshot(everything) == before


def test_undo_removes_what_was_written(everything: Path) -> None:
    """Every file is as it was, and the key is gone; once more, there is nothing to do."""
    before = snapshot(everything)
    run("--yes", EVOLINK_API_KEY=KEY)
    result = run("--undo", "--yes")
    assert result.exit_code == 0
    assert {name: text for name, text in snapshot(everything).items() if "wan-mcp" not in name} == before
    assert kept() is None
    again = run("--undo", "--yes")
    assert again.exit_code == 0
    assert "wan-mcp is in the configuration of no client." in again.output


def test_undo_asks_for_each_client_and_for_the_key(everything: Path) -> None:
    """What is not wanted stays: by Enter alone, the key does."""
    run("--yes", EVOLINK_API_KEY=KEY)
    result = run("--undo", typed="y\n" + "n\n" * (len(FILES) - 1) + "\n")
    assert result.exit_code == 0
    left = [name for name in FILES if "wan" in servers(everything, name)]
    assert left == list(FILES)[1:]
    assert kept() == KEY


def test_undo_for_one_client_leaves_the_key(everything: Path) -> None:
    """The others need it."""
    run("--yes", EVOLINK_API_KEY=KEY)
    run("--undo", "--yes", "--client", "zed")
    assert "wan" not in servers(everything, "zed")
    assert "wan" in servers(everything, "cursor")
    assert kept() == KEY


def test_nothing_is_written_without_a_yes(everything: Path) -> None:
    """Everything is shown; without a terminal nobody is asked."""
    before = snapshot(everything)
    for result in (run(), run(typed="\n" + "n\n" * len(FILES))):
        assert f'Adds the server "wan", which starts {OWN}.' in words(result)
        assert snapshot(everything) == before


def test_ctrl_c_leaves_what_was_done_and_nothing_else(everything: Path) -> None:
    """Here the input ends after the second client."""
    before = snapshot(everything)
    result = run(typed=f"{KEY}\ny\ny\n")
    assert result.exit_code == 130
    assert result.output.endswith("Stopped. What is said to be done above is done, and nothing else.\n")
    changed = [name for name, file in FILES.items() if (everything / file).read_bytes() != before[file]]
    assert changed == ["claude-desktop", "claude-code"]


def test_a_client_can_be_named(everything: Path) -> None:
    """Also one that is not found on this machine."""
    (everything / FILES["cursor"]).unlink()
    (everything / FILES["cursor"]).parent.rmdir()
    result = run("--yes", "--client", "cursor", "--client", "zed", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 0
    assert f"{everything / FILES['cursor']} (not there yet)" in result.output
    assert servers(everything, "cursor") == {"wan": ENTRY}
    assert "wan" in servers(everything, "zed")
    assert "wan" not in servers(everything, "windsurf")


def test_an_unknown_client_is_refused_with_the_names_of_all(home: Path) -> None:
    """Before anything is asked."""
    result = run("--client", "emacs")
    assert result.exit_code == 1
    assert words(result) == (
        "Error: There is no client 'emacs'. Choose from claude-desktop, claude-code, cursor, vscode, codex, "
        "gemini, windsurf, zed."
    )


JSONC = (
    '\ufeff// Zed settings\r\n{\r\n\t"theme": "One", // mine\r\n\t"context_servers": {\r\n'
    '\t\t"a": {"command": "x",}, // "wan": {}\r\n\t},\r\n}\r\n'
)


def test_comments_and_line_ends_stay(home: Path) -> None:
    """The bytes are the same but for the new lines; after --undo all of them are."""
    path = home / FILES["zed"]
    path.parent.mkdir(parents=True)
    path.write_bytes(JSONC.encode())
    run("--yes", EVOLINK_API_KEY=KEY)
    lines = path.read_bytes().decode().split("\r\n")
    added = ['\t\t"wan": {', f'\t\t\t"command": "{OWN}",', '\t\t\t"args": []', "\t\t},"]
    assert lines == [*JSONC.split("\r\n")[:5], *added, *JSONC.split("\r\n")[5:]]
    run("--undo", "--yes")
    assert path.read_bytes() == JSONC.encode()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"mcpServers": {', "the file is not JSON (Expecting"),
        ('{"a": 1, "a": 2}', "the file is not JSON (a name is there twice in one object)"),
        ("[]", 'the file has something else where "mcpServers" should be'),
        ('{"mcpServers": []}', 'the file has something else where "mcpServers" should be'),
        (
            '{"mcpServers": {"wan": {"command": "npx", "args": ["wan"]}}}',
            'it has another server "wan", which is not wan-mcp. Rename that, or add wan-mcp under another',
        ),
        ('{"mcpServers": {"wan": {"url": "https://example.com"}}}', 'it has another server "wan"'),
        ('{"mcpServers": {"wan": 7}}', 'it has another server "wan"'),
    ],
)
def test_what_is_not_understood_is_left_alone(home: Path, content: str, why: str) -> None:
    """Why, and what to add by hand; --undo leaves it as well."""
    path = write(home / FILES["cursor"], content)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert f"Left alone: {why}" in words(result)
    assert json.loads("{" + result.output.split("by hand:\n")[1].split("\n\n")[0] + "}") == {
        "mcpServers": {"wan": ENTRY}
    }
    run("--undo", "--yes")
    assert path.read_text() == content
    assert backups(home) == []


def test_a_link_and_a_read_only_file_are_left_alone(everything: Path) -> None:
    """The clients after them are set up."""
    file = everything / FILES["cursor"]
    file.symlink_to(file.rename(everything / "dotfile"))
    (everything / FILES["zed"]).chmod(0o444)
    before = snapshot(everything)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert f"Left alone: {file} is a symbolic link, which is not followed." in words(result)
    assert "Left alone: the file is read-only." in words(result)
    after = snapshot(everything)
    assert [after[name] == before[name] for name in ("dotfile", FILES["zed"])] == [True, True]
    assert "wan" in servers(everything, "windsurf")


def test_a_file_that_is_changed_during_the_question_is_left_alone(everything: Path) -> None:
    """The other program's change stays."""
    path = everything / FILES["zed"]

    class Slow(Person):
        def agrees(self, question: str, *, usually: bool = True) -> bool:
            path.write_text("{}")
            return True

    done = setup.run(Settings.load(), Slow(is_there=False), ["zed"], undo=False)
    assert not done
    assert path.read_text() == "{}"


@pytest.mark.parametrize(
    "old",
    [
        {"command": "/old/bin/wan-mcp", "args": []},
        {"command": "C:\\old\\wan-mcp.exe", "args": ["serve"]},
        {"command": "uvx", "args": ["--from", "/clone", "wan-mcp"]},
        {"command": "/old/python3", "args": ["-m", "wan_mcp"]},
        {"command": "python3", "args": ["-I", "-m", "wan_mcp"]},
        {"command": "py", "args": ["-3.12", "-m", "wan_mcp", "serve"]},
        {"command": "uv", "args": ["run", "python", "-m", "wan_mcp"]},
    ],
)
def test_an_entry_of_another_installation_is_brought_up_to_date(home: Path, old: dict[str, Any]) -> None:
    """From what to what is said; other settings in it stay."""
    more = {"env": {"WAN_MCP_AUTOSAVE": "0"}, "disabled": False}
    write(home / FILES["cursor"], {"mcpServers": {"wan": old | more}})
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert servers(home, "cursor")["wan"] == ENTRY | more
    assert f'Changes what the server "wan" starts from {old["command"][:3]}'.replace("C:\\", "'C:") in words(
        result
    )


@pytest.mark.parametrize(
    "entry",
    [
        {"command": OWN, "args": [1, None], "env": []},
        {"command": OWN, "args": "serve", "env": "X=1"},
        {"command": OWN, "args": None, "env": {"EVOLINK_API_KEY": 7}},
        {"command": OWN, "args": {}, "env": None},
    ],
)
def test_odd_values_in_an_entry_of_ours_are_no_reason_to_fail(home: Path, entry: dict[str, Any]) -> None:
    """What it starts is set right where it has to be, and what is not understood stays."""
    write(home / FILES["cursor"], {"mcpServers": {"wan": entry}})
    assert run("--yes", EVOLINK_API_KEY=KEY).exit_code == 0
    args = [] if isinstance(entry["args"], list) else entry["args"]
    assert servers(home, "cursor")["wan"] == entry | {"args": args}


def test_places_that_clients_are_told_by_the_environment_are_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the clients themselves do."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    paths = {client.name: client.path for client in all_clients()}
    assert paths["claude-code"] == tmp_path / "claude" / ".claude.json"
    assert paths["codex"] == tmp_path / "codex" / "config.toml"


@pytest.mark.parametrize(("system", "folder"), [("darwin", ".config/zed"), ("linux", "other/zed")])
def test_zed_goes_its_own_way_on_macos(
    home: Path, monkeypatch: pytest.MonkeyPatch, system: str, folder: str
) -> None:
    """There its settings are in the same folder as on Linux, whatever else names another one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "other"))
    monkeypatch.setattr(sys, "platform", system)
    [path] = [client.path for client in all_clients() if client.name == "zed"]
    assert path == home / folder / "settings.json"
