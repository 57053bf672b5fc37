"""The kept key: who may read it, for which addresses it is used, and that its file is always whole."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.world import KEY
from wan_mcp.cli import sandbox
from wan_mcp.errors import SettingsError
from wan_mcp.settings import Settings, key_file
from wan_mcp.settings.key_file import KeptKey

URLS = ("https://api.evolink.ai", "https://files-api.evolink.ai")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file, with a key in it."""
    file = tmp_path / "data" / "key.json"
    key_file.keep(file, KeptKey(SecretStr(KEY), *URLS))
    return file


def load(path: Path, **environ: str) -> Settings:
    return Settings.load({"WAN_MCP_DATA_DIR": str(path.parent), **environ})


def why_unused(path: Path, **environ: str) -> str:
    """What is wrong with the kept key; the key itself is not in it, and is not used."""
    settings = load(path, **environ)
    assert settings.api_key is None
    with pytest.raises(SettingsError) as caught:
        settings.require_key()
    assert KEY not in caught.value.message
    assert caught.value.next_step == "Then restart the server."
    [problem] = settings.problems
    start = f"EVOLINK_API_KEY is not set, and the key in {path} is not used: "
    assert problem.startswith(start)
    return problem.removeprefix(start)


def test_the_key_is_kept_for_its_owner_alone(path: Path) -> None:
    """The folder as well, where it had to be made; nothing else is left there."""
    assert os.listdir(path.parent) == ["key.json"]  # noqa: PTH208
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads(path.read_text()) == {
        "EVOLINK_API_KEY": KEY,
        "EVOLINK_BASE_URL": URLS[0],
        "EVOLINK_FILES_URL": URLS[1],
    }


@pytest.mark.parametrize("given", ["", "${EVOLINK_API_KEY}"])
def test_it_is_used_where_the_environment_has_no_key(path: Path, given: str) -> None:
    """A placeholder that a client did not replace is no key."""
    settings = load(path, EVOLINK_API_KEY=given)
    assert settings.require_key().get_secret_value() == KEY
    assert settings.key_is_kept
    assert settings.problems == ()
    assert KEY not in repr(settings)


def test_a_key_of_the_environment_goes_first(path: Path) -> None:
    """A client can have a key of its own."""
    settings = load(path, EVOLINK_API_KEY="sk-other")
    assert settings.require_key().get_secret_value() == "sk-other"
    assert not settings.key_is_kept


def test_an_unusable_key_of_the_environment_is_not_replaced_by_it(path: Path) -> None:
    """Whoever set one meant it."""
    settings = load(path, EVOLINK_API_KEY="sk a")
    assert settings.api_key is None
    assert settings.problems == (
        "EVOLINK_API_KEY has white space or a line break inside; copy the key again, as one word.",
    )


def test_without_a_file_no_key_is_set(tmp_path: Path) -> None:
    """That is no problem of the settings, and what to do is said."""
    settings = load(tmp_path / "data" / "key.json")
    assert settings.problems == ()
    with pytest.raises(SettingsError, match="No Evolink API key is set") as caught:
        settings.require_key()
    assert "wan-mcp setup" in caught.value.next_step
    assert "must not be pasted into the chat" in caught.value.next_step


@pytest.mark.parametrize("name", ["EVOLINK_BASE_URL", "EVOLINK_FILES_URL"])
def test_it_is_not_sent_to_an_address_it_was_not_given_for(path: Path, name: str) -> None:
    """A configuration that names another host does not get the key."""
    assert why_unused(path, **{name: "https://api.evolink.ai.example"}) == (
        "it is for https://api.evolink.ai and https://files-api.evolink.ai, not for the addresses set here. "
        "Correct EVOLINK_BASE_URL and EVOLINK_FILES_URL, or set EVOLINK_API_KEY with them."
    )


def test_the_same_address_in_another_spelling_is_the_same(path: Path) -> None:
    """Case, the usual port and a slash at the end make no difference."""
    assert load(path, EVOLINK_BASE_URL="https://API.evolink.ai:443/").key_is_kept


