"""Paths as people and programs have them, on a real file system: one is meant, or several are offered."""

import os
import unicodedata
from pathlib import Path

import pytest

from tests.images.makers import quadrants, saved
from wan_mcp.errors import PictureError
from wan_mcp.images import Picture, PictureLoader
from wan_mcp.net.fetch import PublicFetcher

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="paths as POSIX systems and their shells have them"),
]

PNG = saved(quadrants(400, 400), "PNG")
SCREENSHOT = "Screenshot 2026-11-24 at 9.41.00\u202fAM.png"
ACCENTS = "Jürgen, Café.png"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a folder of pictures, the only one that may be read."""
    folder = tmp_path / "Pictures of 2026"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def put(folder: Path, name: str) -> Path:
    """A picture of that name; skipped where the file system has another idea of it."""
    path = folder / name
    try:
        path.write_bytes(PNG)
    except OSError:
        pytest.skip("this file system takes no such name")
    if name not in os.listdir(path.parent):  # noqa: PTH208  the name itself, not a path
        pytest.skip("this file system does not keep such a name")
    return path


async def open_in(folder: Path, reference: str) -> Picture:
    return await PictureLoader(PublicFetcher(), folders=(folder,)).open(reference)


def skip_where_cases_are_one(folder: Path) -> None:
    if (folder.parent / folder.name.upper()).exists():
        pytest.skip("this file system does not tell cases apart")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (SCREENSHOT, "{folder}/Screenshot 2026-11-24 at 9.41.00 AM.png"),
        (SCREENSHOT, "{folder}/Screenshot\u00a02026-11-24 at 9.41.00\u00a0AM.png"),
        (SCREENSHOT, "{dragged}/Screenshot\\ 2026-11-24\\ at\\ 9.41.00\\ AM.png"),
        ("my (best) cat's.png", "{dragged}/my\\ \\(best\\)\\ cat\\'s.png"),
        ("my cat.png", "'{folder}/my cat.png'"),
        ("my cat.png", '"{folder}/my cat.png"'),
        ("my cat.png", " \u201c{folder}/my cat.png\u201d "),
        ("my cat.png", "`{folder}/my cat.png`"),
        ("cat.png", "@{folder}/cat.png"),
        ("cat.png", "$HOME/Pictures of 2026/cat.png"),
        ("cat.png", "${HOME}/Pictures of 2026/cat.png"),
        ("cat.png", "'$HOME/Pictures of 2026/cat.png'"),
        ("cat.png", "'file://{folder}/cat.png'"),
        (unicodedata.normalize("NFD", ACCENTS), "{folder}/" + unicodedata.normalize("NFC", ACCENTS)),
        (unicodedata.normalize("NFC", ACCENTS), "{folder}/" + unicodedata.normalize("NFD", ACCENTS)),
        ("IMG_0042.PNG", "{folder}/img_0042.png"),
        ("cat.jpg", "{folder}/cat.jpeg"),
        ("cat.jpeg", "{folder}/Cat.JPG"),
        (SCREENSHOT, "@'{dragged}/screenshot\\ 2026-11-24\\ at\\ 9.41.00\\ am.PNG'"),
    ],
)
async def test_the_one_file_that_can_be_meant_is_taken(folder: Path, name: str, given: str) -> None:
    """And said, where it is not the path that was given."""
    path = put(folder, name)
    dragged = str(folder).replace(" ", "\\ ")
    reference = given.replace("{folder}", str(folder)).replace("{dragged}", dragged)
    picture = await open_in(folder, reference)
    assert (picture.width, picture.height) == (400, 400)
    if "file:" not in given:
        assert picture.notes == (f"The picture was read from {path}.",)


@pytest.mark.parametrize(
    "name", ["my cat.png", "a\\ b.png", "'quoted'.png", "@cat.png", "$HOME.png", "ünï.png"]
)
async def test_a_name_that_exists_is_never_taken_for_another(folder: Path, name: str) -> None:
    """However odd it is; then nothing is said."""
    path = put(folder, name)
    put(folder, "a b.png")
    put(folder, "cat.png")
    assert (await open_in(folder, str(path))).notes == ()


async def test_a_wrong_name_of_a_folder_is_read_as_meant(folder: Path) -> None:
    """Each part of the path is looked for."""
    skip_where_cases_are_one(folder)
    (folder / "Sommer\u202f2026").mkdir()
    path = put(folder / "Sommer\u202f2026", "Cat.png")
    assert (await open_in(folder, f"{folder}/sommer 2026/cat.png")).notes == (
        f"The picture was read from {path}.",
    )


async def test_several_files_that_can_be_meant_are_offered(folder: Path) -> None:
    """None of them is taken."""
    skip_where_cases_are_one(folder)
    put(folder, "Cat.png")
    put(folder, "CAT.png")
    with pytest.raises(PictureError, match="does not exist") as refused:
        await open_in(folder, f"{folder}/cat.png")
    assert refused.value.next_step == "Its folder has CAT.png, Cat.png: give the path of one of these."


async def test_the_nearest_pictures_are_offered_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    """No hidden file, no other kind of file, and nothing outside of the folders."""
    for name in ("lake-at-dawn.jpg", "lake-at-dusk.jpg", ".lake-at-dawn.png", "lake-at-dawn.txt", "dog.png"):
        put(folder, name)
    with pytest.raises(PictureError, match="does not exist") as refused:
        await open_in(folder, f"{folder}/lake-at-down.jpg")
    assert (
        refused.value.next_step
        == "Its folder has lake-at-dawn.jpg, lake-at-dusk.jpg: give the path of one of these."
    )
    put(tmp_path, "secret-lake.png")
    for outside in (
        f"{tmp_path}/secret-lak.png",
        f"{folder}/../secret-lak.png",
        f"'{tmp_path}/Secret-Lake.png'",
    ):
        with pytest.raises(PictureError, match="is outside the folders") as refused:
            await open_in(folder, outside)
        assert "secret-lake" not in str(refused.value) + refused.value.next_step
        assert f"({folder})" in str(refused.value)


@pytest.mark.parametrize("given", [".Hidden.png", "hidden.png"])
async def test_hidden_files_are_never_meant(folder: Path, given: str) -> None:
    """Only their exact names open them."""
    put(folder, ".hidden.png")
    with pytest.raises(PictureError, match="does not exist") as refused:
        await open_in(folder, f"{folder}/{given}")
    assert ".hidden" not in refused.value.next_step
    assert (await open_in(folder, f"{folder}/.hidden.png")).notes == ()


async def test_no_other_variable_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the environment is nobody's business."""
    monkeypatch.setenv("SECRET", str(folder))
    put(folder, "cat.png")
    with pytest.raises(PictureError) as refused:
        await open_in(folder, "$SECRET/cat.png")
    assert str(folder) not in str(refused.value)


