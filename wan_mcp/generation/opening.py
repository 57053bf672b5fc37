"""Opening the picture of a request: from a file, the web, data, an upload, or the end of a task's video."""

import anyio

from wan_mcp.errors import LedgerError, PictureError, PictureUnavailable, WanError
from wan_mcp.generation.frames import FrameReader
from wan_mcp.generation.uploads import CONFUSED, Uploads
from wan_mcp.images import Picture, PictureLoader, sources
from wan_mcp.images.names import unquoted
from wan_mcp.ledger import OwnerLedger


class PictureOpener:
    """Opens the pictures of one owner's requests.

    Args:
        loader: opens all pictures that are not frames of tasks' videos.
        frames: reads the last frames of tasks' videos.
        ledger: knows the place of a task in its chain.
        uploads: the owner's, on a hosted server.
    """

    def __init__(
        self, loader: PictureLoader, frames: FrameReader, ledger: OwnerLedger, uploads: Uploads | None
    ) -> None:
        self._loader = loader
        self._uploads = uploads
        self._frames = frames
        self._ledger = ledger

    async def open(self, reference: str, patience: float) -> Picture:
        """Make a picture that Evolink takes, within ``patience`` seconds.

        Raises:
            PictureUnavailable: when the picture cannot be read.
            PictureError: when it cannot be made to fit.
            AddressRefused: when it is at an address that must not be connected to.
        """
        accepted = self._loader.accepted
        kind = sources.kind(reference, accepted)
        if self._uploads is not None and self._uploads.has_address(reference):
            raise PictureError(CONFUSED, next_step="Give the image_url that prepare_upload answered with it.")
        with anyio.move_on_after(patience):
            if kind == "task":
                return await self._last_frame(unquoted(reference))
            if kind == "upload":
                return await self._uploaded(reference)
            return await self._loader.open(reference)
        text = f"image_urls: the picture could not be read within {patience:g} seconds."
        if kind == "task":
            advice = f"Call save_video with task_id {unquoted(reference)}, then make the same request again."
            if not accepted.files:
                advice = "Make the same request again."
            raise PictureUnavailable(text, next_step=advice)
        if kind == "upload":
            raise PictureUnavailable(text, next_step="Make the same request again.")
        advice = f"Give a smaller picture, or {accepted.faster}."
        # An earlier request may be found by a web address, but not by a path: the file may have changed.
        raise (PictureUnavailable if kind == "web" else PictureError)(text, next_step=advice)

    async def _uploaded(self, reference: str) -> Picture:
        upload_id = sources.upload_id(reference)
        assert upload_id is not None
        assert self._uploads is not None
        async with self._uploads.opened(upload_id) as content:
            return await self._loader.of_upload(content)

    async def _last_frame(self, task_id: str) -> Picture:
        try:
            entry = await self._ledger.find(task_id)
            frame = await self._frames.last_frame(task_id)
        except LedgerError:
            raise
        except WanError as error:
            text = f"image_urls: task {task_id} cannot be continued. {error.message}"
            raise PictureUnavailable(text, next_step=error.next_step) from error
        return await self._loader.of_last_frame(task_id, entry.part + 1 if entry else 2, frame)
