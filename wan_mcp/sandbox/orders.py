"""The rules of a generation request: a body becomes an `Order`, or a `Problem` is raised."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

from wan_mcp.sandbox.problems import Problem

MODEL = "wan2.5-image-to-video"
TEXT_MODEL = "wan2.5-text-to-video"
PROMPT_CHARACTERS = 1000
CALLBACK_CHARACTERS = 2048
DURATIONS = (5, 10)
INTERNAL_NAMES = ("localhost", "local", "internal", "localdomain")
CREDITS_PER_SECOND = 5.1
QUALITY_FACTORS = {"480p": 0.5, "720p": 1.0, "1080p": 1.67}
SMALL_RATIOS = ("16:9", "9:16", "1:1")
RATIOS = (*SMALL_RATIOS, "4:3", "3:4")

Rule = Callable[[object], str | None]


@dataclass(frozen=True)
class Order:
    """A request that broke no rule."""

    prompt: str
    image_url: str | None
    """None for a video from text."""
    duration: int
    quality: str
    callback_url: str | None
    model: str = MODEL
    aspect_ratio: str | None = None
    """None for a video from a picture."""
    body: object = None
    """The JSON that was sent, with the fields that the sandbox ignores; None: another program sent it."""

    @property
    def credits(self) -> float:
        return round(self.duration * CREDITS_PER_SECOND * QUALITY_FACTORS[self.quality], 4)


def read_order(body: object) -> Order:
    if not isinstance(body, dict):
        raise Problem(400, "The body must be a JSON object.")
    for field, rule in REQUIRED.items():
        _check(rule, field, body.get(field))
    for field, rule in OPTIONAL.items():
        if field in body:
            _check(rule, field, body[field])
    order = Order(
        prompt=body["prompt"],
        image_url=None,
        duration=body.get("duration", 5),
        quality=body.get("quality", "720p"),
        callback_url=body.get("callback_url"),
        model=body["model"],
        body=body,
    )
    if order.model == MODEL:
        _check(_image_urls, "image_urls", body.get("image_urls"))
        return replace(order, image_url=body["image_urls"][0])
    ratio = body.get("aspect_ratio", "16:9")
    _check(_small_ratio if order.quality == "480p" else _ratio, "aspect_ratio", ratio)
    return replace(order, aspect_ratio=ratio)


def _check(rule: Rule, field: str, value: object) -> None:
    complaint = rule(value)
    if complaint is not None:
        raise Problem(400, complaint, param=field)


def _model(value: object) -> str | None:
    return None if value in (MODEL, TEXT_MODEL) else f"model must be {MODEL} or {TEXT_MODEL}."


def _prompt(value: object) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return "prompt is required and must be a non-empty string."
    if len(value) > PROMPT_CHARACTERS:
        return f"prompt must have at most {PROMPT_CHARACTERS} characters; it has {len(value)}."
    return None


def _image_urls(value: object) -> str | None:
    if not isinstance(value, list) or len(value) != 1:
        return "image_urls is required and must be an array with exactly 1 URL."
    url = _split(value[0])
    if url is None or url.scheme not in ("http", "https"):
        return "image_urls must contain an http or https URL."
    return None


def _duration(value: object) -> str | None:
    # In Python a bool is an int and 5.0 == 5; the API takes neither.
    if type(value) is int and value in DURATIONS:
        return None
    return "duration must be the integer 5 or 10."


def _quality(value: object) -> str | None:
    if isinstance(value, str) and value in QUALITY_FACTORS:
        return None
    return f"quality must be one of {', '.join(QUALITY_FACTORS)}."


def _ratio(value: object) -> str | None:
    return None if value in RATIOS else f"aspect_ratio must be one of {', '.join(RATIOS)}."


def _small_ratio(value: object) -> str | None:
    if value in SMALL_RATIOS:
        return None
    return f"At 480p, aspect_ratio must be one of {', '.join(SMALL_RATIOS)}."


def _prompt_extend(value: object) -> str | None:
    return None if isinstance(value, bool) else "prompt_extend must be true or false."


def _callback_url(value: object) -> str | None:
    url = _split(value)
    if url is None or url.scheme != "https":
        return "callback_url must be an https URL."
    if len(str(value)) > CALLBACK_CHARACTERS:
        return f"callback_url must have at most {CALLBACK_CHARACTERS} characters."
    if _is_internal(url.hostname or ""):
        return "callback_url must not point to an internal address."
    return None


def _split(value: object) -> SplitResult | None:
    try:
        url = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return url if url and url.hostname else None


def _is_internal(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host.rstrip(".").split(".")[-1] in INTERNAL_NAMES


REQUIRED: dict[str, Rule] = {"model": _model, "prompt": _prompt}
OPTIONAL: dict[str, Rule] = {
    "duration": _duration,
    "quality": _quality,
    "prompt_extend": _prompt_extend,
    "callback_url": _callback_url,
}