async def test_a_link_is_not_meant_by_another_name(folder: Path, tmp_path: Path) -> None:
    """It may lead out of the folder."""
    skip_where_cases_are_one(folder)
    put(tmp_path, "secret.png")
    (folder / "Way.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(PictureError, match="does not exist"):
        await open_in(folder, f"{folder}/way.png")


async def test_nothing_in_a_hidden_folder_is_offered_or_meant(folder: Path) -> None:
    """But read, where it is given as it is."""
    skip_where_cases_are_one(folder)
    (folder / ".hidden").mkdir()
    path = put(folder / ".hidden", "cat.png")
    assert (await open_in(folder, str(path))).notes == ()
    for name in ("CAT.png", "cats.png"):
        with pytest.raises(PictureError) as refused:
            await open_in(folder, f"{folder}/.hidden/{name}")
        assert "cat.png" not in str(refused.value).replace(name, "")


async def test_of_several_names_only_pictures_are_offered(folder: Path) -> None:
    skip_where_cases_are_one(folder)
    for name in ("Notes.txt", "notes.TXT"):
        put(folder, name)
    with pytest.raises(PictureError) as refused:
        await open_in(folder, f"{folder}/NOTES.txt")
    assert refused.value.next_step == "Check the spelling of the path."


@pytest.mark.parametrize("raw", [b"caf\xe9.png", b"new\nline.png", b"caf\x1b[31m.png"])
async def test_a_name_that_is_no_line_of_text_is_shown_as_one(folder: Path, raw: bytes) -> None:
    """A lone byte of Latin-1 would end the server that has to write it."""
    name = put(folder, os.fsdecode(raw)).name
    upper = folder / name.replace("n", "N").replace("c", "C")
    note = (await open_in(folder, str(upper))).notes[0]
    assert note.isprintable()
    assert "?" in note
    with pytest.raises(PictureError) as refused:
        await open_in(folder, f"{folder}/{name[:-5]}x.png")
    assert str(refused.value).isprintable()
    assert "Its folder has" in refused.value.next_step


@pytest.mark.parametrize("folder_of_a_chat", ["/mnt/data", "/mnt/user-data/uploads"])
async def test_a_path_of_the_chat_programs_machine_says_to_ask_the_user(
    folder: Path, folder_of_a_chat: str
) -> None:
    """Models give such paths for what was pasted into the conversation."""
    with pytest.raises(PictureError) as refused:
        await open_in(folder, f"{folder_of_a_chat}/image.png")
    assert refused.value.next_step.startswith("A picture pasted into the chat has no path here.")
