"""``wan-mcp demo``: an agent's conversation with the server, on the embedded sandbox.

Everything is real but the API behind it: the MCP client, the server process, HTTP, and the video.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent

from wan_mcp.cli.folders import place
from wan_mcp.cli.request import absolute
from wan_mcp.cli.sandbox import check_video_library, environment
from wan_mcp.cli.screen import progress, tell, waiting
from wan_mcp.errors import WanError

PROMPTS = (
    "The sun sinks slowly behind the hills, the camera drifts closer, calm water glitters.",
    "The last light fades, the camera drifts on over the water.",
    "The water becomes still, the camera comes to rest.",
)
"""The prompts of the parts of a story; the first is also the prompt of a single video."""


async def run(
    image: str | None, prompt: str | None, seconds: float, output: str | Path | None, *, story: bool = False
) -> None:
    """Run the demo and leave a video behind.

    Args:
        image: the first picture; None: one that is drawn for this.
        prompt: what should happen, in a story in each part; None: prompts that suit the drawn picture.
        seconds: how long the imitated generation of a video takes.
        output: where the video goes.
        story: whether to make a film of three parts, each of which continues the one before.

    Raises:
        WanError: when a call fails.
    """
    from wan_mcp.sandbox import Sandbox, running

    check_video_library()
    default_name, converse = ("wan-mcp-story", _make_film) if story else ("wan-mcp-demo", _make_video)
    prompts = (prompt,) * len(PROMPTS) if prompt else PROMPTS
    target, name = place(output, default_name)
    with tempfile.TemporaryDirectory() as folder:
        picture = absolute(image) if image else str(draw(Path(folder) / "lake.png"))
        async with AsyncExitStack() as stack:
            with waiting("Starting the sandbox (an imitation of the Evolink API) and the MCP server ..."):
                url = await stack.enter_async_context(running(Sandbox(seconds=seconds)))
                server = _server(url, Path(folder), Path(picture).parent, target)
                client = await stack.enter_async_context(Client(server))
                names = ", ".join(tool.name for tool in (await client.list_tools()).tools)
            tell(f"Connected; the server offers {names}.\n")
            saved = await converse(client, picture, prompts, name or default_name)
    tell(f"The video: {saved}\nNo key was used, nothing was charged.")


def _server(url: str, data: Path, pictures: Path, videos: Path) -> StdioServerParameters:
    environ = environment(url) | {
        "WAN_MCP_DATA_DIR": str(data),
        "WAN_MCP_IMAGE_DIRS": str(pictures),
        "WAN_MCP_OUTPUT_DIR": str(videos),
        "WAN_MCP_AUTOSAVE": "0",  # the demo saves the video itself, under the name that was asked for
    }
    return StdioServerParameters(command=sys.executable, args=["-m", "wan_mcp"], env=environ)


async def _make_video(client: Client, picture: str, prompts: Sequence[str], name: str) -> str:
    """What an agent does with the tools, from the request to the file."""
    task_id = await _generate(client, picture, prompts[0])
    await _say(client, "get_task", {"task_id": task_id})
    answer = await _say(client, "save_video", {"task_id": task_id, "filename": name})
    return str(answer["saved_to"])


async def _make_film(client: Client, picture: str, prompts: Sequence[str], name: str) -> str:
    """The same for a film: preview the first part, continue it, and join all parts."""
    task_ids = [await _generate(client, picture, prompts[0])]
    await _say(client, "preview_video", {"task_id": task_ids[0]})
    for prompt in prompts[1:]:
        task_ids.append(await _generate(client, task_ids[-1], prompt))
    answer = await _say(client, "join_videos", {"task_ids": task_ids, "filename": name})
    return str(answer["saved_to"])


async def _generate(client: Client, image: str, prompt: str) -> str:
    """Request a video, wait for it, and return the id of its task.

    Raises:
        WanError: when there will be no video.
    """
    answer = await _say(client, "generate_video", {"prompt": prompt, "image_urls": [image]})
    task_id = str(answer["id"])
    while answer["status"] in ("pending", "processing"):
        answer = await _say(client, "wait_for_task", {"task_id": task_id})
    if answer["status"] != "completed":
        raise WanError(f"The generation {answer['status']}.", next_step=answer["next"])
    return task_id


async def _say(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make one call, and show it as the agent and the server see it."""
    call = f"agent  → {tool} {json.dumps(arguments, ensure_ascii=False)}"
    if tool == "wait_for_task":
        tell(call, hanging="  ", bold=True)
        with progress("Waiting for the video", sys.stdout) as bar:

            async def show(progress: float, total: float | None, message: str | None) -> None:
                bar.show(100 * progress / total if total else progress)

            result = await client.call_tool(tool, arguments, progress_callback=show)
    else:
        with waiting(call, hanging="  ", bold=True):
            result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    text = "\n".join(filter(None, map(_shown, result.content)))
    tell("server ← " + text.replace("\n", "\n  ") + "\n", hanging="  ")
    if result.is_error:
        raise WanError(text)
    return dict(result.structured_content or {})


