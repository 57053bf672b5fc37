"""`wan-mcp setup`: the key is kept once, and the clients' configurations start this installation."""

import json
import os
import select
import stat
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from click.testing import CliRunner, Result

from tests.world import KEY
from wan_mcp.cli import commands, installation, setup
from wan_mcp.cli.clients import all_clients
from wan_mcp.cli.installation import is_own, own_command
from wan_mcp.cli.screen import Person
from wan_mcp.sandbox import Sandbox, running
from wan_mcp.settings import Settings

OWN = own_command()[0]
ENTRY = {"command": OWN, "args": []}
FILES = {
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "claude-code": ".claude.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "gemini": ".gemini/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "zed": ".config/zed/settings.json",
}
"""Of the clients whose configuration is JSON, below the home."""
SERVERS = {"vscode": "servers", "zed": "context_servers"}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """A sandbox that knows the key, at an address of its own."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running(Sandbox(key=KEY))) as url,
    ):
        yield url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str) -> Path:
    """An empty home, in which no program of a client is found."""
    folder = tmp_path / "home"
    programs = tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "WAN_MCP_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("EVOLINK_BASE_URL", api)
    monkeypatch.setenv("EVOLINK_FILES_URL", api)
    monkeypatch.setenv("EVOLINK_API_KEY", "")
    return folder


@pytest.fixture
def everything(home: Path) -> Path:
    """A home with the configurations of all clients but Codex, each with a server that is not ours."""
    for name, file in FILES.items():
        write(home / file, {SERVERS.get(name, "mcpServers"): {"other": {"command": "x"}}, "theme": "dark"})
    return home


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), "utf-8")
    return path


def run(*arguments: str, typed: str | None = None, **environ: str) -> Result:
    """The command; with something typed, in a terminal. The canary is nowhere in what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "_is_terminal", lambda: typed is not None)
        result = CliRunner(env=environ).invoke(commands.commands, ["setup", *arguments], input=typed)
    assert KEY not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def words(result: Result) -> str:
    return " ".join(result.output.split())


def kept() -> str | None:
    key = Settings.load().api_key
    return key.get_secret_value() if key else None


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file below the home."""
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def assert_key_is_only_in_its_file(home: Path) -> None:
    holding = [name for name, content in snapshot(home).items() if KEY.encode() in content]
    assert holding == [".local/share/wan-mcp/key.json"]


def backups(home: Path) -> list[Path]:
    folder = home / ".local/share/wan-mcp/backups"
    return sorted(folder.iterdir()) if folder.exists() else []


def servers(home: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / FILES[name]).read_text("utf-8"))[
        SERVERS.get(name, "mcpServers")
    ]
    return found


# The key


def test_a_typed_key_is_tested_and_kept(home: Path) -> None:
    """It is not shown, and is in one file that only its owner can read."""
    result = run(typed=f"{KEY}\n")
    assert result.exit_code == 0
    assert "answers and knows the key; 1000 credits ($14.71) are left." in words(result)
    path = home / ".local/share/wan-mcp/key.json"
    assert f"The key sk-…cdef is now kept in {path}, which only you can read." in words(result)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept() == KEY
    assert "No MCP client was found on this machine" in result.output


def test_a_wrong_key_is_asked_for_three_times_and_never_kept(home: Path) -> None:
    """Neither one that the API does not accept nor one that cannot be one."""
    result = run(typed="sk-wrong-0123456789\nyour-key\nsk a b\nsk-never-read\n")
    assert result.exit_code == 1
    assert result.output.count("does not accept it") == 1
    assert "What was typed holds a placeholder, not a key" in words(result)
    assert "What was typed has white space or a line break inside" in words(result)
    assert result.output.count("Evolink API key:") == 3
    assert snapshot(home) == {}


def test_what_is_no_text_is_no_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a terminal of another encoding sends it; the question is asked again."""

    def prompt(*arguments: object, **options: object) -> str:
        return b"\xff".decode()

    monkeypatch.setattr("click.prompt", prompt)
    result = run(typed="")
    assert result.exit_code == 1
    assert result.output.count("What was typed has characters that no key has.") == 3


def test_enter_alone_goes_on_without_a_key(everything: Path) -> None:
    """The clients are set up all the same, and what is missing is said."""
    result = run("--client", "zed", typed="\ny\n")
    assert result.exit_code == 1
    assert servers(everything, "zed")["wan"] == ENTRY
    assert "No key is kept: until" in result.output
    assert kept() is None


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "wanted"), [("y", KEY), ("\n", KEY), ("n", None)])
def test_a_key_that_cannot_be_tested_is_kept_if_the_person_wants_it(
    home: Path, answer: str, wanted: str | None
) -> None:
    """An API that is down is not the key's fault."""
    urls = {"EVOLINK_BASE_URL": "http://127.0.0.1:9", "EVOLINK_FILES_URL": "http://127.0.0.1:9"}
    result = run(typed=f"{KEY}\n{answer}\n\n\n", **urls)
    assert "It could not be tested: " in result.output
    assert ("It is not kept." in result.output) is (wanted is None)
    settings = Settings.load({**os.environ, **urls})
    assert (settings.api_key.get_secret_value() if settings.api_key else None) == wanted


def test_a_key_of_the_environment_is_offered(home: Path) -> None:
    """A no keeps nothing."""
    assert "EVOLINK_API_KEY is set in this terminal: sk-…cdef." in words(
        run(typed="n\n\n", EVOLINK_API_KEY=KEY)
    )
    assert kept() is None
    assert run(typed="y\n", EVOLINK_API_KEY=KEY).exit_code == 0
    assert kept() == KEY


