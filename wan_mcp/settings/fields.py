"""Every setting, with its default and its description."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from wan_mcp.settings.checks import (
    KEYS_PAGE,
    DatabaseAddress,
    Folder,
    Folders,
    IssuerAddress,
    PublicAddress,
    ServerAddress,
    StorageAddress,
    usable_key,
    usable_secret,
)


def _default_data_dir() -> Path:
    from platformdirs import user_data_path

    return user_data_path("wan-mcp", appauthor=False)


def _default_output_dir() -> Path:
    from platformdirs import user_videos_path

    return user_videos_path() / "wan-mcp"


def _default_image_dirs() -> tuple[Path, ...]:
    return (Path.home(), Path.cwd())


class Fields(BaseModel):
    """The settings of every server, by the names of their environment variables."""

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
    output_dir: Folder = Field(
        default_factory=_default_output_dir,
        alias="WAN_MCP_OUTPUT_DIR",
        description="Where videos are saved; unset: the folder wan-mcp in your videos folder.",
    )
    autosave: bool = Field(
        True,
        alias="WAN_MCP_AUTOSAVE",
        description="1: tasks are followed and their videos saved without being asked; 0: only when asked.",
    )
    image_dirs: Folders = Field(
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
    data_dir: Folder = Field(
        default_factory=_default_data_dir,
        alias="WAN_MCP_DATA_DIR",
        description="The folder of the ledger (what was requested and paid) and of the kept key.",
    )
    database_url: DatabaseAddress | None = Field(
        None,
        alias="WAN_MCP_DATABASE_URL",
        description=(
            "A PostgreSQL database for the ledger, postgresql://user:password@host:5432/name, which several "
            "machines can share; unset: a file in the data folder."
        ),
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


class HostingFields(BaseModel):
    """The settings that only a hosted server has."""

    storage_url: StorageAddress | None = Field(
        None,
        alias="WAN_MCP_STORAGE_URL",
        description=(
            "Where videos, posters and uploads are kept: file:///folder, s3://bucket/folder, gs://, az:// or "
            "memory:; unset: the folder storage in the data folder."
        ),
    )
    serve_videos: bool = Field(
        False,
        alias="WAN_MCP_SERVE_VIDEOS",
        description="1: this server serves a bucket's videos, for callers who cannot reach the bucket.",
    )
    secret: Annotated[SecretStr | None, BeforeValidator(usable_secret)] = Field(
        None,
        alias="WAN_MCP_SECRET",
        description="Signs the server's links, 32 characters or more; unset: one that it makes and keeps.",
    )
    link_hours: float = Field(
        168,
        ge=0.1,
        le=168,
        alias="WAN_MCP_LINK_HOURS",
        description="For how long a link to a kept video works; asking again gives a new one.",
    )
    result_days: float = Field(
        30,
        ge=1,
        alias="WAN_MCP_RESULT_DAYS",
        description="For how many days videos are kept.",
    )
    upload_hours: float = Field(
        1,
        ge=0.25,
        le=24,
        alias="WAN_MCP_UPLOAD_HOURS",
        description="For how many hours an uploaded picture can be used.",
    )
    poster_days: float = Field(
        90,
        ge=1,
        alias="WAN_MCP_POSTER_DAYS",
        description="For how many days the small picture of a task is kept.",
    )
    task_days: float = Field(
        365,
        ge=2,
        alias="WAN_MCP_TASK_DAYS",
        description="For how many days a request stays in the ledger, with its prompt.",
    )

    total_daily_credits: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        alias="WAN_MCP_TOTAL_DAILY_CREDITS",
        description="How many credits all callers together may spend in 24 hours.",
    )
    public_url: PublicAddress | None = Field(
        None,
        alias="WAN_MCP_PUBLIC_URL",
        description="The server's address as callers know it, such as https://wan.example.com.",
    )
    auth: Literal["key", "oauth"] = Field(
        "key",
        alias="WAN_MCP_AUTH",
        description="key: each caller sends an Evolink key; oauth: a token of your issuer.",
    )
    oauth_issuer: IssuerAddress | None = Field(
        None,
        alias="WAN_MCP_OAUTH_ISSUER",
        description="With oauth: the address of the tokens' issuer, exactly as in their iss.",
    )
    oauth_audience: str | None = Field(
        None,
        alias="WAN_MCP_OAUTH_AUDIENCE",
        description="With oauth: what the tokens' aud must contain, usually this server's address.",
    )
    oauth_scope: str | None = Field(
        None,
        alias="WAN_MCP_OAUTH_SCOPE",
        description="With oauth: the scopes that a token must have, separated by spaces.",
    )
