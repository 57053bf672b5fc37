"""``wan-mcp doctor``: what is set, whether it works, and what to do where it does not."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import httpx2
from pydantic import SecretStr

from wan_mcp import __version__
from wan_mcp.errors import WanError
from wan_mcp.generation.runtime import Runtime
from wan_mcp.generation.service import Services
from wan_mcp.settings import HOW_TO_SET_THE_KEY, Settings


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. ``needed``: whether a generation needs it."""

    right: bool
    text: str
    advice: str = ""
    needed: bool = True


async def examine(settings: Settings, *, transport: httpx2.AsyncBaseTransport | None = None) -> list[Finding]:
    """Check everything that a generation needs."""
    findings = [*_environment(), *_configured(settings)]
    if all(finding.right for finding in findings if finding.needed):
        findings.append(await _answers(settings, transport))
    return findings


def could_generate(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is wrong."""
    return all(finding.right for finding in findings if finding.needed)


def _environment() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(True, f"wan-mcp {__version__} on Python {version}")
    yield Finding(
        find_spec("av") is not None,
        "PyAV, with which the sandbox makes its videos",
        'Only the sandbox and the demo need it: pip install "wan-mcp[sandbox]".',
        needed=False,
    )


def _configured(settings: Settings) -> Iterator[Finding]:
    for problem in settings.problems:
        yield Finding(False, problem, "Correct it in the client's MCP configuration.")
    if settings.api_key is not None:
        yield Finding(True, f"EVOLINK_API_KEY is set: {masked(settings.api_key)}")
    elif not any(problem.startswith("EVOLINK_API_KEY") for problem in settings.problems):
        yield Finding(False, "EVOLINK_API_KEY is not set", HOW_TO_SET_THE_KEY)
    yield Finding(True, f"API {settings.base_url}, files {settings.files_url}")


async def _answers(settings: Settings, transport: httpx2.AsyncBaseTransport | None) -> Finding:
    try:
        async with Runtime(settings, transport=transport) as runtime:
            credits = await Services(runtime).own().credits()
    except WanError as error:
        return Finding(False, f"The API does not answer as it should: {error.message}", error.next_step)
    left = f"The API answers and knows the key; {credits.remaining:g} credits are left"
    enough = credits.remaining > 0 and (
        credits.key_unlimited or credits.key_remaining is None or credits.key_remaining > 0
    )
    return Finding(
        enough, left, "" if enough else "Add credits to the Evolink account, or raise this key's limit."
    )


def masked(key: SecretStr) -> str:
    """Enough of a key to recognise it, too little to use it."""
    text = key.get_secret_value()
    return f"{text[:3]}…{text[-4:]}" if len(text) >= 16 else "…" * 3
