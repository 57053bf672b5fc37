"""Over real sockets, by the tool: complete videos are kept whatever they look like, others never."""

import gzip
import random
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.calls import text
from tests.videos.host import files
from tests.videos.real import answer, box, chunked, plays, save_video, video, wire
from wan_mcp.videos import download as videos

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]

MP4 = video("mp4")
FAST = video("mp4", movflags="+faststart")
FRAGMENTS = video("mp4", movflags="+frag_keyframe+empty_moov+default_base_moof")
MOV, WEBM, MKV, AVI = map(video, ("mov", "webm", "mkv", "avi"))
FTYP_END = struct.unpack(">I", MP4[:4])[0]
PAGE = b"<!DOCTYPE html><html><body>This link has expired.</body></html>"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(5000)
STRANGE = random.Random(1).randbytes(5000)


@pytest.fixture(autouse=True)
def _proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def open_media(content: bytes) -> bytes:
    """The last box of media without a length: it goes on to the end."""
    at = content.rindex(b"mdat")
    return content[: at - 4] + bytes(4) + content[at:]


def large_media(content: bytes) -> bytes:
    at = content.index(b"mdat")
    length = struct.unpack(">I", content[at - 4 : at])[0]
    rest = content[at + 4 :]
    return content[: at - 4] + struct.pack(">I4sQ", 1, b"mdat", length + 8) + rest


def fragments_without_end() -> bytes:
    """Fragments of which the last one's media has no length."""
    content = FRAGMENTS[: FRAGMENTS.rindex(b"mfra") - 4]
    return open_media(content)


OPEN_FRAGMENTS = fragments_without_end()
KEPT: dict[str, tuple[Callable[[], bytes], str]] = {
    "usual": (lambda: answer(MP4), "mp4"),
    "index first": (lambda: answer(FAST), "mp4"),
    "fragments": (lambda: answer(FRAGMENTS), "mp4"),
    "fragments in chunks": (lambda: chunked(FRAGMENTS), "mp4"),
    "open media": (lambda: answer(open_media(FAST)), "mp4"),
    "open media, no length": (lambda: answer(open_media(FAST), length=None), "mp4"),
    "open fragment": (lambda: answer(OPEN_FRAGMENTS), "mp4"),
    "open fragment in chunks": (lambda: chunked(OPEN_FRAGMENTS), "mp4"),
    "64-bit media": (lambda: answer(large_media(MP4)), "mp4"),
    **{
        f"{kind} first": (partial(answer, box(kind.encode(), bytes(20)) + MP4), "mp4")
        for kind in ("free", "skip", "styp", "wide", "pdin", "emsg", "sidx", "uuid", "prft")
    },
    "mov": (lambda: answer(MOV), "mov"),
    "mov without type": (lambda: answer(MOV[MOV.index(b"wide") - 4 :], kind="video/quicktime"), "mov"),
    "webm": (lambda: answer(WEBM, kind="video/webm"), "webm"),
    "webm as mp4": (lambda: answer(WEBM), "webm"),
    "mkv": (lambda: answer(MKV), "mkv"),
    "avi": (lambda: answer(AVI), "avi"),
    "gzip": (lambda: answer(gzip.compress(MP4), "Content-Encoding: gzip"), "mp4"),
    "gzip in chunks": (lambda: chunked(gzip.compress(MP4), "Content-Encoding: x-gzip"), "mp4"),
    "gzip, not said": (lambda: answer(gzip.compress(MP4)), "mp4"),
    "gzip said, but is not": (lambda: answer(MP4, "Content-Encoding: gzip"), "mp4"),
    "deflate": (lambda: answer(zlib.compress(MP4), "Content-Encoding: deflate"), "mp4"),
    "raw deflate": (lambda: answer(zlib.compress(MP4)[2:-4], "Content-Encoding: deflate"), "mp4"),
    "gzip twice": (lambda: answer(gzip.compress(gzip.compress(MP4)), "Content-Encoding: gzip, gzip"), "mp4"),
    "odd encoding": (lambda: answer(MP4, "Content-Encoding: aws-chunked"), "mp4"),
    **{
        kind: (partial(answer, MP4, kind=kind), "mp4")
        for kind in ("text/plain", "text/html; charset=utf-8", "application/json", "image/jpeg", "")
    },
    "padding": (lambda: answer(MP4 + b"\x00" * 5), "mp4"),
    "zeros after the last box": (lambda: answer(MP4 + bytes(1000)), "mp4"),
    "bytes after the last box": (lambda: answer(MP4 + STRANGE), "mp4"),
    "text after the last box": (lambda: answer(MP4 + PAGE), "mp4"),
    "no length": (lambda: answer(MP4, length=None), "mp4"),
    "chunks and a length": (lambda: chunked(MP4, "Content-Length: 17"), "mp4"),
    "203": (lambda: answer(MP4, status="203 Non-Authoritative Information"), "mp4"),
    "201": (lambda: answer(MP4, status="201 Created"), "mp4"),
    "202": (lambda: answer(MP4, status="202 Accepted"), "mp4"),
    "206": (lambda: answer(MP4, status="206 Partial Content"), "mp4"),
    "206, all": (
        lambda: answer(
            MP4, f"Content-Range: bytes 0-{len(MP4) - 1}/{len(MP4)}", status="206 Partial Content"
        ),
        "mp4",
    ),
    "206, total unknown": (
        lambda: answer(MP4, f"Content-Range: bytes 0-{len(MP4) - 1}/*", status="206 Partial Content"),
        "mp4",
    ),
    "206, nonsense": (
        lambda: answer(MP4, "Content-Range: everything", status="206 Partial Content"),
        "mp4",
    ),
}