@pytest.mark.parametrize("name", ["EVOLINK_BASE_URL", "EVOLINK_FILES_URL", "WAN_MCP_DATA_DIR"])
def test_no_default_stands_in_for_a_setting_that_decides_where_it_goes(path: Path, name: str) -> None:
    """A setting that cannot be used is said, and the key is neither looked for nor used."""
    settings = load(path, **{name: "nonsense"})
    assert settings.api_key is None
    assert [problem.split()[0] for problem in settings.problems] == [name]


def test_another_problem_does_not_hide_the_key(path: Path) -> None:
    """The doctor can test the key all the same."""
    settings = load(path, WAN_MCP_LOG_LEVEL="LOUD")
    assert settings.key_is_kept
    assert len(settings.problems) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such modes")
@pytest.mark.parametrize(("mode", "who"), [(0o640, "its group"), (0o604, "others"), (0o666, "others")])
def test_a_file_that_others_can_read_is_not_used(path: Path, mode: int, who: str) -> None:
    """The command that mends it is said."""
    path.chmod(mode)
    assert why_unused(path) == f'{who} may use the file. Run chmod 600 "{path}".'
    path.chmod(0o600)
    assert load(path).key_is_kept


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such owners")
def test_a_file_of_another_user_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's key would be somebody else's account."""
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert why_unused(path) == "it belongs to another user. Run wan-mcp setup to replace it."


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    """Neither for reading nor for writing: the file behind it stays as it is."""
    behind = path.rename(path.with_name("behind"))
    path.symlink_to(behind)
    assert why_unused(path) == "it is a symbolic link. Run wan-mcp setup to replace it."
    key_file.keep(path, KeptKey(SecretStr("sk-new"), *URLS))
    assert not path.is_symlink()
    assert KEY in behind.read_text()
    assert load(path).require_key().get_secret_value() == "sk-new"


def test_a_folder_or_a_pipe_in_its_place_is_said(path: Path) -> None:
    """A pipe makes nobody wait."""
    path.unlink()
    os.mkfifo(path, 0o600)
    assert why_unused(path) == "it is not a regular file. Run wan-mcp setup to replace it."
    path.unlink()
    path.mkdir()
    assert "Run wan-mcp setup to replace it." in why_unused(path)


KEPT = {"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": URLS[0], "EVOLINK_FILES_URL": URLS[1]}


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "7", '"text"', "{}", "\xff", json.dumps(KEPT)[:40], "[" * 100_000),
        json.dumps({"EVOLINK_API_KEY": KEY}),
        json.dumps(KEPT | {"EVOLINK_API_KEY": f"{KEY} {KEY}"}),
        json.dumps(KEPT | {"EVOLINK_API_KEY": "your-key"}),
        json.dumps(KEPT | {"EVOLINK_API_KEY": ""}),
        json.dumps(KEPT | {"EVOLINK_API_KEY": None}),
        json.dumps(KEPT | {"EVOLINK_BASE_URL": "https://[", "EVOLINK_FILES_URL": 7}),
        json.dumps({"padding": "x" * 20_000} | KEPT),
    ],
    ids=lambda content: ascii(content[:40]),
)
def test_a_damaged_file_is_said(path: Path, content: str) -> None:
    """Whatever is in it, the settings load, and setup replaces it."""
    path.write_text(content, "latin-1")
    assert why_unused(path).endswith("Run wan-mcp setup to replace it.")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_the_old_key_stays_where_a_new_one_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """On a full disk, and whatever else fails: said in words, and no part of a file is left behind."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    where: Any = os if failing == "fsync" else Path
    monkeypatch.setattr(where, failing, fail)
    with pytest.raises(SettingsError) as caught:
        key_file.keep(path, KeptKey(SecretStr("sk-new"), *URLS))
    assert caught.value.message == f"The key could not be kept in {path} (No space left on device)."
    assert os.listdir(path.parent) == ["key.json"]  # noqa: PTH208
    assert load(path).require_key().get_secret_value() == KEY


def test_the_sandbox_has_a_key_of_its_own(path: Path) -> None:
    """With the settings for it, the kept key is not used, wherever it is."""
    settings = load(path, **sandbox.environment("http://127.0.0.1:1"))
    assert settings.require_key().get_secret_value() == sandbox.KEY
    assert settings.problems == ()


def test_the_tests_do_not_see_the_users_own_key() -> None:
    """The default data folder is one of the tests, for each of them and for what they start."""
    assert not Settings.load({}).key_path.is_relative_to(Path.home())
