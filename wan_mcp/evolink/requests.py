"""What the API takes: every constraint of a request, written once.

The tool's input schema, the checks and the documentation all follow from ``VideoRequest``.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wan_mcp.net import addresses

ModelName = Literal["wan2.5-image-to-video"]
MODEL: ModelName = "wan2.5-image-to-video"
PROMPT_MAX = 1000
CALLBACK_MAX = 2048


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if any((ord(char) < 0x20 and char not in "\t\n\r") or 0x7F <= ord(char) < 0xA0 for char in value):
        raise ValueError("must not hold control characters")
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
    Field(min_length=1, max_length=1, description="Exactly one picture, the first frame."),
]
Duration = Annotated[
    Literal[5, 10], Field(description="Seconds of video: 5 or 10; 10 costs double. Default 5.")
]
Quality = Annotated[
    Literal["480p", "720p", "1080p"],
    Field(description="480p costs half, 1080p 1.67 times as much. Default 720p."),
]
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
    """The body of ``POST /v1/videos/generations``.

    Limits of ``model``, ``prompt``, ``image_urls``, ``duration`` and ``callback_url``: the endpoint's
    own page. ``quality`` and ``prompt_extend``: a newer page of the vendor. What is optional is sent
    only when it was given.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    prompt: Prompt
    image_urls: ImageUrls
    duration: Duration | None = None
    quality: Quality | None = None
    prompt_extend: PromptExtend | None = None
    callback_url: CallbackUrl | None = None
    model: Annotated[ModelName, Field(description=f"Only {MODEL}, the default.")] = MODEL

    def body(self) -> dict[str, Any]:
        """The JSON body: what was not given is left out."""
        return self.model_dump(exclude_none=True)