def test_without_a_terminal_a_key_of_the_environment_needs_a_yes(home: Path) -> None:
    """Nothing is written behind anybody's back."""
    result = run(EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert snapshot(home) == {}
    assert run("--yes", EVOLINK_API_KEY=KEY).exit_code == 0
    assert kept() == KEY


def test_without_a_terminal_and_a_key_it_says_what_to_do(home: Path) -> None:
    """Even --yes cannot invent one."""
    result = run("--yes")
    assert result.exit_code == 1
    assert (
        "Then run wan-mcp setup in a terminal, which asks for it, or set EVOLINK_API_KEY and add --yes"
        in (words(result))
    )


def test_a_kept_key_is_not_asked_for_again(home: Path) -> None:
    """It is only tested."""
    run("--yes", EVOLINK_API_KEY=KEY)
    before = snapshot(home)
    result = run(typed="")
    assert result.exit_code == 0
    assert f"The key sk-…cdef is kept in {home}/.local/share/wan-mcp/key.json." in words(result)
    assert snapshot(home) == before


def test_a_kept_key_that_is_no_longer_accepted_is_replaced(home: Path, api: str) -> None:
    """By one that is typed now."""
    write_key(home, "sk-old-0123456789abc", api)
    result = run(typed=f"{KEY}\n")
    assert "does not accept it" in result.output
    assert kept() == KEY


def test_another_key_of_the_environment_replaces_the_kept_one_after_a_yes(home: Path, api: str) -> None:
    """Both are shown, masked."""
    write_key(home, KEY, api)
    result = run(typed="n\n", EVOLINK_API_KEY="sk-another-012345")
    assert "sk-…2345. Another one is kept: sk-…cdef." in words(result)
    assert "The key sk-…cdef is kept in" in words(result)
    assert result.exit_code == 0
    assert kept() == KEY
    write_key(home, "sk-another-012345", api)
    assert run(typed="y\n", EVOLINK_API_KEY=KEY).exit_code == 0
    assert kept() == KEY


def test_a_key_file_that_others_can_read_is_said_and_replaced(home: Path, api: str) -> None:
    """What was wrong, before the question."""
    write_key(home, KEY, api).chmod(0o644)
    result = run(typed=f"{KEY}\n")
    assert "others may use the file" in words(result) or "its group may use the file" in words(result)
    assert kept() == KEY


def test_settings_that_clients_need_too_are_named(home: Path, tmp_path: Path) -> None:
    """The key is found only with them."""
    result = run("--yes", EVOLINK_API_KEY=KEY, WAN_MCP_DATA_DIR=str(tmp_path / "data"))
    assert "Set in this terminal: EVOLINK_BASE_URL, EVOLINK_FILES_URL, WAN_MCP_DATA_DIR." in words(result)
    assert (tmp_path / "data" / "key.json").exists()


def test_with_unusable_settings_nothing_is_done(everything: Path) -> None:
    """They decide where the key is kept, and to whom it is sent."""
    before = snapshot(everything)
    result = run("--yes", EVOLINK_API_KEY=KEY, EVOLINK_BASE_URL="http://example.com")
    assert result.exit_code == 1
    assert "EVOLINK_BASE_URL must begin with https://" in words(result)
    assert snapshot(everything) == before


def test_undo_with_an_unusable_data_folder_removes_no_key(home: Path, api: str) -> None:
    """That of the usual folder is not the one that was meant."""
    path = write_key(home, KEY, api)
    result = run("--undo", "--yes", WAN_MCP_DATA_DIR="nonsense")
    assert result.exit_code == 1
    assert "WAN_MCP_DATA_DIR must be an absolute path" in words(result)
    assert path.exists()


def write_key(home: Path, key: str, api: str) -> Path:
    content = {"EVOLINK_API_KEY": key, "EVOLINK_BASE_URL": api, "EVOLINK_FILES_URL": api}
    path = write(home / ".local/share/wan-mcp/key.json", content)
    path.chmod(0o600)
    return path


# The clients


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


def test_a_read_only_file_is_not_left_to_a_clients_command(home: Path, tmp_path: Path) -> None:
    """It would replace the file."""
    imitate(tmp_path, "codex", ADD_TO_CODEX)
    write(home / ".codex/config.toml", "").chmod(0o444)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert "Left alone: the file is read-only." in words(result)
    assert not (home / "calls").exists()


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


# Keys in the clients' configurations


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


# Clients with commands of their own

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


# The installation


def test_a_temporary_installation_is_not_written_anywhere(
    everything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to do instead is said, with the folder and not with a bare name."""
    (tmp_path / "cache" / "archive" / "x").mkdir(parents=True)
    (tmp_path / "cache" / "CACHEDIR.TAG").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "cache" / "archive" / "x"))
    before = snapshot(everything)
    result = run("--yes", EVOLINK_API_KEY=KEY)
    assert result.exit_code == 1
    assert "uv tool install FOLDER or pipx install FOLDER" in words(result)
    assert snapshot(everything) == before


def test_the_folder_of_a_lasting_installation_may_be_marked_as_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uv does with the environments of its tools."""
    (tmp_path / "CACHEDIR.TAG").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert not installation.is_temporary()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipx" / ".cache" / "a"))
    assert installation.is_temporary()


def test_without_a_script_the_module_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By this Python."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert own_command() == [sys.executable, "-m", "wan_mcp"]
    assert is_own(sys.executable, ["-m", "wan_mcp"])


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("npx", ["wan-mcp"]),
        ("wan-mcp-other", []),
        ("uvx", ["wan-mcp-other"]),
        ("python", ["wan_mcp"]),
        ("python", ["other.py", "-m", "wan_mcp"]),
        ("node", ["-m", "wan_mcp"]),
        (7, []),
        (None, None),
    ],
)
def test_other_programs_are_not_ours(command: object, args: object) -> None:
    """However alike they look."""
    assert not is_own(command, args)