@pytest.mark.parametrize("case", KEPT)
async def test_a_complete_video_is_kept(tmp_path: Path, case: str) -> None:
    """Under the ending of its content, playable, with a remark where it is no MP4."""
    make, ending = KEPT[case]
    async with wire() as server:
        result = await save_video(tmp_path, server.link("film", make()), filename="film.MOV")
    assert not result.is_error, text(result)
    assert list(files(tmp_path / "videos")) == [f"film.{ending}"]
    if not case.endswith("first") and not case.startswith(("64-bit", "mov without")):  # these are not real
        assert plays(tmp_path / "videos" / f"film.{ending}") == (320, 180, 24)
    assert ("not MP4" in text(result)) == (ending != "mp4")
    assert len(server.requests) == 1


async def test_an_unknown_file_that_is_complete_is_kept_with_a_remark(tmp_path: Path) -> None:
    """It was paid; whoever gets it may know what it is."""
    async with wire() as server:
        result = await save_video(tmp_path, server.link("film", answer(STRANGE)), filename="film")
    assert files(tmp_path / "videos") == {"film.mp4": STRANGE}
    assert "not recognised" in text(result)


MOOF = FRAGMENTS.index(b"moof") - 4
FAST_MEDIA = FAST.index(b"mdat")
CUT: dict[str, Callable[[], bytes]] = {
    "32 bytes of type": lambda: answer(MP4[:32]),
    "type alone": lambda: answer(MP4[:FTYP_END]),
    "no media": lambda: answer(FAST[: FAST_MEDIA - 4]),
    "no index": lambda: answer(MP4[: MP4.index(b"moov") - 4]),
    "cut media": lambda: answer(FAST[:-1]),
    "cut media, no length": lambda: answer(FAST[:-1], length=None),
    "cut media in chunks": lambda: chunked(FAST[:-1]),
    "cut index": lambda: answer(MP4[:-1]),
    "announced more": lambda: answer(MP4, length=len(MP4) + 1),
    "chunks without end": lambda: chunked(MP4, end=b""),
    "cut open media": lambda: answer(open_media(FAST)[:-1]),
    "cut open fragment": lambda: answer(OPEN_FRAGMENTS[:-1], length=None),
    "cut open fragment in chunks": lambda: chunked(OPEN_FRAGMENTS[:-100]),
    "cut before the media of a fragment": lambda: answer(FRAGMENTS[: FRAGMENTS.rindex(b"mdat") - 4]),
    "no fragment": lambda: answer(FRAGMENTS[:MOOF]),
    "cut in a header": lambda: answer(large_media(FAST)[: FAST_MEDIA + 9]),
    "cut gzip": lambda: answer(gzip.compress(FAST)[:-50], "Content-Encoding: gzip", length=None),
    "no gzip at all": lambda: answer(STRANGE, "Content-Encoding: gzip"),
    "cut webm": lambda: answer(WEBM[:-1], length=None),
    "cut avi": lambda: answer(AVI[:-1], length=None),
    "a part": lambda: answer(MP4, f"Content-Range: bytes 10-{len(MP4) + 9}/*", status="206 Partial Content"),
    "half, said so": lambda: answer(
        MP4, f"Content-Range: bytes 0-{len(MP4) - 1}/{len(MP4) * 2}", status="206 Partial Content"
    ),
}


