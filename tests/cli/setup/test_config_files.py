"""Configuration files of other programs: what is refused, and that they are whole at every moment."""

import os
import resource
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from wan_mcp.cli import config_files
from wan_mcp.errors import ConfigurationError

OLD = '{\n  "a": "ü" // mine\r\n}'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the tests' own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def path(home: Path) -> Path:
    file = home / "program" / "settings.json"
    file.parent.mkdir()
    file.write_bytes(OLD.encode())
    return file


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        config_files.read(path)
    return caught.value.message


def refusal_to_write(path: Path, old: str | None = OLD) -> str:
    """Why a file is not written; nothing is left beside it."""
    with pytest.raises(ConfigurationError) as caught:
        config_files.write(path, old, "new")
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return caught.value.message


def test_a_text_is_read_byte_by_byte(path: Path) -> None:
    """No end of a line is translated."""
    assert config_files.read(path) == OLD
    assert config_files.read(path.with_name("none")) is None


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_a_file_is_replaced_with_its_mode(path: Path, mode: int) -> None:
    """Who could read it before can read it now, and nobody else."""
    path.chmod(mode)
    config_files.write(path, OLD, "näu\r\n")
    assert path.read_bytes() == "näu\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_new_file_is_for_its_owner_alone(home: Path) -> None:
    """Its folder is made where there is none."""
    path = home / "other" / "deep" / "settings.json"
    config_files.write(path, None, "{}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "{}"


def test_a_linked_file_is_refused(path: Path) -> None:
    """What is behind it may be shared or published."""
    link = path.with_name("link.json")
    link.symlink_to(path)
    assert refusal(link) == f"{link} is a symbolic link, which is not followed"
    dangling = path.with_name("dangling.json")
    dangling.symlink_to("none")
    assert "symbolic link" in refusal(dangling)


def test_a_file_in_a_linked_folder_is_refused(path: Path, home: Path) -> None:
    """As in dotfiles that are linked from a repository; a link to the home itself is none of these."""
    (home / "linked").symlink_to(path.parent)
    assert (
        refusal(home / "linked" / path.name) == f"{home / 'linked'} is a symbolic link, which is not followed"
    )


def test_a_linked_home_is_no_reason(path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole systems have their homes behind links."""
    link = home.with_name("link")
    link.symlink_to(home)
    monkeypatch.setenv("HOME", str(link))
    assert config_files.read(link / "program" / path.name) == OLD


def test_what_is_no_text_is_refused(path: Path) -> None:
    """Folders, pipes and bytes of another encoding."""
    path.write_bytes("ü".encode("latin-1"))
    assert refusal(path) == "the file is not text in UTF-8"
    path.unlink()
    path.mkdir()
    assert refusal(path) == "it is not a file with settings"
    path.rmdir()
    os.mkfifo(path)
    assert refusal(path) == "it is not a file with settings"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such owners")
def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replacing it would make it the user's own."""
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert refusal(path) == "the file belongs to another user"


def test_a_file_that_was_changed_meanwhile_is_not_replaced(path: Path) -> None:
    """The other program's change stays."""
    assert refusal_to_write(path, "older") == "another program changed the file meanwhile"
    assert refusal_to_write(path, None) == "another program changed the file meanwhile"
    assert path.read_bytes() == OLD.encode()
    path.unlink()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        config_files.write(path, OLD, "new")
    assert not path.exists()


def test_a_read_only_file_is_not_replaced(path: Path) -> None:
    """Also by somebody who could: the user protected it."""
    path.chmod(0o444)
    assert refusal_to_write(path) == "the file is read-only"
    assert path.read_bytes() == OLD.encode()


def test_a_folder_that_cannot_be_written_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's words."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", fail)
    assert refusal_to_write(path) == "the file cannot be written (Permission denied)"


def test_on_a_full_disk_the_old_file_stays(path: Path, home: Path) -> None:
    """Nothing is half written; that holds for copies, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(ConfigurationError, match=r"cannot be written \(File too large\)"):
            config_files.write(path, OLD, "x" * 50_000)
        with pytest.raises(ConfigurationError, match=r"no copy can be kept in .* \(File too large\)"):
            config_files.back_up(home / "data" / "backups", "zed", "x" * 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == OLD.encode()
    assert list((home / "data" / "backups").iterdir()) == []


def test_copies_never_replace_each_other(home: Path) -> None:
    """Also those of the same second; only the user can read them."""
    folder = home / "data" / "backups"
    copies = [config_files.back_up(folder, "zed", text) for text in ("one\r\n", "two", "three")]
    assert [path.read_bytes() for path in copies] == [b"one\r\n", b"two", b"three"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in copies} == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder, folder.parent)} == {0o700}
