"""The tool by which a hosted server's caller gives a picture that has no web address."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from wan_mcp.evolink.values import iso
from wan_mcp.generation.outcomes import FROM_PICTURE
from wan_mcp.generation.service import VideoService
from wan_mcp.generation.uploads import ADDRESS_SECONDS, UploadAddress
from wan_mcp.server.arguments import NoArguments
from wan_mcp.server.tool import Definition

MINUTES = f"{ADDRESS_SECONDS / 60:g} minutes"


class UploadView(BaseModel):
    """Where a picture can be sent, and what to call it then."""

    upload_url: str
    image_url: Annotated[str, Field(description="For image_urls, once the picture is uploaded")]
    expires_at: Annotated[str | None, Field(description="Of upload_url; ISO 8601, UTC")] = None
    next: str
    """What to do now."""


async def prepare_upload(
    service: VideoService, arguments: NoArguments, context: Context[Any]
) -> CallToolResult:
    assert service.uploads is not None
    return upload_result(await service.uploads.prepare())


def upload_result(address: UploadAddress) -> CallToolResult:
    """The answer of ``prepare_upload``."""
    image_url, expires_at = f"upload:{address.id}", iso(address.expires_at)
    said = (
        f"If you can read the file, run: curl -T FILE '{address.url}'\nOtherwise tell the user to open "
        "that address in a browser and to choose the picture there. Then call "
        f'{FROM_PICTURE} with image_urls ["{image_url}"]. The address takes one picture of up to 20 MB, '
        f"within {MINUTES}, until {expires_at}. Whoever has it can use it, so give it to the user only."
    )
    view = UploadView(upload_url=address.url, image_url=image_url, expires_at=expires_at, next=said)
    return CallToolResult(
        content=[TextContent(type="text", text=said)],
        structured_content=view.model_dump(exclude_none=True),
    )


PREPARE_UPLOAD = Definition(
    name="prepare_upload",
    title="Prepare an upload",
    description=(
        "Get a one-time address for a picture that is a file or was pasted into the chat: you send it there "
        f"with curl, or the user in a browser. Good for {MINUTES} and 20 MB. Free."
    ),
    arguments=NoArguments,
    answer=UploadView,
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
    handler=prepare_upload,
)
