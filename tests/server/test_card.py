"""What a host is told about the card: which tools have it, and the page with its policy."""

from pathlib import Path

import pytest
from mcp import Client
from mcp.types import TextResourceContents

from tests.calls import ERAS
from wan_mcp.server import card
from wan_mcp.server.app import create_server
from wan_mcp.settings import Settings

pytestmark = pytest.mark.anyio

PAGE = Path(card.__file__).with_name("player.html")


def client(mode: str, **environ: str) -> Client:
    return Client(create_server(Settings.load(environ)), mode=mode)


@ERAS
async def test_only_the_tools_that_start_a_video_have_a_card(mode: str) -> None:
    """If a wait had one, every wait would add a card."""
    async with client(mode) as connected:
        tools = (await connected.list_tools()).tools
    assert {tool.name: tool.meta for tool in tools if tool.meta} == {
        name: {"ui": {"resourceUri": card.PLAYER}, "ui/resourceUri": card.PLAYER}
        for name in ("generate_video", "generate_video_from_text")
    }


@ERAS
@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://api.evolink.ai", "https://api.evolink.ai"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("https://gateway.example/evolink/v1", "https://gateway.example"),
    ],
)
async def test_the_page_comes_with_the_domains_of_its_videos(mode: str, address: str, origin: str) -> None:
    """Only Evolink's domains and that of the configured API, so that the sandbox's videos play."""
    async with client(mode, EVOLINK_BASE_URL=address) as connected:
        listed = {str(one.uri): one for one in (await connected.list_resources()).resources}[card.PLAYER]
        (content,) = (await connected.read_resource(card.PLAYER)).contents
    ui = {"csp": {"resourceDomains": ["https://*.evolink.ai", origin]}, "prefersBorder": True}
    assert isinstance(content, TextResourceContents)
    assert (content.mime_type, content.text) == ("text/html;profile=mcp-app", PAGE.read_text("utf-8"))
    assert content.meta == listed.meta == {"ui": ui}


async def test_the_extension_is_declared() -> None:
    """Hosts look for it when they discover the server."""
    async with client("auto") as connected:
        capabilities = connected.server_capabilities
    assert capabilities is not None
    assert "io.modelcontextprotocol/ui" in (capabilities.extensions or {})


def test_the_page_is_small_loads_nothing_and_takes_no_markup() -> None:
    """Under 21,000 bytes, without an address of anything that would be loaded, and without storage."""
    page = PAGE.read_text("utf-8")
    assert len(page.encode()) < 21_000
    loads = ("http://", "https://", "src=", "url(", "fetch(", "import(", "@import", "autoplay")
    others = ("localStorage", "cookie", "innerHTML", "insertAdjacentHTML", "eval(")
    assert [word for word in (*loads, *others) if word in page] == []
