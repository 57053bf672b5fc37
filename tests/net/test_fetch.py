"""Nothing unsafe is ever connected to: shown by what connects, and by listeners that remember who came."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
import pytest

from tests.net.hostile import LITERAL, RESOLVING
from tests.net.sites import Changing, Names, Recorder, Site, Visit, only, sending_to, showing, site
from wan_mcp.errors import AddressRefused, FetchFailed, WanError
from wan_mcp.net.fetch import Checked, PublicFetcher

pytestmark = pytest.mark.anyio


async def fetched(fetcher: PublicFetcher, address: str, **options: Any) -> bytes:
    async with fetcher.stream(address, **options) as response:
        return await response.aread()


def here(names: Names | None = None, **options: Any) -> PublicFetcher:
    """Takes 127.0.0.1 for a public address and every other one of this machine for a private one."""
    return PublicFetcher(
        public=only("127.0.0.1"), resolve=names or Names(pics_example="127.0.0.1"), **options
    )


def test_the_tables_are_long_enough() -> None:
    assert len(LITERAL) + len(RESOLVING) >= 90


@pytest.mark.parametrize("address", LITERAL)
async def test_a_hostile_address_is_neither_resolved_nor_connected_to(address: str) -> None:
    names, connector = Names(pics_example="93.184.215.14"), Recorder()

    with pytest.raises(AddressRefused) as refused:
        await fetched(PublicFetcher(resolve=names, transport=connector), address)

    assert connector.requests == []
    assert names.asked == []
    assert refused.value.charged == "no"


@pytest.mark.parametrize("name", RESOLVING)
async def test_a_name_that_leads_to_any_private_address_is_not_connected_to(name: str) -> None:
    names, connector = Names(), Recorder()
    names.names = RESOLVING

    with pytest.raises(AddressRefused):
        await fetched(PublicFetcher(resolve=names, transport=connector), f"https://{name}/cat.png")

    assert names.asked == [name]
    assert connector.requests == []


SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.1",
    "localhost",
    "[::ffff:127.0.0.1]",
    "0",
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_a_listener_on_this_machine_sees_nobody(host: str) -> None:
    async with site(showing(b"secret")) as private:
        with pytest.raises(AddressRefused):
            await fetched(PublicFetcher(), f"http://{host}:{private.port}/")

    assert private.connections == 0


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.7", "::1"])
async def test_a_developer_may_allow_private_addresses(ip: str) -> None:
    connector = Recorder()
    fetcher = PublicFetcher(allow_private=True, resolve=Names(nas=ip), transport=connector)

    assert await fetched(fetcher, "http://nas/cat.png") == b"seen"
    assert connector.requests[0].url.host == ip


async def test_the_checked_address_is_connected_to_under_its_own_name() -> None:
    async with site(showing(b"cat")) as public:
        assert await fetched(here(), f"http://Pics.Example:{public.port}/a/cat.png?size=5#top") == b"cat"

    visit = public.visits[0]
    assert visit.path == "/a/cat.png?size=5"
    assert visit.headers["host"] == f"pics.example:{public.port}"


async def test_a_name_is_resolved_once_so_that_it_cannot_change_between_check_and_connection() -> None:
    names = Changing(pics_example=["127.0.0.1", "127.0.0.2", "127.0.0.2"])
    async with (
        site(showing(b"cat")) as public,
        site(showing(b"secret"), host="127.0.0.2", port=public.port) as inner,
    ):
        assert await fetched(here(names), f"http://pics.example:{public.port}/") == b"cat"
        with pytest.raises(AddressRefused):
            await fetched(here(names), f"http://pics.example:{public.port}/")

    assert inner.connections == 0
    assert names.asked == ["pics.example"] * 2


async def test_the_next_address_of_a_name_is_tried_when_the_first_takes_no_connection() -> None:
    names = Names(pics_example=["127.0.0.3", "127.0.0.1"])
    fetcher = PublicFetcher(public=only("127.0.0.1", "127.0.0.3"), resolve=names)
    async with site(showing(b"cat")) as public:
        assert await fetched(fetcher, f"http://pics.example:{public.port}/") == b"cat"


REDIRECTS = [
    "http://127.0.0.2:{port}/",
    "//127.0.0.2:{port}/",
    "http://inner.example:{port}/",
    "http://2130706434:{port}/",
    "http://[::1]:{port}/",
    "http://localhost:{port}/",
    "http://me:word@pics.example:{port}/",
    "file:///etc/passwd",
    "ftp://pics.example/",
    "gopher://127.0.0.2:{port}/",
    "data:text/html,hello",
    "http://[",
    "\\\\127.0.0.2\\",
]


@pytest.mark.parametrize("place", REDIRECTS)
async def test_a_redirect_is_checked_like_the_first_address(place: str) -> None:
    names = Names(pics_example="127.0.0.1", inner_example="127.0.0.2")
    port = await free_port()
    async with (
        site(sending_to(place.format(port=port)), port=port) as public,
        site(showing(b"secret"), host="127.0.0.2", port=port) as inner,
    ):
        with pytest.raises(AddressRefused, match=r"^pics\.example/start redirects to "):
            await fetched(here(names), f"http://pics.example:{port}/start")

    assert len(public.visits) == 1
    assert inner.connections == 0


async def free_port() -> int:
    async with site(showing(b"")) as somewhere:
        return somewhere.port


async def test_a_second_redirect_is_checked_as_well() -> None:
    port = await free_port()
    answer = sending_to("/on", f"http://127.0.0.2:{port}/")
    async with site(answer, port=port), site(showing(b""), host="127.0.0.2", port=port) as inner:
        with pytest.raises(AddressRefused):
            await fetched(here(), f"http://pics.example:{port}/")

    assert inner.connections == 0


async def test_five_redirects_are_followed_and_a_sixth_is_not() -> None:
    async def answer(visit: Visit) -> None:
        left = int(visit.path[1:])
        await (visit.answer(302, location=f"/{left - 1}") if left else visit.answer(200, b"cat"))

    async with site(answer) as public:
        assert await fetched(here(), f"http://pics.example:{public.port}/5") == b"cat"
        with pytest.raises(FetchFailed, match="redirects more than 5 times"):
            await fetched(here(), f"http://pics.example:{public.port}/6")


async def test_neither_keys_nor_cookies_are_sent_and_the_program_says_who_it_is() -> None:
    headers = {"Authorization": "Bearer sk-canary", "Cookie": "a=b", "Host": "x.example", "Range": "bytes=5-"}

    async def answer(visit: Visit) -> None:
        if visit.path == "/":
            await visit.answer(302, location="/next", set_cookie="session=1")
        else:
            await visit.answer(200)

    async with site(answer) as public:
        await fetched(here(), f"http://pics.example:{public.port}/", headers=headers)

    for visit in public.visits:
        assert visit.headers == {
            "host": f"pics.example:{public.port}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "range": "bytes=5-",
            "user-agent": "wan-mcp/0.1.0",
        }


async def test_no_connection_is_kept_for_another_name_at_the_same_address() -> None:
    names = Names(one_example="127.0.0.1", two_example="127.0.0.1")

    async def answer(visit: Visit) -> None:
        await visit.answer(200, b"cat", connection="keep-alive")

    fetcher = here(names)
    async with site(answer) as public:
        await fetched(fetcher, f"http://one.example:{public.port}/")
        await fetched(fetcher, f"http://two.example:{public.port}/")
    await fetcher.aclose()

    assert public.connections == 2


class Silent(httpx2.AsyncByteStream):
    """A body that begins and never goes on."""

    closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"a"
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("where", ["name", "head", "body"])
async def test_the_deadline_is_for_the_whole_fetch(where: str) -> None:
    body = Silent()

    async def resolve(host: str, port: int) -> list[str]:
        if where == "name":
            await anyio.sleep_forever()
        return ["127.0.0.1"]

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if where == "head":
            await anyio.sleep_forever()
        return httpx2.Response(200, stream=body)

    fetcher = PublicFetcher(public=only("127.0.0.1"), resolve=resolve, transport=httpx2.MockTransport(answer))
    with pytest.raises(FetchFailed, match=r"^pics\.example/cat did not answer in full within 0\.02 seconds"):
        await fetched(fetcher, "https://pics.example/cat?sig=5ecret", deadline=0.02)

    assert body.closed == (where == "body")


async def test_a_fetch_that_is_left_early_is_closed() -> None:
    body = Silent()
    fetcher = here(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, stream=body)))

    async with fetcher.stream("https://pics.example/") as response:
        assert await anext(response.aiter_bytes()) == b"a"

    assert body.closed


async def refusing() -> Site:
    async with site(showing(b"")) as gone:
        return gone


async def test_failures_are_told_without_the_query() -> None:
    async def cut(visit: Visit) -> None:
        await visit.begin(200, {"content-length": "100"})
        await visit.send(b"too short")

    async def garble(visit: Visit) -> None:
        await visit.stream.send(b"SSH-2.0-OpenSSH\r\n\r\n")

    closed = await refusing()
    async with site(cut) as cutting, site(garble) as garbling:
        for address, told in (
            (f"http://pics.example:{closed.port}/a?sig=5ecret", "pics.example/a refused the connection"),
            (
                f"http://pics.example:{cutting.port}/a?sig=5ecret",
                "pics.example/a ended the transfer early",
            ),
            (
                f"http://pics.example:{garbling.port}/a?sig=5ecret",
                "pics.example/a ended the transfer early",
            ),
            ("http://nobody.example/a?sig=5ecret", "nobody.example/a: the host name is unknown"),
        ):
            with pytest.raises(FetchFailed) as failed:
                await fetched(here(), address)
            assert failed.value.message == told


async def test_the_checks_alone_connect_to_nothing() -> None:
    connector = Recorder()
    fetcher = PublicFetcher(
        resolve=Names(pics_example=["93.184.215.14", "2606:4700:4700::1111"]), transport=connector
    )

    checked = await fetcher.check("HTTPS://PICS.example:443/\u00e4?a=%2F#x")

    url = httpx2.URL("https://pics.example/%C3%A4?a=%2F")
    assert checked == Checked(url, ("93.184.215.14", "2606:4700:4700::1111"))
    assert connector.requests == []


async def test_an_error_of_the_fetching_is_one_of_ours() -> None:
    assert issubclass(FetchFailed, WanError)


async def test_the_real_resolver_is_asked_when_none_is_given() -> None:
    async with site(showing(b"cat")) as public:
        fetcher = PublicFetcher(allow_private=True)
        assert await fetched(fetcher, f"http://localhost:{public.port}/") == b"cat"
        await fetcher.aclose()
