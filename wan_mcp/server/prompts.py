"""Prompts that help to write prompts: for one video, and for a video of several parts."""

import re
from functools import partial
from math import ceil
from typing import Annotated, Any

from mcp import MCPError
from mcp.server import MCPServer, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.types import INVALID_PARAMS
from pydantic import Field

from wan_mcp.evolink import PROMPT_MAX
from wan_mcp.evolink.prices import FACTORS, TEXT_GUESSED, cost_text, estimate
from wan_mcp.generation.owners import Deployment
from wan_mcp.generation.services import Services
from wan_mcp.images.loader import LONGEST_CHAIN
from wan_mcp.server.kept import keeping
from wan_mcp.server.text import NOT_SENT, PRICE

SHORTEST, USUAL, LONGEST = 10, 15, 120
"""Seconds of a video of several parts."""

WRITING = f"""\
The picture is the first frame, so do not describe what it already shows;
describe what happens next:

1. Subject: who or what moves, in words that identify it in the picture ("the woman in the red coat").
2. Motion: one main action that fits into the duration, as a verb with its manner ("turns her head slowly
   towards the window"). 5 seconds have room for one action, 10 seconds for two in sequence.
3. Surroundings: what moves by itself: hair, leaves, water, smoke, light, people far behind.
4. Camera: one move at most, in plain words: "static camera", "slow push in", "pan to the left",
   "camera circles the car". Say "static camera" when the subject's motion is the point.
5. Pace and mood: slow, calm, sudden, playful; the light if it changes.

Avoid: several scenes or cuts, text that must be legible, things that must enter from outside the frame,
exact counts, negations ("no people": say what is there instead), and adjectives without motion.
Write whole sentences in the language of the user's idea, {PROMPT_MAX:,} characters at most; 30 to 80 words
work best. The service may rewrite the prompt to make it richer; set prompt_extend to false when each word
counts."""
OTHER_QUALITIES = f"1080p costs {FACTORS['1080p']:g} times as much, 480p half"

GUIDE = """\
Make a short video from this picture: {image}
What it should show: {idea}

First write the prompt for generate_video. {writing}

Then show the user the prompt and what it costs: {price}; 10 seconds cost
double; {other_qualities}. Call generate_video once, wait with wait_for_task until
the task is over, and {ending}
"""
SAVE = "tell the user where the video is. If it is not saved yet, save_video saves it."
GIVE_LINK = "give the user the video's link. {keeping}"

STORYBOARD = """\
Make a video of {seconds} seconds in {count} parts.{changed}
What it should show: {idea}
First picture: {image}

Evolink makes 5 or 10 seconds at a time. So the video is a chain of {parts}, in which the
last frame of each part is the first frame of the next part.

First write a prompt for each part. {describe}{writing}

So that the parts become one video:

- Give each part its own main motion, which begins where the part before ended.
- End each part so that the next one can continue it: the subject whole and sharp in the frame, at rest or
  moving steadily.
- Name the subject, the place and the light in the same words in every part.
- Let the camera continue its move from the part before, or hold it still.
- Contrast and colours drift a little with each part; this shows after about {longest_chain} parts.{too_long}

Then show the user the plan (for each part its seconds, its prompt, and how it ends) and the total price:
about {price} for {seconds} s at 720p; {other_qualities}.
{guess}A part that is made again is paid again. Spend nothing before the user has agreed.

Make the parts in order, because each needs the one before, and all in the same quality:

1. The first part: {first}
2. Call wait_for_task until the task is over.
3. Judge the part with preview_video. If it is not as intended, make it again before you go on: change the
   words that were misunderstood, or set take: 2 for another version of the same. Ask the user first.
4. The next part: call generate_video with its prompt and duration, and with
   image_urls: ["<id of the part before>"]. Then steps 2 and 3 again, until there are {count} parts.
5. Call join_videos with the ids of the {count} parts as task_ids, in order. It is free. Tell the user where
   the joined video is.
"""
WITH_PICTURE = {
    "describe": "",
    "guess": "",
    "first": """\
call generate_video with its prompt and duration, and with the first picture in
   image_urls. If that is a task's id, the part continues its video: in step 5, put that id first.""",
}
WITHOUT_PICTURE = {
    "describe": """\
The first part has no picture: describe what can be seen as well, that is
the subject, the place, the light and the style. For all other parts:
""",
    "guess": f"For the first part, it is {TEXT_GUESSED}.\n",
    "first": """\
call generate_video_from_text with its prompt and duration, and with the
   aspect_ratio that the user wants.""",
}
CHANGED = """
The user asked for {asked:g} seconds: say that {shortest} to {longest} are possible here, in steps of 5."""
TOO_LONG = """
  This plan has {count}: suggest fewer seconds, or begin again in the middle, from a picture or from text."""
