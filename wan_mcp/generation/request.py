"""What a caller may request: the API's own request, with the picture from anywhere."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from wan_mcp.evolink import VideoRequest
from wan_mcp.net import addresses

_OTHER_SOURCES = re.compile(r"file:|data:|[/~\\]|[a-z]:[/\\]", re.IGNORECASE)


def _reference(value: str) -> str:
    if value.lower().startswith(("https://", "http://")):
        addresses.split(value)
    elif not _OTHER_SOURCES.match(value):
        raise ValueError("must be an https:// address, a file: URI, or an absolute path")
    return value


class GenerationRequest(VideoRequest):
    """A video request whose picture may still be a file, and what to do if an equal one was made before."""

    image_urls: Annotated[
        list[Annotated[str, AfterValidator(_reference)]],
        Field(
            min_length=1,
            max_length=1,
            description=(
                "Exactly one picture, the first frame: https address, / or ~ path, file: or data: URI. "
                "What does not fit is made to fit."
            ),
        ),
    ]
    new_take: Annotated[
        bool,
        Field(description="Pay for another video although an equal request has one. Default false."),
    ] = False

    def body(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude={"new_take"})
