"""What every client is given, and what must reach its model."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.world import KEY, picture, render
from wan_mcp.sandbox import Sandbox, running
from wan_mcp.sandbox.results import Render

SECONDS = 0.3
"""How long a generation takes."""


@dataclass(frozen=True)
class Scene:
    """The imitated API, a picture, and how a client starts the server."""

    sandbox: Sandbox
    url: str
    folder: Path
    settings: Mapping[str, str]
    """Of the server, besides those that every scene needs."""

    @property
    def server(self) -> dict[str, Any]:
        """The server in the form that most clients' configurations share."""
        environ = {
            "EVOLINK_API_KEY": KEY,
            "EVOLINK_BASE_URL": self.url,
            "EVOLINK_FILES_URL": self.url,
            "WAN_MCP_ALLOW_PRIVATE_NETWORK": "1",
            "WAN_MCP_DATA_DIR": str(self.folder / "data"),
            "WAN_MCP_IMAGE_DIRS": str(self.folder),
            "WAN_MCP_OUTPUT_DIR": str(self.folder / "videos"),
            **self.settings,
        }
        return {"command": sys.executable, "args": ["-m", "wan_mcp"], "env": environ}

    @property
    def configuration(self) -> str:
        """A configuration file, for the clients that read one."""
        file = self.folder / "servers.json"
        file.write_text(json.dumps({"mcpServers": {"wan": self.server}}))
        return str(file)

    @property
    def request(self) -> dict[str, Any]:
        return {"prompt": "Mist drifts.", "image_urls": [str(self.folder / "lake.png")]}

    @property
    def wrong(self) -> dict[str, Any]:
        return self.request | {"prompt": ""}

    @property
    def task_id(self) -> str:
        """The id of the only task that was made, as the imitated API has it."""
        (task,) = self.sandbox.tasks()
        return task.id

    @property
    def link(self) -> str:
        return f"{self.url}/results/{self.task_id}.mp4"

    @property
    def saved(self) -> Path:
        """Where the server saves the video of the request automatically."""
        return self.folder / "videos" / "mist-drifts.mp4"


@asynccontextmanager
async def scene(
    folder: Path, render: Render = render, seconds: float = SECONDS, **settings: str
) -> AsyncIterator[Scene]:
    (folder / "lake.png").write_bytes(picture())
    sandbox = Sandbox(seconds=seconds, key=KEY, render=render)
    async with running(sandbox) as url:
        yield Scene(sandbox, url, folder, settings)


def text_of(answer: dict[str, Any]) -> str:
    return "\n".join(block["text"] for block in answer["content"] if block["type"] == "text")


def ways_of_seeing(answer: dict[str, Any]) -> list[str]:
    """What a model sees of a tool's answer: some clients show the text, some only the structured JSON."""
    structured = answer.get("structuredContent") or answer.get("structured_content")
    assert structured, "without it, clients that show only the JSON would show nothing"
    return [text_of(answer), json.dumps(structured, ensure_ascii=False)]


def assert_begun(seen: str, scene: Scene) -> None:
    """The status, the price and the next step of a video that is being made."""
    assert "pending" in seen or "processing" in seen
    assert "25.5" in seen
    assert f"Call wait_for_task with task_id {scene.task_id}" in seen


def assert_done(seen: str, scene: Scene) -> None:
    """The status, the link, its end, the price, and that the user is to be told the path of the video."""
    told = f"Tell the user: the video is saved at {scene.saved}"
    for fact in (scene.task_id, "completed", scene.link, "works until", "25.5", told):
        assert fact in seen
    assert scene.saved.is_file()
    assert "save_video" not in seen


def assert_refused(answer: dict[str, Any]) -> None:
    """A call with wrong arguments: an error with a text, which no client hides behind structured content."""
    assert answer.get("isError") or answer.get("is_error")
    assert "structuredContent" not in answer
    assert "structured_content" not in answer
    assert_says_why(text_of(answer))


def assert_says_why(seen: str) -> None:
    """What was wrong, what to do, and that it cost nothing."""
    for words in ("prompt must not be empty", "call it again", "Nothing was sent or charged."):
        assert words in seen
