"""What the packages say, each fact once: from ``pyproject.toml`` and the code, or here."""

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wan_mcp.settings import KEYS_PAGE
from wan_mcp.settings.fields import Fields, HostingFields

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NAME: str = PROJECT["name"]
(COMMAND,) = PROJECT["scripts"]
HOMEPAGE: str = PROJECT["urls"]["Homepage"]
REGISTERED = f"io.github.{NAME}/{NAME}"
"""The name in the registry of MCP servers, which the README must hold as well."""
TITLE = "Wan 2.5 video"
DESCRIPTION = (
    "Makes videos from pictures or text with Evolink's Wan 2.5, continues them and joins them into films"
)
"""At most 100 characters, which is what the registry takes."""
AUTHOR = {"name": "The wan-mcp authors"}
KEYWORDS = [word for word in PROJECT["keywords"] if "mcp" not in word and "protocol" not in word]
CATEGORY = "media"
ICON, ICON_SVG = "assets/icon.png", "assets/icon.svg"
SERVER = "wan"
"""What the server is called in the configuration of a client."""
EXAMPLES = (
    "Make a 5 second video of ~/Pictures/lake.jpg: mist drifts over the water.",
    "Continue it: a boat comes in. Then join both parts.",
    "Show me the video that I made yesterday.",
)


def settings_of(fields: type[BaseModel]) -> dict[str, FieldInfo]:
    """Settings, by their environment variables."""
    return {spec.alias: spec for spec in fields.model_fields.values() if spec.alias is not None}


SETTINGS = settings_of(Fields)
HOSTED_SETTINGS = settings_of(HostingFields)
"""What only a hosted server has, and so no package asks for."""


def default(spec: FieldInfo) -> str | None:
    """A setting's default as an environment variable holds it, where it is the same everywhere."""
    if spec.default_factory or spec.default is None:
        return None
    return f"{spec.default:g}" if isinstance(spec.default, int | float) else str(spec.default)


def is_secret(spec: FieldInfo) -> bool:
    """Whether a setting has a key or a password, which is shown to nobody."""
    return "SecretStr" in repr(spec.annotation)


@dataclass(frozen=True)
class Option:
    """A setting that a package asks the user for, in the words of a form."""

    name: str
    variable: str
    kind: str
    title: str
    description: str
    more: dict[str, Any] = field(default_factory=dict)


KEY = Option(
    "api_key",
    "EVOLINK_API_KEY",
    "string",
    "Evolink API key",
    f"Get one at {KEYS_PAGE}. Videos are charged to its account.",
    {"sensitive": True, "required": True},
)
OPTIONS = (
    KEY,
    Option(
        "output_dir",
        "WAN_MCP_OUTPUT_DIR",
        "directory",
        "Folder for videos",
        "Where videos are saved. Unset: the folder wan-mcp in your videos folder.",
    ),
    Option(
        "autosave",
        "WAN_MCP_AUTOSAVE",
        "boolean",
        "Save every video",
        "Follow each task to its end and save its video without being asked. Its link dies after 24 hours.",
        {"default": True},
    ),
    Option(
        "image_dir",
        "WAN_MCP_IMAGE_DIRS",
        "directory",
        "Folder of pictures",
        "The only folder that pictures may be read from. Unset: your home folder.",
    ),
    Option(
        "daily_credits",
        "WAN_MCP_DAILY_CREDITS",
        "number",
        "Credits a day",
        "How many credits may be spent in 24 hours; what would go over is refused. Unset: no limit.",
        {"min": 0},
    ),
)


def files(folder: Path = ROOT) -> list[Path]:
    """The files of the repository: those that git is not told to ignore."""
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split())]
    kept = [path for path in folder.iterdir() if not any(fnmatch(path.name, name) for name in ignored)]
    return [
        file for path in kept if not path.is_symlink() for file in (files(path) if path.is_dir() else [path])
    ]
