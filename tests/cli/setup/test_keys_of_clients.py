"""`wan-mcp setup` and the keys in the clients' configurations."""

import json
from pathlib import Path

import pytest

from tests.cli.setup.homes import ENTRY, FILES, OWN, backups, kept, run, servers, words, write
from tests.world import KEY


def with_key(home: Path, key: str, **more: str) -> Path:
    env = {"EVOLINK_API_KEY": key, **more}
    entry = {"command": OWN, "args": [], "env": env}
    return write(home / FILES["cursor"], {"mcpServers": {"wan": entry, "b": {"env": {"K": key}}}})


def test_a_key_in_a_configuration_is_kept_and_removed_there(home: Path) -> None:
    """After a test. Other settings stay, and the copy has no key."""
    with_key(home, KEY, WAN_MCP_AUTOSAVE="0")
    result = run(typed="y\ny\n")
    assert result.exit_code == 0
    assert "Cursor has a key in its configuration: sk-…cdef." in words(result)
    assert servers(home, "cursor")["wan"] == ENTRY | {"env": {"WAN_MCP_AUTOSAVE": "0"}}
    assert kept() == KEY
    [copy] = backups(home)
    env = json.loads(copy.read_text())["mcpServers"]["wan"]["env"]
    assert env == {"EVOLINK_API_KEY": "removed-by-wan-mcp-setup", "WAN_MCP_AUTOSAVE": "0"}
    assert KEY not in copy.read_text()


def test_the_kept_key_is_not_copied_from_other_parts_of_a_file(home: Path) -> None:
    """It can be in a server of another name, in one for a single project, and in what a server starts."""
    ours = {"command": "uv", "args": ["run", "--env", f"EVOLINK_API_KEY={KEY}", "wan-mcp"]}
    other = {"command": OWN, "env": {"EVOLINK_API_KEY": KEY}}
    projects = {"/p": {"mcpServers": {"wan": other}}}
    write(home / FILES["claude-code"], {"projects": projects, "mcpServers": {"wan": ours, "video": other}})
    assert run("--yes", EVOLINK_API_KEY=KEY).exit_code == 0
    assert run("--undo", "--yes").exit_code == 0
    assert [KEY in copy.read_text() for copy in backups(home)] == [False, False]


def test_what_a_file_says_cannot_steer_the_terminal(home: Path) -> None:
    """Control characters of an entry are not printed."""
    write(home / FILES["cursor"], {"mcpServers": {"wan": {"command": "wan-mcp", "args": ["\x1b[2J"]}}})
    assert "\x1b[2J" not in run("--yes", EVOLINK_API_KEY=KEY).output


def test_a_key_that_is_not_kept_stays_where_it_is(home: Path) -> None:
    """It is the only one; it is offered once, in however many clients it is."""
    path = with_key(home, KEY)
    before = path.read_bytes()
    write(home / FILES["windsurf"], before.decode())
    result = run(typed="n\n\n")
    assert result.output.count("has a key in its configuration") == 1
    assert "Its own key sk-…cdef stays there, and is used by this client." in words(result)
    assert path.read_bytes() == before


def test_a_different_key_stays_where_it_is(home: Path) -> None:
    """It may be that of another account."""
    path = with_key(home, "sk-another-0123456789")
    before = path.read_bytes()
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert "Its own key sk-…6789 stays there, and is used by this client. Already set up." in words(result)
    assert path.read_bytes() == before


@pytest.mark.parametrize("key", ["your-key", "sk a", "sk-wrong-0123456789"])
def test_a_key_that_does_not_work_is_removed(home: Path, key: str) -> None:
    """The kept one would not be used beside it."""
    with_key(home, key)
    assert run(typed=f"y\n{KEY}\ny\n" if "wrong" in key else f"{KEY}\ny\n").exit_code == 0
    assert servers(home, "cursor")["wan"] == ENTRY | {"env": {}}


@pytest.mark.parametrize(
    "env", [{"EVOLINK_BASE_URL": "http://127.0.0.1:9"}, {"WAN_MCP_DATA_DIR": "/nowhere/of/its/own"}]
)
@pytest.mark.parametrize("kept", ["", KEY])
def test_a_key_for_other_addresses_stays_there(home: Path, env: dict[str, str], kept: str) -> None:
    """It is sent to no others, and the kept key would not be used in its place."""
    path = with_key(home, KEY, **env)
    result = run("--yes", EVOLINK_API_KEY=kept)
    assert "has a key in its configuration" not in words(result)
    assert "the kept key is not used" in words(result)
    assert json.loads(path.read_text())["mcpServers"]["wan"]["env"] == {"EVOLINK_API_KEY": KEY, **env}


def test_a_placeholder_that_the_client_fills_in_stays(home: Path) -> None:
    """It is no key."""
    path = with_key(home, "${EVOLINK_API_KEY}")
    before = path.read_bytes()
    assert run("--yes", EVOLINK_API_KEY=KEY).exit_code == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("undo", [False, True])
def test_a_key_in_an_unusual_spelling_is_not_copied(home: Path, undo: bool) -> None:
    """Neither while it is taken out nor with --undo."""
    path = with_key(home, KEY)
    escaped = KEY.replace("c", "\\u0063")
    path.write_text(path.read_text().replace(f'API_KEY": "{KEY}"', f'API_KEY": "{escaped}"'))
    run(*(["--undo"] if undo else []), "--yes")
    [copy] = backups(home)
    assert escaped not in copy.read_text()
    assert KEY not in copy.read_text()
