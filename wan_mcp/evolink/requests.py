"""What the API takes: every constraint of a request, written once.

The tools' input schemas, the checks and the documentation all follow from ``VideoRequest`` and its two kinds.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)

from wan_mcp.net import addresses
from wan_mcp.validation import listed

ImageModel = Literal["wan2.5-image-to-video"]
TextModel = Literal["wan2.5-text-to-video"]
IMAGE_MODEL: ImageModel = "wan2.5-image-to-video"
TEXT_MODEL: TextModel = "wan2.5-text-to-video"
MODELS: tuple[str, ...] = (IMAGE_MODEL, TEXT_MODEL)
QualityName = Literal["480p", "720p", "1080p"]
AspectRatioName = Literal["16:9", "9:16", "1:1", "4:3", "3:4"]
QUALITIES: tuple[str, ...] = get_args(QualityName)
ASPECT_RATIOS: tuple[str, ...] = get_args(AspectRatioName)
UNAVAILABLE: Mapping[str, tuple[str, ...]] = {"480p": ("4:3", "3:4")}
"""The aspect ratios that are not available at a quality; the other qualities have all of them."""
PROMPT_MAX = 1000
CALLBACK_MAX = 2048
ONE_PICTURE = "Exactly one picture, the first frame"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if any((ord(char) < 0x20 and char not in "\t\n\r") or 0x7F <= ord(char) < 0xA0 for char in value):
        raise ValueError("must not have control characters")
    return value


def _web_address(value: str) -> str:
    parts = addresses.split(value)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must be an http:// or https:// address")
    return value


def _callback(value: str) -> str:
    parts = addresses.split(value)
    if parts.scheme != "https":
        raise ValueError("must begin with https://")
    if not addresses.is_public_host(parts.hostname or ""):
        raise ValueError("must be a public address, not one inside a private network")
    return value


Prompt = Annotated[
    str,
    Field(
        min_length=1,
        max_length=PROMPT_MAX,
        description=f"What should happen: subject, motion, camera. At most {PROMPT_MAX} characters.",
    ),
    AfterValidator(_text),
]
WebAddress = Annotated[str, AfterValidator(_web_address)]
ImageUrls = Annotated[
    list[WebAddress],
    Field(min_length=1, max_length=1, description=f"{ONE_PICTURE}."),
]
Duration = Annotated[
    Literal[5, 10], Field(description="Seconds of video: 5 or 10; 10 costs double. Default 5.")
]
Quality = Annotated[
    QualityName,
    Field(description="480p costs half, 1080p 1.67 times as much. Default 720p."),
]
_EXCEPT = "; ".join(f"{listed(ratios, 'and')} not at {quality}" for quality, ratios in UNAVAILABLE.items())
AspectRatio = Annotated[AspectRatioName, Field(description=f"Shape of the video; {_EXCEPT}. Default 16:9.")]
PromptExtend = Annotated[
    bool, Field(description="Whether Evolink's own model may rewrite the prompt. Default true.")
]
CallbackUrl = Annotated[
    str,
    Field(
        max_length=CALLBACK_MAX,
        description="Public https address that Evolink posts the finished task to. Default none.",
    ),
    AfterValidator(_callback),
]


class VideoRequest(BaseModel):
    """The body of ``POST /v1/videos/generations``: what both models take.

    The limits of ``model``, ``prompt``, ``image_urls``, ``duration`` and ``callback_url`` are from the
    endpoint's own page; ``quality``, ``prompt_extend`` and ``aspect_ratio`` are from newer pages of the
    vendor. An optional field is sent only when it was given.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    prompt: Prompt
    duration: Duration | None = None
    quality: Quality | None = None
    prompt_extend: PromptExtend | None = None
    callback_url: CallbackUrl | None = None

    def body(self) -> dict[str, Any]:
        """The JSON body: what was not given is left out."""
        return self.model_dump(exclude_none=True)


class ImageToVideoRequest(VideoRequest):
    """A video that begins with a picture."""

    image_urls: ImageUrls
    model: Annotated[ImageModel, Field(description=f"Only {IMAGE_MODEL}, the default.")] = IMAGE_MODEL


class TextToVideoRequest(VideoRequest):
    """A video from the prompt alone."""

    aspect_ratio: AspectRatio | None = None
    model: Annotated[TextModel, Field(description=f"Only {TEXT_MODEL}, the default.")] = TEXT_MODEL

    @field_validator("aspect_ratio")
    @classmethod
    def _is_available(cls, ratio: str | None, info: ValidationInfo) -> str | None:
        quality = info.data.get("quality")
        missing = UNAVAILABLE.get(quality or "", ())
        if ratio in missing:
            qualities = [name for name in QUALITIES if ratio not in UNAVAILABLE.get(name, ())]
            ratios = [name for name in ASPECT_RATIOS if name not in missing]
            raise ValueError(
                f"{ratio} is not available at {quality}: use {listed(qualities, 'or')}, "
                f"or {listed(ratios, 'or')} at {quality}"
            )
        return ratio


_KINDS: TypeAdapter[ImageToVideoRequest | TextToVideoRequest] = TypeAdapter(
    Annotated[ImageToVideoRequest | TextToVideoRequest, Field(discriminator="model")]
)


def request_of(body: object) -> VideoRequest:
    """The request that has this body.

    Raises:
        ValidationError: when it is not the body of a request.
    """
    return _KINDS.validate_python(body)
