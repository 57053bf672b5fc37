"""Removing a request on purpose: its row, and all that belongs to it."""

from collections.abc import Callable
from contextlib import suppress

from wan_mcp.errors import INSTALL_HTTP, InvalidRequest, SettingsError, StorageError, reason_of
from wan_mcp.generation.poster_files import PosterFiles
from wan_mcp.ledger import Entry, Ledger
from wan_mcp.settings import Settings
from wan_mcp.storage.folder import DEFAULT

DAY = 86_400.0
NOTHING_REMOVED = "Nothing was removed."


async def forget(
    settings: Settings, ledger: Ledger, task_id_or_number: str, clock: Callable[[], float], *, gone: bool
) -> list[Entry]:
    """Remove the rows with this task or number, with their kept videos and posters.

    The rows are removed last: if something fails before, they still tell what belongs to them.

    Args:
        settings: name the storage, and the data folder with the posters of a server without one.
        ledger: has the rows.
        task_id_or_number: which rows.
        clock: the time, in Unix seconds.
        gone: whether a kept video that the storage does not have is no reason to stop.

    Returns:
        The rows that were removed.

    Raises:
        InvalidRequest: when there is no such row.
        SettingsError: when a video is kept, and the settings do not lead to it; or when the library for the
            storage is missing, or a poster's file cannot be removed.
        StorageError: when a kept video or a poster cannot be removed now.
        LedgerError: when the ledger cannot be used.
    """
    entries = await ledger.named(task_id_or_number)
    if not entries:
        raise InvalidRequest(
            f"The ledger has no row {task_id_or_number}.", next_step="wan-mcp tasks lists the rows."
        )
    await _remove_stored(settings, entries, clock(), gone)
    while _keys(again := await ledger.named(task_id_or_number)) - _keys(entries):
        entries = again  # a server has just kept the video
        await _remove_stored(settings, entries, clock(), gone)
    files = PosterFiles(settings.data_dir, ledger)
    try:
        await files.remove(entries)
    except OSError as error:
        raise SettingsError(
            f"The poster of the picture cannot be removed: {reason_of(error)}. The row is still there.",
            next_step="Make the folder posters in the data folder writable, and forget it again.",
        ) from error
    await ledger.remove(entries)
    await files.remove_orphans()
    with suppress(StorageError, SettingsError):  # a poster that was put meanwhile is removed by its age, too
        await _remove_stored(settings, entries, clock(), gone=True)
    return entries


def _keys(entries: list[Entry]) -> set[str]:
    return {entry.kept.key for entry in entries if entry.kept}


async def _remove_stored(settings: Settings, entries: list[Entry], now: float, gone: bool) -> None:
    """Remove what a hosted server keeps in its storage, where there is one."""
    kept = {entry.kept.key: entry for entry in entries if entry.kept}
    if not kept and not settings.storage_url and not (settings.data_dir / DEFAULT).exists():
        return
    try:  # not everybody has installed what this needs
        from wan_mcp.generation.stored import StoredPosters
        from wan_mcp.storage.storage import objects_of
    except ImportError:
        raise SettingsError(
            f"A hosted server has a storage, and the library that can delete what is in it is not installed. "
            f"{NOTHING_REMOVED}",
            next_step=INSTALL_HTTP,
        ) from None
    if kept and settings.storage_url and settings.storage_url.startswith("memory:") and not gone:
        raise SettingsError(
            f"The video is in the memory of the running server. {NOTHING_REMOVED}",
            next_step="Stop the server, then add --video-is-gone.",
        )
    objects = objects_of(settings)
    try:
        for key, entry in kept.items():
            assert entry.kept is not None
            is_due = now < entry.kept.at + settings.result_days * DAY
            if is_due and not gone and await objects.facts(key) is None:
                raise SettingsError(
                    f"A hosted server keeps the video of #{entry.number}, but it is not in the storage that "
                    f"the settings here name. {NOTHING_REMOVED}",
                    next_step="Set WAN_MCP_STORAGE_URL, and what signs in there, as for the server. If the "
                    "video was deleted there, add --video-is-gone.",
                )
        await objects.delete(*kept)
        await StoredPosters(objects).remove(entries)
    except StorageError as error:
        raise StorageError(
            f"{error.message} The row and its poster are still there.", next_step=error.next_step
        ) from error
