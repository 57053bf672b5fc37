"""Where a video goes, and whether folders can be used; the checks leave nothing behind."""

import os
import tempfile
from pathlib import Path

from wan_mcp.errors import VideoError, reason_of

NETWORK = {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"}
"""File systems on other machines, as Linux names them."""
ANOTHER_PLACE = "another place with --output"


def place(output: str | Path | None, name: str | None = None) -> tuple[Path, str | None]:
    """The folder and the name for a video.

    Args:
        output: a file, or a folder if it exists or ends with a slash; None: the current folder.
        name: the name in a folder.

    Raises:
        VideoError: when the folder cannot be written; this is checked before anything is paid.
    """
    target = Path.cwd() if output is None else Path(output).expanduser().absolute()
    is_folder = target.is_dir() or str(output).endswith(("/", os.sep))
    folder, name = (target, name) if is_folder else (target.parent, target.name)
    reason = why_not_writable(folder)
    if reason is not None:
        raise VideoError(
            f"The video could not be saved in {folder} ({reason}), so nothing was begun.",
            next_step=f"Name {ANOTHER_PLACE}.",
        )
    return folder, name


def why_not_readable(folder: Path) -> str | None:
    """Why the files of a folder cannot be read; None where they can."""
    try:
        with os.scandir(folder):
            return None
    except OSError as error:
        return reason_of(error)


def why_not_writable(folder: Path) -> str | None:
    """Why a folder, or the folder in which it would be made, cannot be written; None where it can."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryDirectory(dir=there, prefix=".wan-mcp-") as made:
            (Path(made) / "file").write_bytes(b"1")
        return None
    except OSError as error:
        return reason_of(error)


def network_file_system(folder: Path) -> str | None:
    """The kind of file system, if a folder is on another machine; None if not, and where it is not known."""
    try:
        rows = [line.split() for line in Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()]
    except OSError:
        return None
    real = folder.resolve()
    mounts = [(Path(row[1].replace("\\040", " ")), row[2].removeprefix("fuse.")) for row in rows]
    holding = [(len(mount.parts), kind) for mount, kind in mounts if real.is_relative_to(mount)]
    kind = max(holding, default=(0, ""))[1]
    return kind if kind in NETWORK or kind.startswith(("sshfs", "s3fs", "rclone")) else None