def _shown(block: ContentBlock) -> str:
    """A part of an answer as a person can read it."""
    if isinstance(block, ImageContent):
        return f"(a picture, {len(block.data) * 3 / 4000:.0f} KB: the model sees the frames)"
    return block.text if isinstance(block, TextContent) else ""


def draw(path: Path) -> Path:
    """Draw a boat on a lake in the evening, so that the demo needs no picture from elsewhere."""
    from math import sin

    from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

    width, height, horizon, sun = 1280, 720, 420, 832
    down = Image.linear_gradient("L")
    sky = ImageOps.colorize(down.resize((width, horizon)), "#35346e", "#ffd9a0", mid="#d9798a")
    glow = Image.radial_gradient("L").resize((1200, 1200)).point(lambda far: max(0, 178 - far))
    sky.paste("#ffdfae", (sun - 600, -290), glow)
    pen = ImageDraw.Draw(sky)
    pen.circle((sun, 305), 52, fill="#fff1c9")
    for foot, rise, pace, colour in (
        (395, 150, 6, "#b06d92"),
        (400, 100, 11, "#7b5187"),
        (425, 60, 17, "#453769"),
    ):
        for x in range(0, width, 2):
            waves = 0.6 + 0.3 * sin(pace * (x / width + 2)) + 0.12 * sin(pace * x / 350) + 0.04 * sin(x / 19)
            pen.line((x, foot - rise * waves, x, horizon), fill=colour, width=2)
        sky.paste("#f7c0a8", (0, horizon - 130), down.resize((width, 130)).point(lambda low: low * 0.55))
    water = ImageOps.flip(sky).resize((width, height - horizon)).filter(ImageFilter.GaussianBlur(4))
    picture = Image.new("RGB", (width, height), "#d6bcd6")
    picture.paste(ImageChops.multiply(water, picture.crop((0, 0, *water.size))), (0, horizon))
    picture.paste(sky)
    pen = ImageDraw.Draw(picture)
    for row in range(horizon + 10, height, 12):
        reach = (30 + 0.2 * (row - horizon)) * (1 + 0.5 * sin(5 * row))
        middle = sun + 16 * sin(2 * row)
        pen.line((middle - reach, row, middle + reach, row), fill="#ffcf9c", width=3)
    for up, colour in ((-1, "#2b2350"), (0.7, "#5d477a")):  # the boat, and its reflection
        for part in (
            ((420, 22), (450, -6), (580, -6), (616, 24)),
            ((512, 30), (512, 190), (425, 32)),
            ((522, 30), (520, 165), (592, 34)),
        ):
            pen.polygon([(x, 560 + up * y) for x, y in part], fill=colour)
    picture.filter(ImageFilter.GaussianBlur(0.8)).save(path)
    return path
