"""The file that a path leads to, and whether it can be replaced: refusals before hours of work."""

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_MOST_LINKS = 40  # as in Linux
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS of Linux
_FIXED = 0x10 | 0x20  # its flags "immutable" and "append only"


def followed(path: str) -> str:
    """The path of the file itself, in its real folder; links at its end are followed.

    In a folder like /tmp anyone can place a link under the name of another's file. Such a link is
    refused, as Linux refuses to open it (protected_symlinks).
    """
    given = path
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder)
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            if os.path.exists(given) and not os.path.exists(path):
                # Links of /proc, and so /dev/stdout, lead to open files that may have no path.
                raise ValueError(f"{given} cannot be written: it is not a plain file")
            return path
        if is_trap(os.lstat(path), os.stat(folder), user()):
            raise PermissionError(
                f"{given} cannot be written: {path} is a link of another user, in a folder that "
                "everyone can write to"
            )
        path = os.path.join(folder, os.readlink(path))
    raise OSError(f"{given} cannot be written: its links go round in a circle")


def is_trap(link: os.stat_result, folder: os.stat_result, user_id: int | None) -> bool:
    """Whether a link may be another's trap: neither the user nor the owner of the folder made it.

    Only folders for everyone, in which names belong to their makers (sticky), are meant.
    """
    shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    return bool(shared) and link.st_uid not in (user_id, folder.st_uid)


def is_anothers(file: os.stat_result, folder: os.stat_result, user_id: int | None) -> bool:
    """Whether only another user may replace a file, because its folder is sticky."""
    sticky = bool(folder.st_mode & stat.S_ISVTX)
    return sticky and user_id not in (None, 0, file.st_uid, folder.st_uid)


def user() -> int | None:
    """The id of the user that files are made as, or None on systems without."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def check_target(path: str) -> None:
    """Refuse a path, as `followed` returns it, to which no file can be moved."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {folder}")
    if _is_too_long(path):
        size = len(os.fsencode(name))
        raise OSError(f"{path} cannot be written: its name is too long, {size} bytes")
    if os.path.exists(path):
        _check_old(path, folder)
    as_user = os.access in os.supports_effective_ids
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=as_user):
        raise PermissionError(f"{path} cannot be written: no right to write into {folder}")
    if _is_fixed(folder):
        raise PermissionError(f"{path} cannot be written: the folder {folder} is immutable")


def _check_old(path: str, folder: str) -> None:
    """Refuse a file that cannot make way for another."""
    if not os.path.isfile(path):
        raise ValueError(f"{path} cannot be written: it is not a plain file")
    if is_anothers(os.stat(path), os.stat(folder), user()):
        raise PermissionError(
            f"{path} cannot be written: it is another user's file, in a folder where everyone "
            "may only replace their own"
        )
    if _is_mounted(path):
        raise OSError(f"{path} cannot be written: it is a mount point; mount its folder instead")
    if _is_fixed(path):
        raise PermissionError(f"{path} cannot be written: it is immutable")


def _is_too_long(path: str) -> bool:
    """Whether the system says so; it counts bytes or characters, and their number differs."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _is_mounted(path: str, table: str = "/proc/self/mountinfo") -> bool:
    """Whether a file is a mount point, as containers mount single files."""
    if os.path.ismount(path):
        return True
    try:
        lines = Path(table).read_bytes().splitlines()
    except OSError:
        return False  # not Linux
    # The fifth word is the mount point, with spaces and the like as octal numbers.
    points = (line.split()[4] for line in lines)
    return os.fsencode(path) in (
        re.sub(rb"\\(\d{3})", lambda code: bytes([int(code[1], 8)]), point) for point in points
    )


def _is_fixed(path: str) -> bool:
    """Whether a file or folder has the flag "immutable" or "append only", where Linux tells."""
    if fcntl is None:
        return False
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            flags = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))
        finally:
            os.close(descriptor)
        return bool(int.from_bytes(flags, "little") & _FIXED)
    return False
