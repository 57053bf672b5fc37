"""Downloads that break off go on, or begin anew."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.videos.host import FILM, OTHER, Body, Host, files, refused, save, status

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tenth", range(11))
async def test_a_download_that_breaks_goes_on_where_it_broke(folder: Path, tenth: int) -> None:
    """Cut at each tenth of the file: no byte is sent twice, and the file is right."""
    host = Host()
    host.script.append(host.cut(len(FILM) * tenth // 10))
    saved = await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert saved.sha256 == hashlib.sha256(FILM).hexdigest()
    if 0 < tenth < 10:
        assert host.asked == [None, f"bytes={len(FILM) * tenth // 10}-"]
        assert host.requests[1].headers["if-range"] == '"1"'
    assert host.sent == len(FILM)


async def test_a_download_may_break_at_every_tenth(folder: Path) -> None:
    """As long as each attempt brings something, it goes on."""
    host = Host()
    host.script += [host.cut(len(FILM) // 10)] * 9
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert len(host.requests) == 10
    assert host.sent == len(FILM)


@pytest.mark.parametrize("last", [1, len(FILM) - 1])
async def test_single_bytes_are_resumed(folder: Path, last: int) -> None:
    """The first and the last one are no special case."""
    host = Host()
    host.script.append(host.cut(last))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"last-modified": "Sun, 22 Nov 2026 13:00:00 GMT"}, "Sun, 22 Nov 2026 13:00:00 GMT"),
        ({"etag": 'W/"1"'}, None),
        ({}, None),
    ],
)
async def test_only_what_surely_is_the_same_version_is_resumed(
    folder: Path, headers: dict[str, str], validator: str | None
) -> None:
    """A date serves as well as a strong tag; without either, it begins anew."""
    host = Host(headers=headers)
    host.script.append(host.cut(20_000))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.requests[1].headers.get("if-range") == validator
    assert host.asked[1] == ("bytes=20000-" if validator else None)


async def test_nothing_of_an_earlier_attempt_stays(folder: Path) -> None:
    """Beginning anew with a file that became shorter."""
    host = Host(ranges=False)
    host.script.append(Host(OTHER).cut(58_000))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


async def test_a_host_that_cannot_go_on_sends_all_of_it_again(folder: Path) -> None:
    """Its answer to the second request begins with the first byte."""
    host = Host(ranges=False)
    host.script += [host.cut(20_000), host.cut(30_000)]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.asked == [None, "bytes=20000-", "bytes=30000-"]


def _honest(host: Host, request: httpx2.Request) -> httpx2.Response:
    """The tag does not fit any more: all of the new file."""
    host.content, host.headers = OTHER, {"etag": '"2"'}
    return host.serve(request)


def _deaf_to_tags(host: Host, request: httpx2.Request) -> httpx2.Response:
    """The rest of the new file, as if the tag had fitted."""
    request.headers["if-range"] = '"2"'
    return _honest(host, request)


def _deaf_and_mute(host: Host, request: httpx2.Request) -> httpx2.Response:
    """The rest of the new file, and not even its tag."""
    response = _deaf_to_tags(host, request)
    del response.headers["etag"]
    return response


def _of_the_same_length(host: Host, request: httpx2.Request) -> httpx2.Response:
    response = _deaf_to_tags(host, request)
    response.headers["content-range"] = f"bytes 20000-{len(FILM) - 1}/{len(FILM)}"
    return response


@pytest.mark.parametrize("answer", [_honest, _deaf_to_tags, _deaf_and_mute, _of_the_same_length])
async def test_a_file_that_changed_in_between_is_not_mixed(
    folder: Path, answer: Callable[[Host, httpx2.Request], httpx2.Response]
) -> None:
    """However badly the host behaves, what is saved is the new file."""
    host = Host()
    host.script += [host.cut(20_000), partial(answer, host)]
    await save(host, folder)
    assert files(folder) == {"film.mp4": OTHER}


@pytest.mark.parametrize(
    "about",
    [
        "bytes 0-49999/50000",
        "bytes 19999-49999/50000",
        "bytes 20000-59999/60000",
        "items 20000-",
        "bytes",
        "",
    ],
)
async def test_a_part_that_does_not_fit_is_not_taken(folder: Path, about: str) -> None:
    """It begins anew, asking for all of it."""
    host = Host()

    def other_part(request: httpx2.Request) -> httpx2.Response:
        response = host.serve(request)
        response.headers["content-range"] = about
        return response

    host.script += [host.cut(20_000), other_part]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.asked == [None, "bytes=20000-", None]


async def test_a_host_that_denies_the_part_is_asked_for_all(folder: Path) -> None:
    """HTTP 416 does not come again and again."""
    host = Host()
    host.script += [host.cut(20_000), status(416)]
    await save(host, folder)
    assert host.asked == [None, "bytes=20000-", None]


async def test_small_parts_are_put_together(folder: Path) -> None:
    """Some hosts give no more than so many bytes at once."""
    host = Host()

    def some(request: httpx2.Request) -> httpx2.Response:
        first = int((request.headers.get("range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        last = min(first + 9_999, len(FILM) - 1)
        response = host.serve(request)
        if first:
            response.stream = Body(FILM[first : last + 1])
            response.headers["content-range"] = f"bytes {first}-{last}/{len(FILM)}"
            response.headers["content-length"] = str(last + 1 - first)
        return response

    host.script += [host.cut(10_000), some, some, some, some]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_break_is_seen_where_no_length_was_announced(folder: Path, ranges: bool) -> None:
    """What came before it is not taken for the whole."""
    host = Host(ranges=ranges)
    host.script.append(host.cut(20_000, length=None))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}


async def test_an_end_that_comes_too_early_is_seen_by_the_file_itself(folder: Path) -> None:
    """No length was announced and the connection ended in good order: the boxes tell that some is missing."""
    host = Host()
    early = Host(FILM[:20_000])
    host.script.append(partial(early.serve, length=None))
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.asked == [None, "bytes=20000-"]


async def test_a_video_that_always_ends_too_early_is_refused(folder: Path) -> None:
    """Half a file gets no final name, although the host says that this is all."""
    error = await refused(Host(FILM[:20_000]), folder)
    assert "is cut off" in str(error)


@pytest.mark.parametrize(
    ("length", "said"),
    [("60000", "60000"), ("49000", "more bytes than it announced"), ("24", "more bytes than it announced")],
)
async def test_a_wrong_length_is_an_error(folder: Path, length: str, said: str) -> None:
    """Too long: the rest never comes. Too short: there is more of it."""
    host = Host(ranges=False)
    host.script += [partial(host.serve, length=length)] * 9
    error = await refused(host, folder)
    assert said in str(error) or "50,000 bytes arrived" in str(error)
    assert error.next_step or length != "60000"


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e3", "9" * 30, "²"])
async def test_a_length_that_is_no_number_is_ignored(folder: Path, length: str) -> None:
    """As if none had been announced."""
    host = Host()

    def odd(request: httpx2.Request) -> httpx2.Response:
        response = host.serve(request, length=None)
        response.headers["content-length"] = length
        return response

    host.script.append(odd)
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