@pytest.mark.parametrize("case", CUT)
async def test_an_incomplete_video_is_never_kept(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its host announced; the error says that nothing was charged, and nothing secret."""
    monkeypatch.setattr(videos, "ATTEMPTS", 1)
    async with wire() as server:
        result = await save_video(tmp_path, server.link("film", CUT[case]()), filename="film")
    assert result.is_error
    assert files(tmp_path / "videos") == {}
    assert "could not be downloaded" in text(result)
    assert "Nothing was charged." in text(result)
    assert "secret" not in text(result)


OTHER: dict[str, tuple[bytes, str]] = {
    "page": (answer(PAGE, kind="text/html"), "an HTML or XML page"),
    "page as video": (answer(PAGE), "an HTML or XML page"),
    "page with a mark": (answer(b"\xef\xbb\xbf\r\n" + PAGE), "an HTML or XML page"),
    "page in Latin-1": (answer("<html>défaut</html>".encode("latin-1")), "an HTML or XML page"),
    "packed page": (answer(gzip.compress(PAGE), "Content-Encoding: gzip"), "an HTML or XML page"),
    "page in UTF-16": (answer(PAGE.decode().encode("utf-16")), "text"),
    "JSON": (answer(b' {"error": "expired"}', kind="application/json"), "JSON"),
    "text": (answer(b"gone"), "text"),
    "playlist": (answer(b"#EXTM3U\n1.ts\n", kind="application/vnd.apple.mpegurl"), "text"),
    "JPEG": (answer(JPEG, kind="image/jpeg"), "a JPEG picture"),
    "JPEG as video": (answer(JPEG), "a JPEG picture"),
    "PNG": (answer(b"\x89PNG\r\n\x1a\n" + bytes(50)), "a PNG picture"),
    "GIF": (answer(b"GIF89a" + bytes(50)), "a GIF picture"),
    "WebP": (answer(b"RIFF\x40\x00\x00\x00WEBPVP8 " + bytes(50)), "a WebP picture"),
    "AVIF": (answer(box(b"ftyp", b"avif\x00\x00\x00\x00avif") + bytes(50)), "a HEIF picture"),
    "empty, packed": (answer(gzip.compress(b""), "Content-Encoding: gzip"), "nothing"),
    "dead": (answer(b"no", status="403 Forbidden"), "HTTP 403"),
    "204": (answer(b"", status="204 No Content", length=None), "HTTP 204"),
    "300": (answer(MP4, status="300 Multiple Choices"), "HTTP 300"),
}


@pytest.mark.parametrize("case", OTHER)
async def test_another_link_is_tried_where_one_leads_to_no_video(tmp_path: Path, case: str) -> None:
    """Each of the task's links, in order."""
    async with wire() as server:
        links = (server.link("first", OTHER[case][0]), server.link("second", answer(MP4)))
        result = await save_video(tmp_path, *links, filename="film")
    assert not result.is_error, text(result)
    assert files(tmp_path / "videos") == {"film.mp4": MP4}


@pytest.mark.parametrize("case", OTHER)
async def test_what_is_no_video_is_never_kept(tmp_path: Path, case: str) -> None:
    """The error says what the link answers with, and nothing secret."""
    content, said = OTHER[case]
    async with wire() as server:
        result = await save_video(tmp_path, server.link("film", content), filename="film")
    assert result.is_error
    assert files(tmp_path / "videos") == {}
    assert said in text(result)
    assert "secret" not in text(result)


async def test_all_links_are_named_where_none_gives_the_video(tmp_path: Path) -> None:
    """What each of them answered with."""
    async with wire() as server:
        links = (server.link("first", OTHER["JPEG"][0]), server.link("second", OTHER["dead"][0]))
        result = await save_video(tmp_path, *links)
    assert "None of the 2 links gave the video." in text(result)
    assert "a JPEG picture" in text(result)
    assert "HTTP 403" in text(result)


async def test_a_broken_host_does_not_stop_the_other_link(tmp_path: Path) -> None:
    """Nobody listens at the first one."""
    async with wire() as server:
        link = server.link("second", answer(MP4))
        result = await save_video(tmp_path, "http://127.0.0.1:9/film.mp4?secret", link, filename="film")
    assert not result.is_error, text(result)


async def test_a_part_that_was_not_asked_for_is_completed(tmp_path: Path) -> None:
    """A host that gives only so many bytes at once."""
    half, total = len(MP4) // 2, len(MP4)
    first = f"Content-Range: bytes 0-{half - 1}/{total}"
    second = f"Content-Range: bytes {half}-{total - 1}/{total}"
    parts = [
        answer(MP4[:half], first, 'ETag: "1"', status="206 Partial Content"),
        answer(MP4[half:], second, 'ETag: "1"', status="206 Partial Content"),
    ]
    async with wire() as server:
        result = await save_video(tmp_path, server.link("film", *parts), filename="film")
    assert not result.is_error, text(result)
    assert files(tmp_path / "videos") == {"film.mp4": MP4}


async def test_an_encoded_answer_that_broke_off_is_requested_as_a_whole(tmp_path: Path) -> None:
    """A range of what a host encodes anew may be one of other bytes."""
    packed = gzip.compress(MP4)
    head = ("Content-Encoding: gzip", 'ETag: "1"')
    parts = [answer(packed[:500], *head, length=len(packed)), answer(packed, *head)]
    async with wire() as server:
        result = await save_video(tmp_path, server.link("film", *parts), filename="film")
    assert not result.is_error, text(result)
    assert files(tmp_path / "videos") == {"film.mp4": MP4}
    assert "range" not in "".join(server.requests).lower()
