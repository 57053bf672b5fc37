"""The card that follows a video in the chat: one HTML page, for hosts that show MCP Apps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from mcp.server.apps import APP_MIME_TYPE, Apps, ResourceCsp
from mcp.server.mcpserver.resources import FunctionResource

from wan_mcp.generation.owners import Deployment
from wan_mcp.settings import Settings

PLAYER = "ui://wan/player.html"
SHOWN_BY_THE_PLAYER = {"ui": {"resourceUri": PLAYER}, "ui/resourceUri": PLAYER}
"""The ``_meta`` of a tool that has the card. The flat key is for older hosts."""


def card(settings: Settings, deployment: Deployment, video_domains: Sequence[str] = ()) -> Apps:
    """The extension with the page, which is read from the disk each time a host asks for it.

    A host lets the page play videos only from the domains that are named here: Evolink's, and that of the
    API's address, from which the sandbox's videos come, and those of a hosted server's storage.
    """
    api = urlsplit(settings.base_url)
    csp = ResourceCsp(
        resource_domains=["https://*.evolink.ai", f"{api.scheme}://{api.netloc}", *video_domains]
    )
    apps = Apps()
    apps.add_resource(
        FunctionResource(
            uri=PLAYER,
            name="player",
            title="Video card",
            description="Follows a video while it is made, and plays it.",
            mime_type=APP_MIME_TYPE,
            meta={"ui": {"csp": csp.model_dump(by_alias=True, exclude_none=True), "prefersBorder": True}},
            fn=partial(page_for, deployment),
        )
    )
    return apps


def page_for(deployment: Deployment) -> str:
    """The page for this deployment. That of a hosted server knows that there are no saved files."""
    page = Path(__file__).with_name("player.html").read_text("utf-8")
    return page if deployment.local else page.replace("<html ", "<html data-hosted ", 1)
