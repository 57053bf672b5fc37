"""``wan-mcp doctor``: what is set, whether it works, and what to do where it does not."""

import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import httpx2
from pydantic import SecretStr

from wan_mcp import __version__
from wan_mcp.cli.folders import network_file_system, why_not_readable, why_not_writable
from wan_mcp.errors import MAKE_DATA_FOLDER_WRITABLE, LedgerError, NotFound, Refused, WanError
from wan_mcp.evolink import Evolink, prices
from wan_mcp.generation.runtime import Runtime
from wan_mcp.images.decoding import install_command
from wan_mcp.ledger.sqlite.store import FILE_NAME
from wan_mcp.settings import HOW_TO_SET_THE_KEY, KEY_NOT_SET, WHERE_SETTINGS_ARE, Settings

LIBRARIES = {
    "pillow_heif": ("pillow-heif", "HEIC pictures, as iPhones make them"),
    "av": ("av", "continuing, joining and previewing videos, and for the sandbox"),
}
"""Modules that are there on most systems only: package and use."""
LEAST = prices.estimate(5, "480p")
"""Credits that the cheapest video is expected to cost."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    mark: Literal["ok", "note", "WRONG"]
    text: str
    advice: str = ""
    needed: bool = True
    """Whether a generation cannot work where it is wrong."""


async def examine(settings: Settings, *, transport: httpx2.AsyncBaseTransport | None = None) -> list[Finding]:
    """Check everything that a generation, and keeping its video, needs. Free; nothing is left behind."""
    async with Runtime(settings, transport=transport) as runtime:
        return [
            Finding("ok", f"wan-mcp {__version__} on Python {'.'.join(map(str, sys.version_info[:3]))}"),
            *_libraries(),
            *_configured(settings),
            *[finding async for finding in _hosts(runtime)],
            *_folders(settings),
            *[finding async for finding in _ledger(runtime)],
            *_request_cap(settings),
        ]


def could_generate(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is wrong."""
    return not any(finding.mark == "WRONG" and finding.needed for finding in findings)


def masked(key: SecretStr) -> str:
    """Enough of a key to recognise it, too little to use it."""
    text = key.get_secret_value()
    return f"{text[:3]}…{text[-4:]}" if len(text) >= 16 else "…" * 3


def _libraries() -> Iterator[Finding]:
    for module, (package, use) in LIBRARIES.items():
        try:
            import_module(module)
            yield Finding("ok", f"Installed: what is needed for {use}")
        except ImportError:
            yield Finding("note", f"Not installed: what is needed for {use}", install_command(package))


def _configured(settings: Settings) -> Iterator[Finding]:
    for problem in settings.problems:
        advice = "" if problem.startswith(KEY_NOT_SET) else f"Correct it {WHERE_SETTINGS_ARE}."
        yield Finding("WRONG", problem, advice)
    if settings.api_key is not None:
        shown = masked(settings.api_key)
        kept = f"The key {shown} of wan-mcp setup is used, kept in {settings.key_path}"
        yield Finding("ok", kept if settings.key_is_kept else f"EVOLINK_API_KEY is set: {shown}")
    elif not _is_wrong(settings, "EVOLINK_API_KEY"):
        yield Finding("WRONG", KEY_NOT_SET, HOW_TO_SET_THE_KEY)


def _is_wrong(settings: Settings, name: str) -> bool:
    """Whether a setting cannot be used, so that a default stands in for it."""
    return any(problem.startswith(f"{name} ") for problem in settings.problems)


async def _hosts(runtime: Runtime) -> AsyncIterator[Finding]:
    """Both hosts, as they are set; never a default in the place of a setting that cannot be used."""
    settings = runtime.settings
    if settings.api_key is None:
        yield Finding("note", "The API and the file service are not tried without a key", needed=False)
        return
    evolink = Evolink(
        settings.api_key,
        runtime.connections,
        base_url=settings.base_url,
        files_url=settings.files_url,
    )

    async def uploads() -> Finding:
        await evolink.check_uploads()
        return Finding("ok", f"The file service {settings.files_url} answers")

    if not _is_wrong(settings, "EVOLINK_BASE_URL"):
        yield await _tried(
            f"The API {settings.base_url}", "EVOLINK_BASE_URL", lambda: balance(evolink, settings)
        )
    if not _is_wrong(settings, "EVOLINK_FILES_URL"):
        yield await _tried(f"The file service {settings.files_url}", "EVOLINK_FILES_URL", uploads)


async def balance(evolink: Evolink, settings: Settings) -> Finding:
    """Whether the API knows the key, and how many credits are left; free.

    Raises:
        WanError: when the API cannot be reached, or does not accept the key.
    """
    credits = await evolink.credits()
    left = f"{prices.cost_text(credits.remaining)} are left"
    found = f"The API {settings.base_url} answers and knows the key; {left}"
    of_key = 1 if credits.key_unlimited or credits.key_remaining is None else credits.key_remaining
    if min(credits.remaining, of_key) > 0:
        return Finding("ok", found)
    return Finding("WRONG", found, "Add credits to the Evolink account, or raise this key's limit.")


