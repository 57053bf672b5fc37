"""What a caller may request: the API's requests, with a take, and a picture from anywhere."""

from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from wan_mcp.errors import PictureError
from wan_mcp.evolink import ImageToVideoRequest, TextToVideoRequest, VideoRequest
from wan_mcp.evolink.requests import ONE_PICTURE
from wan_mcp.generation.outcomes import MAX_TAKE
from wan_mcp.images import sources
from wan_mcp.images.names import unquoted
from wan_mcp.net import addresses


def _reference(value: str, accepted: sources.SourceRules) -> str:
    """Refuse what cannot name a picture. Nothing is read here; the picture itself is checked later."""
    try:
        kind = sources.kind(value, accepted)
        if kind == "web":
            addresses.split(unquoted(value))
        elif kind == "file":
            sources.local_paths(value)
    except PictureError as error:
        raise ValueError(f"{error.message}. {error.next_step.removesuffix('.')}") from None
    return value


_reference_here = partial(_reference, accepted=sources.ON_THE_USERS_MACHINE)
_reference_hosted = partial(_reference, accepted=sources.HOSTED)


class _WithTake(VideoRequest):
    """A video request, and which version of it is wanted."""

    take: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_TAKE,
            description="Which version of the same request: each take is another video. Default 1.",
        ),
    ] = 1

    def body(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude={"take"})


class GenerationRequest(_WithTake, ImageToVideoRequest):
    """A request for a video from a picture, which need not have a web address yet."""

    image_urls: Annotated[
        list[Annotated[str, AfterValidator(_reference_here)]],
        Field(
            min_length=1,
            max_length=1,
            description=(
                f"{ONE_PICTURE}: https address, / or ~ path, file: or data: URI, or "
                "a completed task's id: its last frame, to continue it. What does not fit is made to fit."
            ),
        ),
    ]

    @property
    def picture(self) -> str:
        """The picture as the caller named it."""
        return self.image_urls[0]


class HostedGenerationRequest(GenerationRequest):
    """A request for a video from a picture to a hosted server, which reads no files."""

    image_urls: Annotated[
        list[Annotated[str, AfterValidator(_reference_hosted)]],
        Field(
            min_length=1,
            max_length=1,
            description=(
                f"{ONE_PICTURE}: https address, upload: id of prepare_upload, data: URI, or a completed "
                "task's id: its last frame, to continue it. What does not fit is made to fit."
            ),
        ),
    ]


class TextGenerationRequest(_WithTake, TextToVideoRequest):
    """A request for a video from text."""

    @property
    def picture(self) -> None:
        """None: a video from text has no picture."""


Request = GenerationRequest | TextGenerationRequest
