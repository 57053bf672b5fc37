"""What a reference to a picture is taken for."""

import base64
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images.makers import quadrants, saved
from wan_mcp.errors import PictureError
from wan_mcp.images.sources import PASTED, data_content, kind, local_paths

PNG = saved(quadrants(400, 400), "PNG")
CODED = base64.b64encode(PNG).decode()

KINDS = [
    ("https://pics.example/cat.png", "web"),
    ("HTTP://pics.example", "web"),
    ("file:///home/me/cat.png", "file"),
    ("FILE:/home/me/cat.png", "file"),
    ("data:image/png;base64,AAAA", "data"),
    ("/home/me/cat.png", "file"),
    ("~/cat.png", "file"),
    ("C:\\cat.png", "file"),
    ("c:/cat.png", "file"),
    ("cat.png", "file"),
    ("/home/me/10:30 cat.png", "file"),
]


@pytest.mark.parametrize(("reference", "found"), KINDS)
def test_the_kind_of_a_reference_is_told_by_its_beginning(reference: str, found: str) -> None:
    assert kind(reference) == found


@pytest.mark.parametrize(
    ("reference", "advice"),
    [
        ("ftp://pics.example/cat.png", "absolute path"),
        ("s3://a/b", "absolute path"),
        ("sandbox:/mnt/data/a.png", PASTED),
        ("attachment:cat.png", PASTED),
        ("blob:x", PASTED),
        ("file-service://file-9a3f", PASTED),
        ("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", PASTED),
        ("/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMD", PASTED),
    ],
)
def test_other_schemes_and_bare_base64_are_refused(reference: str, advice: str) -> None:
    """A picture pasted into a chat has no address that could be read here: the user has to be asked."""
    with pytest.raises(PictureError) as refused:
        kind(reference)
    assert advice in refused.value.next_step


POSIX = [
    ("file:///home/me/my%20cat.png", "/home/me/my cat.png"),
    ("file:/home/me/cat.png", "/home/me/cat.png"),
    ("file://localhost/home/me/cat.png", "/home/me/cat.png"),
    ("file:///home/me/%C3%A4%25.png", "/home/me/\u00e4%.png"),
    ("file:///home/me/cat#1?.png", "/home/me/cat#1?.png"),
    ("/home/me/my%20cat.png", "/home/me/my%20cat.png"),
    ("~/cat.png", str(Path.home() / "cat.png")),
]


@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX systems")
@pytest.mark.parametrize(("reference", "path"), POSIX)
def test_a_path_is_read_as_it_is_and_a_uri_is_decoded(reference: str, path: str) -> None:
    assert local_paths(reference)[0] == Path(path)


WINDOWS = [
    "C:\\Users\\me\\cat.png",
    "C:/Users/me/cat.png",
    "file:///C:/Users/me/cat.png",
    "file://C:/cat.png",
]


@pytest.mark.parametrize("reference", WINDOWS)
def test_a_windows_path_is_refused_clearly_elsewhere(reference: str) -> None:
    with pytest.raises(PictureError, match="is a Windows path, and this server does not run on Windows"):
        local_paths(reference, windows=False)


@pytest.mark.skipif(os.name != "nt", reason="paths of Windows")
@pytest.mark.parametrize("reference", WINDOWS)
def test_a_windows_path_is_taken_there(reference: str) -> None:
    assert local_paths(reference)[0].drive == "C:"


REFUSED = [
    ("cat.png", "is a name without a path"),
    ("my cat", "is a name without a path"),
    ("./cat.png", "is neither a web address nor an absolute path"),
    ("pics.example/cat.png", "is neither a web address nor an absolute path"),
    ("", "is neither a web address nor an absolute path"),
    ("~nobody-of-this-name/cat.png", "is neither a web address nor an absolute path"),
    ("file:cat.png", "is a name without a path"),
    ("file://server/share/cat.png", "is a file: URI that names a host"),
    ("file:////server/share/cat.png", "is a path to another machine"),
    ("\\\\server\\share\\cat.png", "is a path to another machine"),
    ("\\\\.\\pipe\\cat", "is a path to another machine"),
    ("//server/share/cat.png", "is a path to another machine"),
    ("/home/me/cat.png\0.txt", "has a NUL character"),
    ("file:///home/me/cat.png%00.txt", "has a NUL character"),
]


@pytest.mark.parametrize(("reference", "told"), REFUSED)
def test_what_is_no_path_of_this_machine_is_refused(reference: str, told: str) -> None:
    with pytest.raises(PictureError, match=told) as refused:
        local_paths(reference)

    assert refused.value.next_step


SPELLINGS = [
    f"data:image/png;base64,{CODED}",
    f"DATA:;BASE64,{CODED}",
    f"data:image/png;charset=binary;base64,{CODED}",
    f"data:image/png;base64,{CODED.rstrip('=')}",
    f"data:image/png;base64,{quote(CODED)}",
    f"data:image/png;base64,{base64.urlsafe_b64encode(PNG).decode()}",
    "data:image/png;base64," + "\n".join(CODED[i : i + 76] for i in range(0, len(CODED), 76)),
    f"data:image/png,{quote(PNG)}",
]


@pytest.mark.parametrize("reference", SPELLINGS, ids=range(len(SPELLINGS)))
def test_a_data_uri_holds_the_same_bytes_in_every_spelling(reference: str) -> None:
    assert data_content(reference) == PNG


def test_what_is_no_data_uri_is_refused_without_being_quoted() -> None:
    for reference, told in (
        ("data:image/png;base64", "has no comma before its data"),
        ("data:image/png;base64,S3CR3T!!", "is not valid base64"),
        ("data:image/png;base64,AAAAA", "is not valid base64"),
        (
            "data:image/png;base64," + "A" * 14_000_000,
            "has 14000022 characters; at most 14000000",
        ),
    ):
        with pytest.raises(PictureError, match=told) as refused:
            data_content(reference)
        assert "S3CR3T" not in str(refused.value)


@given(st.text())
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    with suppress(PictureError):
        if kind(text) == "file":
            local_paths(text)
    with suppress(PictureError):
        data_content(f"data:{text}")