async def _tried(what: str, name: str, work: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await work()
    except WanError as error:
        # The words of a failed connection name the setting of the API, whichever host it was.
        advice = error.next_step.replace("EVOLINK_BASE_URL", name)
        if isinstance(error, NotFound | Refused):  # elsewhere it is about a task or an argument
            advice = f"Check {name}."
        return Finding("WRONG", f"{what} does not answer as it should: {error.message}", advice)


def _folders(settings: Settings) -> Iterator[Finding]:
    """The folders for pictures and videos; never a default in the place of a setting that cannot be used."""
    folders = () if _is_wrong(settings, "WAN_MCP_IMAGE_DIRS") else dict.fromkeys(settings.image_dirs)
    for folder in folders:
        if reason := why_not_readable(folder):
            advice = "Make it readable, or name others in WAN_MCP_IMAGE_DIRS."
            text = f"Pictures cannot be read in {folder} ({reason})"
            yield Finding("WRONG", text, advice, needed=False)
        else:
            yield Finding("ok", f"Pictures can be read in {folder}")
    if _is_wrong(settings, "WAN_MCP_OUTPUT_DIR"):
        return
    if reason := why_not_writable(settings.output_dir):
        text = f"Videos cannot be saved in {settings.output_dir} ({reason})"
        yield Finding("WRONG", text, "Name another folder in WAN_MCP_OUTPUT_DIR.", needed=False)
    else:
        yield Finding("ok", f"Videos can be saved in {settings.output_dir}")


async def _ledger(runtime: Runtime) -> AsyncIterator[Finding]:
    """The ledger; it is not made here."""
    settings = runtime.settings
    folder, path = settings.data_dir, settings.data_dir / FILE_NAME
    if _is_wrong(settings, "WAN_MCP_DATA_DIR") or _is_wrong(settings, "WAN_MCP_DATABASE_URL"):
        return
    if settings.database_url is not None:
        async for finding in _opened(runtime, "The ledger in the database of WAN_MCP_DATABASE_URL"):
            yield finding
        return
    if kind := network_file_system(folder):
        text = f"The ledger {path} is on a network file system ({kind}), where locks do not work well"
        yield Finding("WRONG", text, "Set WAN_MCP_DATA_DIR to a folder on a local disk.", needed=False)
    is_there = os.path.lexists(path)  # noqa: ASYNC240  nothing else goes on
    if not is_there and (reason := why_not_writable(folder)):
        text = f"The ledger {path} cannot be made ({reason})"
        yield Finding("WRONG", text, MAKE_DATA_FOLDER_WRITABLE)
        return
    async for finding in _opened(runtime, f"The ledger {path}", is_there=is_there):
        yield finding


async def _opened(runtime: Runtime, name: str, *, is_there: bool = True) -> AsyncIterator[Finding]:
    """Whether the ledger can be read, and what was spent."""
    settings = runtime.settings
    try:
        rows = (
            f"opens; rows: {await runtime.ledger.count()}" if is_there else "is made with the first request"
        )
        yield Finding("ok", f"{name} {rows}")
        key = settings.api_key
        if key is not None and not _is_wrong(settings, "EVOLINK_BASE_URL"):
            owner = runtime.ledger.for_owner(settings.gateway, key.get_secret_value())
            yield _spending(settings, await owner.spent(time.time()) if is_there else 0)
    except LedgerError as error:
        yield Finding("WRONG", error.message, error.next_step)


def _spending(settings: Settings, spent: float) -> Finding:
    """What was spent, and whether the daily cap leaves room for a video."""
    text = f"Spent in the last 24 hours with this key: {prices.cost_text(spent)}"
    cap = settings.daily_credits
    if _is_wrong(settings, "WAN_MCP_DAILY_CREDITS"):
        return Finding("ok", text)
    if cap is None:
        return Finding("ok", f"{text}; WAN_MCP_DAILY_CREDITS is not set, so there is no limit")
    text = f"{text} of {cap:g} (WAN_MCP_DAILY_CREDITS)"
    if spent + LEAST <= cap:
        return Finding("ok", text)
    advice = "Wait, or raise the cap." if cap >= LEAST else "Raise the cap."
    return Finding("WRONG", f"{text}: the cheapest video costs {LEAST:g}", advice)


def _request_cap(settings: Settings) -> Iterator[Finding]:
    cap = settings.request_credits
    if _is_wrong(settings, "WAN_MCP_REQUEST_CREDITS"):
        return
    if cap is None:
        yield Finding("ok", "WAN_MCP_REQUEST_CREDITS is not set, so one request may cost anything")
        return
    text = f"One request may cost {prices.cost_text(cap)} by WAN_MCP_REQUEST_CREDITS"
    if cap >= LEAST:
        yield Finding("ok", text)
    else:
        yield Finding("WRONG", f"{text}: the cheapest video costs {LEAST:g}", "Raise the cap.")
