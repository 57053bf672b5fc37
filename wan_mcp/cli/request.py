"""What ``wan-mcp generate`` was told on its command line, as a request."""

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
    """What does not go together on the command line; None where all does.

    Args:
        words: how many arguments that are not empty there are beside the options.
        text: whether the video is to be made from text alone.
        from_task: the task from whose last frame to go on.
        aspect_ratio: the shape of the video.
        sandbox: whether the sandbox makes it.
    """
    if text and from_task:
        return "--text is for a video without a picture, --from-task for one that goes on from another."
    if words != (1 if text or from_task else 2):
        return (
            "Give IMAGE and PROMPT, or PROMPT alone with --text or --from-task ID, each in quotation marks."
        )
    if from_task and not is_task_id(from_task):
        return "--from-task takes the id of a task, as wan-mcp tasks prints it."
    if from_task and sandbox:
        return "--from-task has nothing to go on from in the sandbox, which begins empty."
    if aspect_ratio and not text:
        return "--aspect-ratio is for --text: otherwise the picture decides the shape."
    return None


def request_of(
    image: str | None, prompt: str, *, from_task: str | None = None, **options: str | int | None
) -> Request:
    """What the command line requests.

    Args:
        image: the picture; None for a video from text, or from a task.
        prompt: what should happen.
        from_task: the task from whose last frame to go on.
        options: what else was given, by the names of the request's fields; None counts as not given.

    Raises:
        InvalidRequest: with everything that is wrong, in words.
    """
    given = {"prompt": prompt, **options}
    if image is None and from_task is None:
        return parse("generate", TextGenerationRequest, plain_schema(TextGenerationRequest), given)
    given["image_urls"] = from_task or absolute(image or "")
    return parse("generate", GenerationRequest, plain_schema(GenerationRequest), given)


def absolute(image: str) -> str:
    """A path from here as an absolute one; whatever else can be meant as it is."""
    if os.path.exists(image):  # noqa: PTH110  false for what no path can be
        return str(Path(image).absolute())
    try:
        kind = sources.kind(image)
    except PictureError:  # said where pictures are read
        return image
    bare = unquoted(image)
    meant = spellings(image, windows=os.name == "nt")
    if any(one.startswith("~") or Path(one).is_absolute() for one in meant):
        return image
    if kind != "file" or not bare or bare.lower().startswith("file:"):
        return image
    return str(Path(bare.removeprefix("@")).absolute())