NO_PICTURE = "none (the first part is made from text alone)"

Idea = Annotated[str, Field(description="What the video should show, in a few words")]


def add_prompts(server: MCPServer[Services], deployment: Deployment) -> None:
    """Offer the prompts: for a video, and for one of several parts."""
    image_is = "Address or path of the picture"
    if not deployment.local:
        image_is = "Address of the picture, or upload: and the id that prepare_upload gave"
    then = "make, wait for and save the video" if deployment.local else "make and wait for the video"

    @server.prompt(
        name="animate_image",
        title="Animate a picture",
        description=f"Write a good motion prompt for a picture, then {then}.",
    )
    def animate_image(
        image: Annotated[str, Field(description=image_is)],
        idea: Idea,
    ) -> str:
        return GUIDE.format(
            image=image,
            idea=idea,
            writing=WRITING,
            price=PRICE,
            other_qualities=OTHER_QUALITIES,
            ending=SAVE if deployment.local else GIVE_LINK.format(keeping=keeping(deployment)),
        )

    _add_storyboard(server, image_is)
    server.middleware.append(partial(_refuse_wrong_calls, server))


async def _refuse_wrong_calls(
    server: MCPServer[Services], ctx: ServerRequestContext[Services, Any], call_next: CallNext
) -> HandlerResult:
    """Refuse a prompt that does not exist, or other arguments than it has.

    The SDK would take that for a fault of the server, and log it with what the caller sent.
    """
    if ctx.method != "prompts/get" or not ctx.params:
        return await call_next(ctx)
    prompts = {prompt.name: prompt.arguments or [] for prompt in await server.list_prompts()}
    name, given = str(ctx.params.get("name")), ctx.params.get("arguments") or {}
    if name not in prompts:
        raise MCPError(INVALID_PARAMS, f"There is no such prompt. There are: {', '.join(prompts)}.")
    names = {argument.name for argument in prompts[name]}
    required = {argument.name for argument in prompts[name] if argument.required}
    if not required <= set(given) <= names:
        text = ", ".join(f"{one} (required)" if one in required else one for one in sorted(names))
        raise MCPError(INVALID_PARAMS, f"The arguments of {name} are: {text or 'none'}.")
    return await call_next(ctx)


def _add_storyboard(server: MCPServer[Services], image_is: str) -> None:
    @server.prompt(
        name="storyboard",
        title="Plan a longer video",
        description="Plan a video as a chain of parts and say its price, then make and join the parts.",
    )
    def storyboard(
        idea: Idea,
        image: Annotated[
            str,
            Field(
                description=f"{image_is.replace('the picture', 'the first picture')}, or a completed task's "
                f"id, to continue its video. Default {NO_PICTURE}."
            ),
        ] = "",
        seconds: Annotated[
            str,
            Field(description=f"Seconds in all, {SHORTEST} to {LONGEST}, in steps of 5. Default {USUAL}."),
        ] = "",
    ) -> str:
        return _storyboard(idea, image.strip(), seconds.strip())


def _storyboard(idea: str, image: str, seconds: str) -> str:
    asked = _number(seconds) if seconds else USUAL
    length = min(LONGEST, max(SHORTEST, 5 * ceil(asked / 5)))
    tens, fives = _parts(length)
    count = tens + fives
    return STORYBOARD.format(
        seconds=length,
        count=count,
        parts=" and ".join(
            f"{number} \u00d7 {each} s" for number, each in ((tens, 10), (fives, 5)) if number
        ),
        idea=idea,
        image=image or NO_PICTURE,
        changed="" if asked == length else CHANGED.format(asked=asked, shortest=SHORTEST, longest=LONGEST),
        writing=WRITING,
        longest_chain=LONGEST_CHAIN,
        too_long=TOO_LONG.format(count=count) if count > LONGEST_CHAIN else "",
        price=cost_text(estimate(length, "720p")),
        other_qualities=OTHER_QUALITIES,
        **(WITH_PICTURE if image else WITHOUT_PICTURE),
    )


def _number(seconds: str) -> float:
    found = re.fullmatch(r"(\d{1,4}(\.\d{1,4})?) *(s|secs?|seconds?)?", seconds, re.IGNORECASE | re.ASCII)
    if found is None:
        raise MCPError(
            INVALID_PARAMS,
            f"seconds must be a number from {SHORTEST} to {LONGEST}, such as {USUAL}. {NOT_SENT} "
            "Use the prompt again with such a number, or without seconds.",
        )
    return float(found[1])


def _parts(seconds: int) -> tuple[int, int]:
    """How many parts have 10 seconds and how many 5: parts of 5, unless the chain would become too long."""
    steps = seconds // 5
    count = min(steps, max(LONGEST_CHAIN, ceil(steps / 2)))
    return steps - count, 2 * count - steps
