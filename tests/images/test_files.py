"""Pictures of this machine: only from the folders for it, only regular files, only what is a picture."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.images.makers import quadrants, saved
from wan_mcp.errors import PictureError
from wan_mcp.images import files

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, pipes and permissions of POSIX systems")

PNG = saved(quadrants(400, 400), "PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "pictures"
    found.mkdir()
    (found / "cat.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    return found


def refused(path: Path, *folders: Path) -> str:
    with pytest.raises(PictureError) as error:
        files.read([path], folders)
    assert error.value.next_step
    return error.value.message


def test_a_file_in_a_folder_for_pictures_is_read(folder: Path, tmp_path: Path) -> None:
    assert files.read([folder / "cat.png"], [tmp_path / "elsewhere", folder])[0] == PNG


def test_a_link_within_the_folders_is_followed(folder: Path, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "link.png").symlink_to(folder / "cat.png")
    (tmp_path / "way in").symlink_to(folder)

    assert files.read([folder / "deep" / "link.png"], [folder])[0] == PNG
    assert files.read([tmp_path / "way in" / "cat.png"], [tmp_path / "way in"])[0] == PNG


def outside(*folders: Path) -> str:
    listed = ", ".join(map(str, folders)) or "there are none"
    return f"is outside the folders that pictures may be read from ({listed})"


def test_what_lies_outside_is_refused_alike_whether_it_exists_or_not(folder: Path, tmp_path: Path) -> None:
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    ways = ["link.png", "out/secret.png", "../secret.png", "../missing.png", "/etc/passwd", "/etc/missing"]

    assert {refused(folder / way, folder) for way in ways} == {outside(folder)}
    assert refused(tmp_path / "pictures of another" / "cat.png", folder) == outside(folder)
    assert refused(folder / "cat.png") == outside()


def test_a_circle_outside_is_refused_as_everything_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert refused(tmp_path / "circle", folder) == outside(folder)


@pytest.mark.parametrize("name", ["secret.png", "SECRET.png", "secrets.png"])
def test_a_link_below_a_misspelt_folder_tells_nothing_of_where_it_leads(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """Whether the file there exists, is spelt otherwise, or is not there."""
    (folder / "Summer").mkdir()
    (folder / "Summer" / "link").symlink_to(tmp_path)
    assert refused(folder / "SUMMER" / "link" / name, folder) == "does not exist"


def test_a_link_that_is_slipped_in_after_the_check_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "secret.png").write_bytes(PNG)
    real = os.open

    def swap(path: str | Path, flags: int, **options: int) -> int:
        if str(path) == "deep":
            (folder / "deep").rename(folder / "gone")
            (folder / "deep").symlink_to(tmp_path)
        return real(path, flags, **options)

    monkeypatch.setattr(os, "open", swap)

    assert refused(folder / "deep" / "secret.png", folder).startswith("cannot be read (")


def test_neither_pipes_nor_devices_nor_folders_nor_sockets_are_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.png"))

        assert refused(folder / "pipe.png", folder) == "is a device or pipe, not a file"
        assert refused(Path("/dev/zero"), Path("/dev")) == "is a device or pipe, not a file"
        assert refused(folder, folder) == "is a folder, not a file"
        assert refused(folder / "socket.png", folder).startswith("cannot be read (")


def test_what_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "circle").symlink_to(folder / "circle")

    assert refused(folder / "missing.png", folder) == "does not exist"
    assert refused(folder / "cat.png" / "more.png", folder) == "does not exist"
    assert refused(folder / ("a" * 300), folder).startswith("cannot be read (")
    assert refused(folder / "circle", folder) == "does not exist"


def test_a_file_without_permission_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)

    assert refused(folder / "cat.png", folder) == "may not be read by this program"


def test_what_is_no_picture_is_refused_before_it_is_read_to_its_end(folder: Path) -> None:
    with (folder / "film.mp4").open("wb") as film:
        film.write(b"\0\0\0\x18ftypisom" + bytes(5000))
        film.truncate(5_000_000_000)
    (folder / "key.png").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")

    assert refused(folder / "film.mp4", folder).startswith("is an MP4 or QuickTime video")
    assert refused(folder / "key.png", folder).startswith("is a text, not a picture")


def test_a_picture_that_is_too_long_is_refused_with_the_numbers(folder: Path) -> None:
    with (folder / "huge.png").open("wb") as huge:
        huge.write(PNG)
        huge.truncate(70_000_000)

    assert refused(folder / "huge.png", folder) == "has 70.0 MB; at most 64.0 MB are read"


def test_an_empty_file_is_read_as_such(folder: Path) -> None:
    (folder / "empty.png").touch()

    assert files.read([folder / "empty.png"], [folder])[0] == b""


def test_a_system_that_cannot_open_step_by_step_opens_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_WALKS", False)

    assert files.read([folder / "cat.png"], [folder])[0] == PNG
