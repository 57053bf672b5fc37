"""What hosts answer instead of a video, and whom they are told of."""

from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.clock import now
from tests.videos.host import FILM, HOST, PIECE, Answer, Body, Host, files, film, page, refused, save, status
from wan_mcp.errors import LinkDead
from wan_mcp.videos import download as videos

pytestmark = pytest.mark.anyio


def broken(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page("text/html; charset=utf-8", b"<!DOCTYPE html><title>Sign in</title>"), "HTML"),
        (page("application/json", b'{"error": "expired"}'), "JSON"),
        (page("text/plain", b"gone"), "text"),
        (page("image/png", b"\x89PNG\r\n\x1a\n" + bytes(50)), "a PNG picture"),
        (page("video/mp4", b"<!DOCTYPE html>" * 1000), "HTML"),
        (page("video/mp4", b"<?xml version='1.0'?><Error/>"), "XML"),
        (page("video/mp4", b"abc"), "text"),
        (page("video/mp4", b""), "0 bytes arrived"),
    ],
)
async def test_what_is_no_video_is_refused(folder: Path, answer: Answer, said: str) -> None:
    """Whatever the status and the type say, the first bytes decide."""
    assert said in str(await refused(Host(b"", *[answer] * 9), folder))


async def test_first_bytes_may_come_one_by_one(folder: Path) -> None:
    """What comes is judged once enough of it is there."""
    content = film(300)
    answers: list[Answer] = [
        lambda request: httpx2.Response(
            200, headers={"content-type": "video/mp4"}, stream=Body(content, piece=1)
        )
    ]
    await save(Host(b"", *answers), folder)
    assert files(folder) == {"film.mp4": content}


async def test_more_than_a_gibibyte_is_not_begun(folder: Path) -> None:
    """Where the length is announced, no byte of it is fetched."""
    host = Host()
    host.script.append(partial(host.serve, length=str(1024**3 + 1)))
    assert "1,073,741,824 bytes" in str(await refused(host, folder))
    assert host.sent == 0


async def test_a_stream_without_end_is_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not announced, the bound stops it."""
    monkeypatch.setattr(videos, "MAX_SIZE", 100_000)
    host = Host(film(10_000_000))
    host.script.append(partial(host.serve, length=None))
    assert "100,000 bytes" in str(await refused(host, folder))
    assert host.sent <= 100_000 + PIECE


async def test_a_video_of_exactly_the_bound_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more would be refused."""
    monkeypatch.setattr(videos, "MAX_SIZE", len(FILM))
    await save(Host(), folder)
    assert files(folder) == {"film.mp4": FILM}


@pytest.mark.parametrize("every", [60, 10_000], ids=["drip", "silence"])
async def test_a_download_ends_in_time(folder: Path, every: float) -> None:
    """A piece a minute, or none at all: after a quarter of an hour it is given up."""
    start = now()
    error = await refused(Host(every=every), folder)
    assert now() - start == pytest.approx(videos.MAX_SECONDS, abs=1)
    assert "too long" in str(error)
    assert "nothing is lost while the link works" in error.next_step


@pytest.mark.parametrize("answer", [*map(status, (500, 502, 503, 504, 429, 408, 425)), broken])
async def test_a_failure_that_passes_is_waited_out(folder: Path, answer: Answer) -> None:
    """Three times the host stumbles; then it is well."""
    await save(Host(FILM, answer, answer, answer), folder)
    assert files(folder) == {"film.mp4": FILM}


async def test_a_failure_in_the_middle_does_not_lose_what_came(folder: Path) -> None:
    """After the stumbling it goes on where it was."""
    host = Host()
    host.script += [host.cut(20_000), status(503), status(429), status(500)]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert host.sent == len(FILM)


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("7", 7, 8), ("3600", 30, 31), ("soon", 0, 2), ("9" * 999, 30, 31)]
)
async def test_the_host_may_ask_for_a_pause(folder: Path, asked: str, least: float, most: float) -> None:
    """Within reason."""
    start = now()
    await save(Host(FILM, status(429, retry_after=asked)), folder)
    assert least <= now() - start <= most


