"""The result on disk: fetched, looked at, and only then put in its place."""

from pathlib import Path

import anyio
import httpx2

from wan_mcp import __version__
from wan_mcp.errors import EvolinkError, LostAnswer, UnreadableAnswer


async def download(link: str, target: Path) -> Path:
    """Fetch a video and put it at ``target``; it appears there whole or not at all.

    Raises:
        EvolinkError: when the link does not answer with an MP4 file.
        OSError: when the file cannot be written.
    """
    partial = target.with_name(f".{target.name}.part")
    await anyio.Path(partial.parent).mkdir(parents=True, exist_ok=True)
    try:
        await _fetch(link, partial)
        await anyio.Path(partial).replace(target)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(partial).unlink(missing_ok=True)
    return target


async def _fetch(link: str, target: Path) -> None:
    headers = {"User-Agent": f"wan-mcp/{__version__}"}  # and no key: media hosts are not the API
    try:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30, follow_redirects=True) as http,
            http.stream("GET", link) as response,
            await anyio.open_file(target, "wb") as file,
        ):
            if not response.is_success:
                raise EvolinkError(f"The video's link answered HTTP {response.status_code}.")
            async for chunk in response.aiter_bytes():
                await file.write(chunk)
    except httpx2.HTTPError as error:
        raise LostAnswer("The video could not be downloaded.", next_step="Try again.") from error
    async with await anyio.open_file(target, "rb") as file:
        if (await file.read(12))[4:8] != b"ftyp":
            raise UnreadableAnswer("The video's link answered with something that is not an MP4 file.")


def free_name(folder: Path, stem: str) -> Path:
    """A path in ``folder`` that no file has yet: a number is added where the name is taken."""
    candidate, number = folder / f"{stem}.mp4", 1
    while candidate.exists():
        number += 1
        candidate = folder / f"{stem}-{number}.mp4"
    return candidate
