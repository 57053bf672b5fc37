"""`wan-mcp setup` and the key: it is asked for, tested, and kept once."""

import os
import stat
from pathlib import Path

import pytest

from tests.cli.setup.homes import ENTRY, kept, run, servers, snapshot, words, write
from tests.world import KEY
from wan_mcp.settings import Settings


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