@pytest.mark.parametrize(("answer", "said"), [(status(503), "HTTP 503"), (broken, "refused the connection")])
async def test_a_failure_that_stays_is_an_error(folder: Path, answer: Answer, said: str) -> None:
    """After four attempts, within seconds, with what was wrong."""
    host, start = Host(FILM, *[answer] * 99), now()
    error = await refused(host, folder)
    assert len(host.requests) == 4
    assert now() - start < 10
    assert said in str(error)
    assert "nothing is lost while the link works" in error.next_step


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
async def test_a_link_that_is_refused_is_dead(folder: Path, code: int) -> None:
    """That is said as such, so that another link can be asked for; it is not tried again."""
    host = Host(FILM, status(code))
    error = await refused(host, folder)
    assert isinstance(error, LinkDead)
    assert f"HTTP {code}" in str(error)
    assert len(host.requests) == 1


@pytest.mark.parametrize("code", [204, 300, 304])
async def test_an_answer_that_makes_no_sense_is_an_error(folder: Path, code: int) -> None:
    """Neither a video nor a refusal."""
    assert f"HTTP {code}" in str(await refused(Host(FILM, status(code)), folder))


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1/film.mp4?secret",
        "http://[::1]/film.mp4?secret",
        "https://192.168.1.1/film.mp4?secret",
        "http://169.254.169.254/latest/meta-data?secret",
        "https://nas.local/film.mp4?secret",
        "ftp://media.example.com/film.mp4?secret",
        "file:///etc/passwd",
        "https://user:secret@media.example.com/film.mp4",
    ],
)
async def test_a_link_that_must_not_be_followed_is_refused(folder: Path, link: str) -> None:
    """By the rules for pictures; nothing is connected to."""
    host = Host()
    error = await refused(host, folder, link=link)
    assert "WAN_MCP_ALLOW_PRIVATE_NETWORK" in error.next_step
    assert host.requests == []


async def test_a_redirect_into_a_private_network_is_refused(folder: Path) -> None:
    """Each hop is checked."""
    host = Host(FILM, status(302, location="http://10.0.0.1/film.mp4?secret"))
    error = await refused(host, folder)
    assert "private" in str(error)
    assert len(host.requests) == 1


async def test_a_redirect_to_a_public_address_is_followed(folder: Path) -> None:
    """Results often live behind one; the part that is asked for goes along."""
    to_store = status(307, location="https://store.example.org/film.mp4")
    host = Host(FILM, to_store)
    host.script += [host.cut(20_000), to_store]
    await save(host, folder)
    assert files(folder) == {"film.mp4": FILM}
    assert [request.headers["host"] for request in host.requests] == [HOST, "store.example.org"] * 2
    assert host.asked == [None, None, "bytes=20000-", "bytes=20000-"]


async def test_private_links_are_followed_where_that_is_allowed(folder: Path) -> None:
    """For the sandbox and for development, also through a redirect."""
    host = Host(FILM, status(302, location="http://10.0.0.1/film.mp4"))
    await save(host, folder, link="http://127.0.0.1:8787/results/1.mp4", allow_private=True)
    assert files(folder) == {"film.mp4": FILM}


async def test_media_hosts_get_no_secrets(folder: Path) -> None:
    """No key and no cookies, not even their own."""
    host = Host(headers={"etag": '"1"', "set-cookie": "id=7; Path=/"})
    host.script.append(host.cut(20_000))
    await save(host, folder)
    assert [request.headers.keys() for request in host.requests] == [
        {"host", "accept", "accept-encoding", "user-agent"},
        {"host", "accept", "accept-encoding", "user-agent", "range", "if-range"},
    ]


@pytest.mark.parametrize("ranges", [True, False])
async def test_notices_rise(folder: Path, ranges: bool) -> None:
    """The first at once, then every second, the last at the end; also where it has to begin anew."""
    told: list[tuple[float, int, int | None]] = []

    async def notice(received: int, length: int | None) -> None:
        told.append((now(), received, length))

    host = Host(every=0.4, ranges=ranges)
    host.script.append(host.cut(30_000))
    start = now()
    await save(host, folder, notice=notice)
    amounts = [received for _, received, _ in told]
    assert amounts == sorted(set(amounts))
    assert (amounts[0], amounts[-1]) == (PIECE, len(FILM))
    assert {length for _, _, length in told} == {len(FILM)}
    assert told[0][0] - start < 1
    assert 5 <= len(told) <= (now() - start) + 2
