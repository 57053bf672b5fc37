"""From the command line of ``wan-mcp generate`` to a request."""

import os
from pathlib import Path

from wan_mcp.errors import PictureError
from wan_mcp.evolink.values import is_task_id
from wan_mcp.generation.request import GenerationRequest, Request, TextGenerationRequest
from wan_mcp.images import sources
from wan_mcp.images.names import spellings, unquoted
from wan_mcp.validation import parse, plain_schema


def contradiction(
    words: int, text: bool, from_task: str | None, aspect_ratio: str | None, sandbox: bool
) -> str | None:
    """What contradicts itself on the command line; None where nothing does.

    Args:
        words: how many arguments beside the options are not empty.
        text: whether the video is made from text alone.
        from_task: the task to continue.
        aspect_ratio: the shape of the video.
        sandbox: whether the sandbox makes the video.
    """
    if text and from_task:
        return "--text makes a video without a picture, --from-task continues another video: give only one."
    if words != (1 if text or from_task else 2):
        return (
            "Give IMAGE and PROMPT, or PROMPT alone with --text or --from-task ID, each in quotation marks."
        )
    if from_task and not is_task_id(from_task):
        return "--from-task takes the id of a task, as wan-mcp tasks prints it."
    if from_task and sandbox:
        return "--from-task does not go with --sandbox: the sandbox begins without tasks."
    if aspect_ratio and not text:
        return "--aspect-ratio goes only with --text: otherwise the picture decides the shape."
    return None


def request_of(
    image: str | None, prompt: str, *, from_task: str | None = None, **options: str | int | None
) -> Request:
    """The request of a command line.

    Args:
        image: the picture; None for a video from text, or one that continues a task.
        prompt: what should happen.
        from_task: the task to continue.
        options: the other options, by the names of the request's fields; None counts as not given.

    Raises:
        InvalidRequest: with every problem in one text.
    """
    given = {"prompt": prompt, **options}
    if image is None and from_task is None:
        return parse("generate", TextGenerationRequest, plain_schema(TextGenerationRequest), given)
    given["image_urls"] = from_task or absolute(image or "")
    return parse("generate", GenerationRequest, plain_schema(GenerationRequest), given)


def absolute(image: str) -> str:
    """A relative path as an absolute one; anything else unchanged."""
    if os.path.exists(image):  # noqa: PTH110  false for what cannot be a path
        return str(Path(image).absolute())
    try:
        kind = sources.kind(image)
    except PictureError:  # raised again where the picture is read
        return image
    bare = unquoted(image)
    meant = spellings(image, windows=os.name == "nt")
    if any(one.startswith("~") or Path(one).is_absolute() for one in meant):
        return image
    if kind != "file" or not bare or bare.lower().startswith("file:"):
        return image
    return str(Path(bare.removeprefix("@")).absolute())
