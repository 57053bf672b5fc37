"""Any picture a user has becomes a picture that Evolink takes."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2

from wan_mcp.errors import AddressRefused, FetchFailed, PictureError
from wan_mcp.images import files, sources, web
from wan_mcp.images.fitting import fit
from wan_mcp.images.picture import Picture
from wan_mcp.images.prepare import Prepared
from wan_mcp.net.addresses import IPAddress, is_public_ip, shown
from wan_mcp.net.fetch import Checked, Resolve, Safe, canonical

_AT_ONCE = 2
"""Pictures that are decoded at the same time: each may take much memory."""
_RESOLVING = 10.0
_LONGEST_PATH = 300
_SUFFIXES = {"jpeg": "jpg"}
_SIGNED = (
    "The address looks signed or short-lived: if Evolink reports that it could not fetch the picture, "
    "give a fresh address, or the picture as a file."
)
_UNFETCHED = "Check that the address opens elsewhere, since Evolink has to fetch it too, or give a file."


class Pictures:
    """Opens pictures, wherever they come from.

    ``folders`` are where local files may be read from; with ``local=False`` (a server that does not
    run on the user's machine) none may. ``allow_private`` lets web addresses lead into private
    networks. With ``check=False`` web addresses are passed on without a look at what is there;
    private ones are refused all the same. ``resolve``, ``public`` and ``transport`` are those of
    ``Safe``.
    """

    def __init__(
        self,
        *,
        folders: Iterable[Path] | None = None,
        local: bool = True,
        allow_private: bool = False,
        check: bool = True,
        resolve: Resolve | None = None,
        public: Callable[[IPAddress], bool] = is_public_ip,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._folders = tuple(folders) if folders is not None else (Path.home(), Path.cwd())
        self._local = local
        self._check = check
        self._safe = Safe(allow_private=allow_private, public=public, resolve=resolve, transport=transport)
        self._turns: anyio.Semaphore | None = None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._safe.aclose()

    async def open(self, reference: str) -> Picture:
        """A picture that Evolink takes, made of the one that ``reference`` names.

        Raises:
            PictureError: when it cannot be had, or cannot be made to fit.
            AddressRefused: when it is at an address that must not be connected to.
        """
        try:
            kind = sources.kind(reference)
            if kind == "web":
                return await self._from_web(reference)
            if kind == "data":
                return await self._in_thread(lambda: _fitted(sources.data_content(reference)))
            return await self._from_file(reference)
        except AddressRefused as error:
            raise AddressRefused(f"image_urls: {error.message}.", next_step=error.next_step) from None
        except PictureError as error:
            text = f"image_urls: {_subject(reference)} {error.message}."
            raise PictureError(text, next_step=error.next_step) from None
        except FetchFailed as error:
            raise PictureError(f"image_urls: {error.message}.", next_step=_UNFETCHED) from None

    async def _from_file(self, reference: str) -> Picture:
        if not self._local:
            raise PictureError(
                "is a path, and this server does not run on your machine, so it reads no files",
                next_step="Give an https:// address, or a data: URI.",
            )
        path = sources.local_path(reference)
        return await self._in_thread(lambda: _fitted(files.read(path, self._folders)))

    async def _from_web(self, address: str) -> Picture:
        if not self._check:
            return _unseen(await self._checked(address))
        url = canonical(address)
        seen = await web.look(self._safe, str(url))
        content = seen.content
        if content is not None:
            return await self._in_thread(lambda: _fitted(content))
        return Picture(
            identity=_digest(str(url).encode()),
            address=str(url),
            file_name=_file_name(seen.facts.format),
            media_type=f"image/{seen.facts.format}",
            width=seen.facts.width,
            height=seen.facts.height,
            format=seen.facts.format,
            notes=_notes(url),
        )

    async def _checked(self, address: str) -> Checked:
        """The checks alone. A name that is unknown here may be known to Evolink."""
        with anyio.move_on_after(_RESOLVING):
            try:
                return await self._safe.check(address)
            except FetchFailed:
                pass
        return Checked(canonical(address), ())

    async def _in_thread(self, work: Callable[[], Picture]) -> Picture:
        self._turns = self._turns or anyio.Semaphore(_AT_ONCE)
        async with self._turns:
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


def _fitted(content: bytes) -> Picture:
    prepared: Prepared = fit(content)
    return Picture(
        identity=_digest(content),
        content=prepared.content,
        file_name=_file_name(prepared.format),
        media_type=f"image/{prepared.format}",
        width=prepared.width,
        height=prepared.height,
        format=prepared.format,
        adjusted=prepared.adjusted,
    )


def _unseen(checked: Checked) -> Picture:
    return Picture(
        identity=_digest(str(checked.url).encode()),
        address=str(checked.url),
        notes=("The picture was passed on unchecked.", *_notes(checked.url)),
    )


def _notes(url: httpx2.URL) -> tuple[str, ...]:
    return (_SIGNED,) if web.looks_signed(url.query) else ()


def _file_name(kind: str) -> str:
    """A name that tells nothing: the file's own may hold what its owner would not send."""
    return f"picture.{_SUFFIXES.get(kind, kind)}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _subject(reference: str) -> str:
    """What to call a picture in a message: nothing of its data, nor of a query."""
    if reference[:5].lower() == "data:":
        return "the data: URI"
    if reference[:4].lower() == "http":
        return shown(reference)
    if len(reference) > _LONGEST_PATH:  # base64 without its data: prefix can look like a path
        return f"the reference, {len(reference)} characters long,"
    return "".join(char if char.isprintable() else "?" for char in reference)
