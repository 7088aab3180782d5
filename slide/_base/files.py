"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from typing import Any

from slide._base.guard import TemporaryFolder, in_steps, sync_folder
from slide._base.targets import check_target, followed
from slide._base.values import shown


def as_path(path: Any) -> str:
    """A path of any type as a plain str; ValueError for anything else."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise ValueError(f"path must be a str or path-like; got {shown(path)}")
    text = str.__str__(os.fsdecode(path))
    try:
        name = os.fsencode(text)
    except UnicodeEncodeError:
        name = b""
    if not name or b"\0" in name:
        raise ValueError(f"path must be a name that a file can have; got {shown(path)}")
    return text


@in_steps
def replacing(path: str) -> Iterator[str]:
    """Context manager: a new, empty file that replaces `path` if the block succeeds.

    If the block fails, `path` stays as it was and nothing else is left behind. A killed process
    leaves a folder `.NAME.HEX.tmp` with the new file, which can be deleted. The new file is written
    through to the disk before it replaces `path`. It gets the mode of an old file, and its owner
    and group where the system lets us.

    Parameters
    ----------
    path : str
        A file, or a name in a folder that exists. A link is followed, except another user's in a
        folder like /tmp.

    Yields
    ------
    temporary : str
        Path to write to, in the same folder.

    Raises
    ------
    OSError
        When the folder does not exist, is not writable, or the device is full. When the file
        cannot be replaced: it is another's in a folder like /tmp, a mount point or immutable.
    ValueError
        When `path` is a folder, a device or a pipe.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from slide._base.files import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "notes.txt"
    ...     with replacing(path) as temporary:
    ...         _ = Path(temporary).write_text("whole")
    ...     path.read_text()
    'whole'
    """
    path = followed(path)
    check_target(path)
    folder, name = os.path.split(path)
    # The folder's name contains the file's name, or the first part of a long one.
    start = os.fsencode(name)[:50].decode(errors="ignore")
    own = os.path.join(folder, f".{start}.{secrets.token_hex(8)}.tmp")
    temporary = os.path.join(own, "new")
    kept = TemporaryFolder(own, 0o700)  # a folder: a killed writer may leave several files
    try:
        # Not by tempfile, whose files have other permissions than a usual new file.
        with open(temporary, "xb"):
            pass
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        _take_over(temporary, path)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = path  # the error of a full device names no file
        raise
    finally:
        kept.remove()
    sync_folder(folder)


def _take_over(new: str, old: str) -> None:
    """Give a new file the rights of an old one, if there is one, and its owner if we may."""
    try:
        kept = os.stat(old)
    except FileNotFoundError:
        return
    mode = kept.st_mode & 0o777
    if hasattr(os, "chown"):
        try:
            os.chown(new, kept.st_uid, kept.st_gid)
        except OSError:
            mode = _without_group(new, kept.st_gid, mode)
    os.chmod(new, mode)


def _without_group(path: str, group: int, mode: int) -> int:
    """Set the group of a file and return `mode`; if we may not, without the old group's rights."""
    try:
        os.chown(path, -1, group)
    except OSError:
        return mode & (0o707 | (mode & 0o007) << 3)
    return mode


def check_replaceable(path: str) -> None:
    """Raise the errors of `replacing` now, before hours of work."""
    check_target(followed(path))
