"""Settings: read once from a mapping, usually the environment, and never changed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from wan_mcp import key_file
from wan_mcp.errors import SettingsError
from wan_mcp.net.addresses import is_this_machine
from wan_mcp.validation import plain_schema, problems_of

KEYS_PAGE = "https://evolink.ai/dashboard/keys"

WHERE_SETTINGS_ARE = (
    "in the client's MCP configuration, under env, and restart the server (for a command: in the shell)"
)
KEY_NOT_SET = "EVOLINK_API_KEY is not set"
HOW_TO_SET_THE_KEY = (
    f"Get a key at {KEYS_PAGE}. Then run wan-mcp setup in a terminal, which keeps the key for all clients, "
    f"and restart the server; or set EVOLINK_API_KEY {WHERE_SETTINGS_ARE}. The user does this: the key must "
    "not be pasted into the chat."
)

_PLACEHOLDER = re.compile(
    "(your|my|the|insert|enter|put|paste|add|replace|with|this|change|me|here|actual|real|valid|own|evolink"
    "|api|access|key|keys|token|secret|sk|goes|todo|tbd|none|null|undefined|placeholder|example|dummy|sample|redacted|from|live|x{3,})*"
)
"""The words of which the keys in examples are made, once all but letters and digits is taken away."""


def usable_key(value: str) -> str | None:
    """A key; None where nothing, or a placeholder that a client left in place, stands for it.

    Raises:
        ValueError: when it cannot be one; the text goes on after the name of what holds it.
    """
    if not value or value.startswith("${"):
        return None
    if _PLACEHOLDER.fullmatch(re.sub(r"[\W_]+", "", value.lower())):
        raise ValueError(f"holds a placeholder, not a key; put in its place a key from {KEYS_PAGE}")
    if any(char.isspace() for char in value):
        raise ValueError("has white space or a line break inside; copy the key again, as one word")
    if not value.isascii() or not value.isprintable() or value[0] in "\"'":
        raise ValueError("has characters that no key has, such as quotation marks; copy the key again")
    return value


def _host(value: str) -> str:
    parts = urlsplit(value)
    if not parts.hostname or parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError("is not the address of a server; write it like https://api.evolink.ai")
    if parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.hostname)):
        return value.rstrip("/")
    raise ValueError("must begin with https:// (http:// only for this machine, as in http://127.0.0.1:8787)")


def _folder(value: str | Path) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path, or begin with ~")
    return path


def _default_data_dir() -> Path:
    from platformdirs import user_data_path

    return user_data_path("wan-mcp", appauthor=False)


def _folders(value: str | tuple[Path, ...]) -> tuple[Path, ...]:
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    return tuple(_folder(part) for part in parts if str(part).strip())


def _default_output_dir() -> Path:
    from platformdirs import user_videos_path

    return user_videos_path() / "wan-mcp"


def _default_image_dirs() -> tuple[Path, ...]:
    return (Path.home(), Path.cwd())


ServerAddress = Annotated[str, BeforeValidator(_host)]


class Settings(BaseModel):
    """Every setting, by the name of its environment variable."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    api_key: Annotated[SecretStr | None, BeforeValidator(usable_key)] = Field(
        None,
        alias="EVOLINK_API_KEY",
        description=f"Your Evolink API key, from {KEYS_PAGE}; unset: the one that wan-mcp setup keeps.",
    )
    base_url: ServerAddress = Field(
        "https://api.evolink.ai",
        alias="EVOLINK_BASE_URL",
        description="The API's address: https, or http on this machine.",
    )
    files_url: ServerAddress = Field(
        "https://files-api.evolink.ai",
        alias="EVOLINK_FILES_URL",
        description="The address of Evolink's file service, where local pictures are uploaded.",
    )
    output_dir: Annotated[Path, BeforeValidator(_folder)] = Field(
        default_factory=_default_output_dir,
        alias="WAN_MCP_OUTPUT_DIR",
        description="Where videos are saved; unset: the folder wan-mcp in your videos folder.",
    )
    autosave: bool = Field(
        True,
        alias="WAN_MCP_AUTOSAVE",
        description="1: tasks are followed and their videos saved without being asked; 0: only when asked.",
    )
    image_dirs: Annotated[tuple[Path, ...], BeforeValidator(_folders)] = Field(
        default_factory=_default_image_dirs,
        alias="WAN_MCP_IMAGE_DIRS",
        description="Folders to read pictures from, separated as in PATH; unset: home and working folder.",
    )
    image_check: bool = Field(
        True,
        alias="WAN_MCP_IMAGE_CHECK",
        description="0: web pictures are passed on unchecked.",
    )
    allow_private_network: bool = Field(
        False,
        alias="WAN_MCP_ALLOW_PRIVATE_NETWORK",
        description="1: picture and result addresses may be private. For development and the sandbox.",
    )
    wait_seconds: float | None = Field(
        None,
        ge=0,
        le=3600,
        alias="WAN_MCP_WAIT_SECONDS",
        description="How long wait_for_task waits by default; unset: 45, or what suits the client.",
    )
    max_wait_seconds: float | None = Field(
        None,
        ge=1,
        le=3600,
        alias="WAN_MCP_MAX_WAIT_SECONDS",
        description="How long it waits at most; unset: 50, or what suits the client's own time-out.",
    )
    reads_a_second: float = Field(
        10,
        gt=0,
        le=1000,
        alias="WAN_MCP_READS_PER_SECOND",
        description="How many reads of unfinished tasks begin in a second, over all tasks.",
    )
    reads_at_once: int = Field(
        8,
        ge=1,
        le=100,
        alias="WAN_MCP_READS_AT_ONCE",
        description="How many of those reads may be under way at the same time.",
    )
    data_dir: Annotated[Path, BeforeValidator(_folder)] = Field(
        default_factory=_default_data_dir,
        alias="WAN_MCP_DATA_DIR",
        description="The folder of the ledger (what was requested and paid) and of the kept key.",
    )
    daily_credits: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        alias="WAN_MCP_DAILY_CREDITS",
        description="How many credits may be spent in 24 hours; a request that would exceed it is refused.",
    )
    request_credits: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        alias="WAN_MCP_REQUEST_CREDITS",
        description="How many credits one request may cost; a dearer one is refused.",
    )
    repeat_minutes: float = Field(
        1440,
        ge=0,
        le=1440,
        alias="WAN_MCP_REPEAT_MINUTES",
        description="For how long an equal request is answered with the task that it already has.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING",
        alias="WAN_MCP_LOG_LEVEL",
        description="How much is logged to stderr: DEBUG, INFO, WARNING or ERROR.",
    )
    key_is_kept: bool = False
    """Whether the key is the one that ``wan-mcp setup`` keeps, not one of the environment."""
    problems: tuple[str, ...] = ()
    """What is wrong with the mapping it was read from, each with what to do; defaults stand in meanwhile."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from ``environ``, by default the process's environment.

        Where that has no key, the one that is kept in the data folder is used. Never fails: a value that
        cannot be used is reported in ``problems``, so that a server can start, list its tools and say what
        is wrong when it is asked to work.
        """
        given = _given(os.environ if environ is None else environ)
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            wrong = dict(problems_of(error, plain_schema(cls), given))
            usable = {name: value for name, value in given.items() if name not in wrong}
            settings = cls.model_validate(usable | {"problems": tuple(wrong.values())})
            if wrong.keys() & {"EVOLINK_BASE_URL", "EVOLINK_FILES_URL", "WAN_MCP_DATA_DIR"}:
                return settings  # a default stands in: the key is neither looked for there nor sent there
        return settings if "EVOLINK_API_KEY" in given else settings._with_kept_key()

    @property
    def gateway(self) -> str:
        """The API's address in one spelling: the same account however the address is written."""
        return _spelled_alike(self.base_url)

    @property
    def key_places(self) -> tuple[str, str, Path]:
        """The addresses that the key is sent to, each in one spelling, and the folder where it is kept."""
        return _spelled_alike(self.base_url), _spelled_alike(self.files_url), self.data_dir

    @property
    def key_path(self) -> Path:
        """The file in which the key is kept, if any is."""
        return self.data_dir / key_file.FILE_NAME

    def _with_kept_key(self) -> "Settings":
        try:
            kept = key_file.read(self.key_path)
            if kept is None:
                return self
            key = usable_key(kept.key.get_secret_value())
            addresses = tuple(_spelled_alike(url) for url in (kept.base_url, kept.files_url))
        except SettingsError as error:
            return self._with_problem(error.message, error.next_step)
        except ValueError as error:
            return self._with_problem(f"it {error}", "Run wan-mcp setup to replace it.")
        if addresses != self.key_places[:2]:
            return self._with_problem(
                f"it is for {kept.base_url} and {kept.files_url}, not for the addresses set here",
                "Correct EVOLINK_BASE_URL and EVOLINK_FILES_URL, or set EVOLINK_API_KEY with them.",
            )
        return self.model_copy(update={"api_key": key and SecretStr(key), "key_is_kept": key is not None})

    def _with_problem(self, reason: str, advice: str) -> "Settings":
        text = f"{KEY_NOT_SET}, and the key in {self.key_path} is not used: {reason}. {advice}"
        return self.model_copy(update={"problems": (*self.problems, text)})

    def require_key(self) -> SecretStr:
        """The key, for a call that needs it.

        Raises:
            SettingsError: when there is none, or another setting cannot be used.
        """
        if self.problems:
            is_kept = all(problem.startswith(KEY_NOT_SET) for problem in self.problems)
            raise SettingsError(
                "The server's settings cannot be used: " + " ".join(self.problems),
                next_step="Then restart the server." if is_kept else f"Correct them {WHERE_SETTINGS_ARE}.",
            )
        if self.api_key is None:
            raise SettingsError("No Evolink API key is set.", next_step=HOW_TO_SET_THE_KEY)
        return self.api_key


def _spelled_alike(url: str) -> str:
    parts = urlsplit(url)
    usual = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(usual)}{parts.path}".rstrip("/")


def environment_names() -> list[str]:
    """The names of all environment variables that are read, in the order of the fields."""
    return [field.alias for field in Settings.model_fields.values() if field.alias]


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """What was really given: an empty value, or a placeholder that a client left in place, is not."""
    found = {name: environ.get(name, "").strip() for name in environment_names()}
    return {name: value for name, value in found.items() if value and not value.startswith("${")}
