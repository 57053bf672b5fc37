"""Names for files: whatever was asked for, a harmless name inside the folder comes of it."""

import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wan_mcp.videos.filenames import MAX_BYTES, MAX_PROMPT, of_prompt, safe_stem

RESERVED = {
    *("con", "prn", "aux", "nul", "conin$", "conout$", "clock$"),
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"),
}

NASTY = [
    "../x",
    "..\\..\\x",
    "/etc/passwd",
    "~/x",
    "C:\\Windows\\x",
    "C:x",
    "\\\\server\\share\\x",
    "\\\\?\\C:\\x",
    "x:stream",
    "x.mp4::$DATA",
    "CON",
    "con.mp4",
    "Nul .txt",
    "aux. ",
    "COM1",
    "lpt¹.old",
    "CONIN$",
    "CLOCK$",
    "con" + " " * 200 + "x",
    "con" + "_" * 200,
    "con\u200b",
    "\u202enoc",
    "x. . .",
    "x   ",
    ".",
    "..",
    "......",
    ". . .",
    "",
    "   ",
    "\u3000\u00a0",
    "\u200b\u200d\ufeff",
    ".mp4",
    "..MP4",
    ".hidden",
    "a\x00b",
    "\x00",
    "line\r\nbreak",
    "a\x85\x1b b",
    "a\x85b\x9fc",
    "\u2028x\u2029",
    "x" * 300,
    "猫" * 300,
    "🐱" * 300,
    "e\u0301" * 300,
    "." * 300 + "x",
    "x" * 119 + " " * 9 + "y",
    "\ud800lone",
    "\ufdd0\uffff",
    "\U000e0041tag",
    '<>:"/\\|?*',
    "$(reboot)`x`;&",
]


def is_safe(stem: str) -> bool:
    """The rules of the strictest systems, written down once more."""
    name = f"{stem}.mp4"
    return (
        bool(stem)
        and not re.search(r'[<>:"/\\|?*]', name)
        and all(unicodedata.category(char)[0] != "C" for char in name)
        and stem == " ".join(stem.split())
        and not stem.startswith(".")
        and not stem.endswith(".")
        and name.partition(".")[0].rstrip().lower() not in RESERVED
        and len(stem.encode()) <= MAX_BYTES + 1
        and PurePosixPath(name).name == PureWindowsPath(name).name == name
    )


@pytest.mark.parametrize("wanted", NASTY)
def test_a_nasty_name_becomes_a_harmless_one(wanted: str) -> None:
    """On every system; and made safe once more it is the same."""
    stem = safe_stem(wanted)
    assert is_safe(stem), stem
    assert safe_stem(stem) == stem


@given(st.text() | st.text(alphabet="./\\:con \u200b\u0301mp4COM1¹$_", max_size=30))
@example("con" + "_" * 117 + "\u00e9")
@example("_.con")
@example("con.🐱" + "🐱" * 28)
def test_any_text_becomes_a_harmless_name(wanted: str) -> None:
    """There is no text that leads outside, hides the file or cannot be written."""
    stem = safe_stem(wanted)
    assert is_safe(stem), stem


@pytest.mark.parametrize("wanted", [name for name in NASTY if "\x00" not in name])
def test_a_nasty_name_stays_in_its_folder(wanted: str, tmp_path: Path) -> None:
    """Seen on the disk of this machine: one file, where it belongs, of the type it has."""
    folder = tmp_path / "videos"
    folder.mkdir()
    path = folder / f"{safe_stem(wanted)}.mp4"
    path.write_bytes(b"film")
    assert [found.suffix for found in folder.iterdir()] == [".mp4"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    "name",
    [
        "The cat yawns",
        "My film (2)",
        "task-unified-1757169743-7cvnl5zw",
        "v1.2 final",
        "кот зевает",
        "猫があくびをする",
        "🐱🥱",
        "Ünïcödé, déjà vu!",
        "console",
        "common",
        "x" * MAX_BYTES,
    ],
)
def test_a_good_name_stays_as_it_is(name: str) -> None:
    """Any script, spaces and punctuation; only what is dangerous is changed."""
    assert safe_stem(name) == name


@pytest.mark.parametrize(
    "wanted",
    [
        "film",
        "film.mp4",
        "film.MP4",
        "film.Mp4 ",
        " film.mp4.",
        "film.mp4 . ",
        "film.mov",
        "film.WebM.mp4",
        "film.avi .mkv",
    ],
)
def test_the_ending_is_not_doubled(wanted: str) -> None:
    """Whether it was given, how it was spelled, and what hangs behind it."""
    assert safe_stem(wanted) == "film"


def test_one_spelling_for_one_name() -> None:
    """Letters with marks are composed, and what cannot be seen does not tell two names apart."""
    assert safe_stem("cafe\u0301") == safe_stem("caf\u00e9") == safe_stem("caf\u200be\u0301") == "caf\u00e9"


def test_a_long_name_is_cut_between_characters() -> None:
    """As much of it is kept as fits."""
    assert safe_stem("🐱" * 300) == "🐱" * (MAX_BYTES // 4)


def test_a_name_of_a_million_characters_takes_no_time() -> None:
    """The work does not grow with the square of the length."""
    assert safe_stem("猫 " * 500_000) == ("猫 " * 30).strip()


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("The dog wags its tail.", "the-dog-wags-its-tail"),
        ("  The dog's tail -- it's WAGGING!\n", "the-dogs-tail-its-wagging"),
        ("Кот зевает, 猫があくびをする。", "кот-зевает-猫があくびをする"),
        ("कुत्ता पूंछ हिलाता है", "कुत्ता-पूंछ-हिलाता-है"),
        ("Cafe\u0301 \u2014 \u00c9t\u00e9 2026", "café-été-2026"),
        ("🐶🐱", ""),
        ("\N{HEAVY BLACK HEART}\ufe0f🐶", ""),
        ("\u0301\u0301", ""),
        ("", ""),
        ("../../etc/passwd", "etc-passwd"),
        ("word " * 40, "-".join(["word"] * 12)),
        ("猫" * 500, "猫" * 36),
        ("x" * 500, "x" * MAX_PROMPT),
        ("short " + "x" * 500, "short"),
    ],
)
def test_a_name_is_made_of_a_prompt(prompt: str, name: str) -> None:
    """Its words in lower case, of any script, cut between two of them."""
    assert of_prompt(prompt) == name


@given(st.text())
def test_a_name_of_any_prompt_is_safe(prompt: str) -> None:
    """Also with a take behind it."""
    stem = safe_stem(f"{of_prompt(prompt)}-take-1000")
    assert is_safe(stem)
    assert stem.endswith("take-1000")
