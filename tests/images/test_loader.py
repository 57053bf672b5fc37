"""One door for every picture: passed on by its address, or read, made to fit and handed over."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from PIL import Image

from tests.images import makers
from tests.images.makers import photo, quadrants, saved, see_through, turned
from tests.net.sites import Answer, Names, Recorder, Site, Visit, only, showing, site
from wan_mcp.errors import AddressRefused, PictureError
from wan_mcp.images import Picture, PictureLoader, loader
from wan_mcp.images.fitting import Prepared
from wan_mcp.net.fetch import PublicFetcher
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio

X = "\N{MULTIPLICATION SIGN}"
JPEG = saved(quadrants(), "JPEG")
NAMES = Names(pics_example="127.0.0.1", inner_example="10.0.0.1")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
async def pictures(tmp_path: Path) -> AsyncIterator[PictureLoader]:
    fetcher = PublicFetcher(public=only("127.0.0.1"), resolve=NAMES)
    yield PictureLoader(fetcher, folders=(tmp_path,))
    await fetcher.aclose()


async def shown(pictures: PictureLoader, answer: Answer, path: str = "/cat.png") -> tuple[Picture, Site]:
    async with site(answer) as public:
        return await pictures.open(f"http://pics.example:{public.port}{path}"), public


async def refused(pictures: PictureLoader, answer: Answer, path: str = "/cat.png") -> PictureError:
    async with site(answer) as public:
        with pytest.raises(PictureError) as error:
            await pictures.open(f"http://pics.example:{public.port}{path}")
    return error.value


FITTING = [
    (JPEG, "jpeg"),
    (saved(quadrants(), "PNG"), "png"),
    (saved(quadrants(), "WEBP"), "webp"),
    (saved(quadrants(), "BMP"), "bmp"),
    (saved(quadrants(), "JPEG", exif=makers.exif(gps=True)), "jpeg"),
]


@pytest.mark.parametrize(("content", "kind"), FITTING)
async def test_a_web_picture_that_fits_is_passed_on_by_its_own_address(
    pictures: PictureLoader, content: bytes, kind: str
) -> None:
    picture, public = await shown(pictures, showing(content), "/a/cat?size=5#top")

    address = f"http://pics.example:{public.port}/a/cat?size=5"
    assert picture == Picture(
        digest=digest(content),
        place=digest(address.encode()),
        address=address,
        file_name=f"picture.{kind}",
        media_type=f"image/{kind}",
        width=800,
        height=600,
        format=kind,
        name="pics.example",
    )


UNFIT = [
    (turned("JPEG", 6), ("turned upright (EXIF orientation 6)",)),
    (saved(see_through(), "PNG"), ("transparency laid on white",)),
    (saved(quadrants(), "GIF"), ("converted from GIF to PNG",)),
    (saved(quadrants(2400, 1200), "PNG"), (f"scaled from 2400{X}1200 to 2000{X}1000",)),
]


@pytest.mark.parametrize(("content", "adjusted"), UNFIT)
async def test_a_web_picture_that_does_not_fit_is_read_whole_and_made_to_fit(
    pictures: PictureLoader, content: bytes, adjusted: tuple[str, ...]
) -> None:
    picture, _ = await shown(pictures, showing(content))

    assert picture.address is None
    assert picture.content
    assert picture.digest == digest(content)
    assert picture.adjusted[: len(adjusted)] == adjusted


CUT = [
    saved(quadrants(), "PNG")[:700],
    saved(photo(800, 600), "PNG")[:700],
    JPEG[:700],
    saved(quadrants(), "WEBP")[:700],
    saved(quadrants(), "BMP")[:700],
    saved(photo(800, 600), "JPEG")[:-5000],
]


@pytest.mark.parametrize("content", CUT, ids=["PNG", "photo in PNG", "JPEG", "WebP", "BMP", "JPEG's end"])
async def test_a_web_picture_that_is_cut_off_is_refused_as_a_file_is(
    pictures: PictureLoader, tmp_path: Path, content: bytes
) -> None:
    """Its beginning tells the right size; it would be paid for, and fail."""
    (tmp_path / "cat").write_bytes(content)
    with pytest.raises(PictureError) as file:
        await pictures.open(str(tmp_path / "cat"))
    web = await refused(pictures, showing(content))
    assert web.message.partition("cat.png ")[2] == file.value.message.partition("cat ")[2]


MADE_UP = [
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA",
    "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ==",
    "data:image/png;base64,<base64 of the picture>",
    "data:image/png;base64," + base64.b64encode(saved(Image.new("RGB", (1, 1)), "PNG")).decode(),
]


@pytest.mark.parametrize("reference", MADE_UP)
async def test_made_up_data_says_to_ask_the_user(pictures: PictureLoader, reference: str) -> None:
    """A model that only sees a picture cannot know its bytes."""
    with pytest.raises(PictureError) as made_up:
        await pictures.open(reference)
    assert "A picture pasted into the chat has no path here. Ask the user" in made_up.value.next_step


async def test_a_picture_whose_host_announces_no_length_is_read_to_its_end(
    pictures: PictureLoader,
) -> None:
    async def answer(visit: Visit) -> None:
        await visit.begin(200, {"connection": "close"})
        await visit.send(JPEG)

    picture, _ = await shown(pictures, answer)

    assert picture.address is not None


@pytest.mark.parametrize("told", [True, False])
async def test_a_picture_over_ten_megabytes_is_compressed(pictures: PictureLoader, told: bool) -> None:
    content = saved(photo(2000, 1990), "PNG", compress_level=0)

    async def answer(visit: Visit) -> None:
        await visit.begin(200, {"content-length": str(len(content)) if told else "", "connection": "close"})
        await visit.send(content)

    picture, _ = await shown(pictures, answer)

    assert picture.content is not None
    assert len(picture.content) < 10_000_000
    assert picture.adjusted[-1].startswith("compressed from 11.9 MB to ")


async def test_more_than_64_megabytes_are_not_read(pictures: PictureLoader) -> None:
    async def told(visit: Visit) -> None:
        await visit.begin(200, {"content-length": "64000001"})
        await anyio.sleep_forever()

    async def untold(visit: Visit) -> None:
        await visit.begin(200, {"connection": "close"})
        await visit.send(saved(quadrants(2400, 1200), "PNG"))
        while True:
            await visit.stream.send(bytes(1_000_000))

    for answer, size in ((told, "64.0 MB"), (untold, "more than 64.0 MB")):
        error = await refused(pictures, answer)
        limits = "at most 64.0 MB are read."
        assert error.message == f"image_urls: pics.example/cat.png has {size}; {limits}"


async def test_packed_bodies_are_unpacked_and_their_length_is_not_believed(pictures: PictureLoader) -> None:
    import gzip

    picture, _ = await shown(pictures, showing(gzip.compress(JPEG), content_encoding="gzip"))

    assert picture.address is not None


STATUSES = [
    (403, "answers 403 (forbidden), so Evolink could not fetch it either.", "without a login"),
    (404, "answers 404 (not found), so Evolink could not fetch it either.", "Check the address"),
    (503, "answers 503 (service unavailable), so Evolink could not fetch it either.", "Try again later"),
    (799, "answers 799, so Evolink could not fetch it either.", "Try again later"),
]


@pytest.mark.parametrize(("status", "told", "advice"), STATUSES)
async def test_a_status_that_is_no_success_is_told(
    pictures: PictureLoader, status: int, told: str, advice: str
) -> None:
    async def answer(visit: Visit) -> None:
        await visit.answer(status, b"<html>")

    error = await refused(pictures, answer, "/cat.png?sig=5ecret")

    assert error.message == f"image_urls: pics.example/cat.png {told}"
    assert advice in error.next_step
    assert error.charged == "no"


async def test_what_is_there_instead_of_a_picture_is_told(pictures: PictureLoader) -> None:
    page = await refused(pictures, showing(b"<!doctype html><title>Cats</title>" + bytes(2000)))
    nothing = await refused(pictures, showing(b""))
    ribbon = await refused(pictures, showing(saved(quadrants(5000, 300), "PNG")))
    half = await refused(pictures, showing(saved(quadrants(), "PNG")[:30]))

    page_told = "is a web page (HTML), not a picture that can be used."
    assert page.message == f"image_urls: pics.example/cat.png {page_told}"
    assert page.next_step == "Give the picture itself, not a page that shows it."
    assert nothing.message == "image_urls: pics.example/cat.png is empty (0 bytes)."
    assert "the sides differ by 16.7 to 1" in ribbon.message
    assert "cannot be decoded: it is damaged" in half.message


async def test_an_address_that_is_not_to_be_had_is_told(pictures: PictureLoader) -> None:
    with pytest.raises(PictureError) as unknown:
        await pictures.open("https://nobody.example/cat.png?sig=5ecret")
    with pytest.raises(AddressRefused) as private:
        await pictures.open("https://inner.example/cat.png?sig=5ecret")

    assert unknown.value.message == "image_urls: nobody.example/cat.png: the host name is unknown."
    assert "Evolink has to fetch it too" in unknown.value.next_step
    assert private.value.message == "image_urls: inner.example/cat.png leads to a private network address."


SIGNED = [
    "X-Amz-Signature=5&X-Amz-Expires=60",
    "X-Goog-Signature=5",
    "se=2030-01-01&sig=5",
    "Expires=5",
    "token=5",
    "ex=1&is=2&hm=3",
]


@pytest.mark.parametrize("query", SIGNED)
async def test_an_address_that_looks_short_lived_is_noted(pictures: PictureLoader, query: str) -> None:
    picture, _ = await shown(pictures, showing(JPEG), f"/cat.png?{query}")

    assert len(picture.notes) == 1
    assert "looks signed or short-lived" in picture.notes[0]


async def test_an_ordinary_query_is_not_noted(pictures: PictureLoader) -> None:
    picture, _ = await shown(pictures, showing(JPEG), "/cat.png?width=800&seed=5&semantic=1")

    assert picture.notes == ()


@pytest.mark.parametrize(("host", "address"), [("pics.example", "93.184.215.14"), ("nobody.example", "")])
async def test_without_the_check_an_address_is_passed_on_unseen(host: str, address: str) -> None:
    connector = Recorder()
    names = Names(**{"pics_example": "93.184.215.14"})
    fetcher = PublicFetcher(resolve=names, transport=connector)
    pictures = PictureLoader(fetcher, folders=(), check=False)

    picture = await pictures.open(f"https://{host}/cat.png?token=5")

    assert picture.address == f"https://{host}/cat.png?token=5"
    assert picture.notes[0] == "The picture was passed on unchecked."
    assert len(picture.notes) == 2
    assert connector.requests == []
    assert names.asked == [host]


@pytest.mark.parametrize("address", ["http://10.0.0.1/", "http://localhost/", "https://inner.example/"])
async def test_without_the_check_a_private_address_is_refused_all_the_same(address: str) -> None:
    with pytest.raises(AddressRefused):
        await PictureLoader(PublicFetcher(resolve=NAMES), folders=(), check=False).open(address)


async def test_a_local_picture_is_the_same_picture_wherever_it_comes_from(
    pictures: PictureLoader, tmp_path: Path
) -> None:
    content = turned("JPEG", 6)
    (tmp_path / "one.jpg").write_bytes(content)
    (tmp_path / "two words.png").write_bytes(content)
    data = base64.b64encode(content).decode()

    opened = [
        await pictures.open(str(tmp_path / "one.jpg")),
        await pictures.open((tmp_path / "two words.png").as_uri()),
        await pictures.open(f"data:image/png;base64,{data}"),
        replace((await shown(pictures, showing(content)))[0], place=None),
    ]

    assert [one.name for one in opened] == ["one.jpg", "two words.png", "data", "pics.example"]
    assert [replace(one, name="") for one in opened] == [replace(opened[0], name="")] * 4
    assert opened[0].digest == digest(content)
    assert (opened[0].file_name, opened[0].media_type) == ("picture.jpeg", "image/jpeg")


async def test_the_upload_service_gets_no_bmp(pictures: PictureLoader, tmp_path: Path) -> None:
    (tmp_path / "cat.bmp").write_bytes(saved(quadrants(), "BMP"))

    picture = await pictures.open(str(tmp_path / "cat.bmp"))

    assert picture.format == "png"
    assert picture.adjusted == ("converted from BMP to PNG",)


async def test_a_server_elsewhere_reads_no_files_and_does_not_say_which_exist(tmp_path: Path) -> None:
    pictures = PictureLoader(PublicFetcher(), folders=(tmp_path,), local=False)
    (tmp_path / "cat.png").write_bytes(JPEG)
    told = "is a path, and this server does not run on your machine, so it reads no files."

    for reference in (
        str(tmp_path / "cat.png"),
        f"file://{tmp_path}/cat.png",
        "~/cat.png",
        "C:\\cat.png",
    ):
        with pytest.raises(PictureError, match=told):
            await pictures.open(reference)
    coded = base64.b64encode(JPEG).decode()
    assert (await pictures.open(f"data:image/jpeg;base64,{coded}")).format == "jpeg"


async def test_errors_quote_neither_data_nor_control_characters(pictures: PictureLoader) -> None:
    raw = base64.b64encode(bytes(2000)).decode()
    for reference in (
        *(f"data:image/png;base64,{raw}", raw, "/" + raw, "/\x1b[31mred\n.png"),
        *(
            " data:image/png;base64,AAAA!!",
            "'data:image/png;base64,AAAA!!'",
            "see data:image/png;base64,AAAA",
        ),
        *("<http://127.0.0.1:1/cat.png?token=AAAA>", "see https://pics.example/?token=AAAA"),
        *("/\ud800.png", "file:///\ud800.png", "data:image/png;base64,\ud800", "https://pics.example/\ud800"),
    ):
        with pytest.raises(PictureError) as error:
            await pictures.open(reference)
        assert "AAAA" not in error.value.message
        assert error.value.message.isprintable()
        assert error.value.message.startswith("image_urls: ")


async def test_the_event_loop_goes_on_while_a_picture_is_prepared(
    pictures: PictureLoader, tmp_path: Path
) -> None:
    (tmp_path / "large.jpg").write_bytes(saved(quadrants(6000, 4000), "JPEG"))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await pictures.open(str(tmp_path / "large.jpg"))
        tasks.cancel_scope.cancel()

    assert turns > 10


async def test_two_are_decoded_at_the_same_time_even_if_their_callers_go_away(
    pictures: PictureLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped, and each picture may take much memory."""
    (tmp_path / "cat.png").write_bytes(saved(quadrants(), "PNG"))
    started, finish, running = threading.Semaphore(0), threading.Event(), []

    def fit(content: bytes) -> Prepared:
        running.append(1)
        started.release()
        assert finish.wait(60)
        running.pop()
        return Prepared(content, "png", 800, 600)

    monkeypatch.setattr(loader, "fit", fit)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(pictures.open, str(tmp_path / "cat.png"))
        for _ in range(2):
            await anyio.to_thread.run_sync(started.acquire)
        tasks.cancel_scope.cancel()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(pictures.open, str(tmp_path / "cat.png"))
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
        assert len(running) == 2
        finish.set()


async def test_the_home_and_the_working_folder_are_the_folders_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("home", "work", "else"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cat.png").write_bytes(JPEG)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    pictures = PictureLoader(PublicFetcher(), folders=Settings.load({}).image_dirs)

    for reference in ("~/cat.png", str(tmp_path / "work" / "cat.png")):
        assert (await pictures.open(reference)).format == "jpeg"
    with pytest.raises(PictureError, match="is outside the folders"):
        await pictures.open(str(tmp_path / "else" / "cat.png"))


def test_importing_the_package_imports_no_decoder() -> None:
    program = "import sys, wan_mcp.images; sys.exit('PIL' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_logs_hold_no_query(pictures: PictureLoader, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    await shown(pictures, showing(JPEG), "/cat.png?sig=5ecret")

    assert "5ecret" not in caplog.text
