"""Memory limits of this process, and the refusal of arrays that exceed them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_UNLIMITED = 1 << 62  # the kernel's number for no limit
LARGE = 1 << 28  # fewest bytes for which limits are looked up


@dataclass(frozen=True)
class Limit:
    """Bytes that may be used, the name of the limit, and the bytes that are already in use."""

    size: int
    source: str
    used: int

    @property
    def left(self) -> int:
        return self.size - self.used


def memory_limit(proc: str = "/proc/self", cgroups: str = "/sys/fs/cgroup") -> Limit | None:
    """The Limit of memory that can be written, or None if the system does not tell."""
    found = [(size, "the limit of its cgroup") for size in _cgroup_limits(proc, cgroups)]
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found.append((size, "its physical memory"))
    except (AttributeError, ValueError, OSError):
        pass
    found = [(size, source) for size, source in found if 0 < size < _UNLIMITED]
    return Limit(*min(found), _status(proc, "RssAnon")) if found else None


def address_limit(proc: str = "/proc/self") -> Limit | None:
    """The Limit of address space (RLIMIT_AS), which counts unwritten memory too, or None."""
    if resource is None:
        return None
    size = resource.getrlimit(resource.RLIMIT_AS)[0]
    if size == resource.RLIM_INFINITY or size >= _UNLIMITED:
        return None
    return Limit(size, "its limit of address space", _status(proc, "VmSize"))


def _cgroup_limits(proc: str, cgroups: str) -> Iterator[int]:
    """Limits of this process's control groups, versions 1 and 2, and of the groups above them."""
    for line in _read(Path(proc, "cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = Path(cgroups), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path(cgroups, "memory"), "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        for part in (group, *group.parents):
            text = _read(root / part / name).strip()
            if text.isdigit():
                yield int(text)


def _status(proc: str, name: str) -> int:
    """The bytes under a name in /proc/self/status; 0 if it is not there."""
    match = re.search(rf"^{name}:\s*(\d+) kB", _read(Path(proc, "status")), re.MULTILINE)
    return 1024 * int(match[1]) if match else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def check_copy(shape: tuple[int, int]) -> None:
    """Refuse to make a dense float32 copy of an X of this shape if it exceeds the memory."""
    _check_array(f"X of shape {shape}", 4 * shape[0] * shape[1], "a copy that is centred")


def check_topk(n_rows: int, k: int) -> None:
    """Refuse a call of predict_topk whose result exceeds the memory."""
    _check_array(f"k={k} for {n_rows} rows", 8 * n_rows * k, "labels and scores")


def _check_array(what: str, size: int, name: str) -> None:
    if size < LARGE:
        return
    for limit in (address_limit(), memory_limit()):
        check_needs(what, {name: size}, limit, "pass the rows in parts")


def check_needs(what: str, needs: dict[str, int], limit: Limit | None, advice: str) -> None:
    total = sum(needs.values())
    if limit is None or total <= limit.left:
        return
    terms = " + ".join(
        f"{_gb(size)} for {name}" for name, size in needs.items() if 1000 * size > total
    )
    used = f", of which {_gb(limit.used)} are in use" if limit.used >= 1e7 else ""
    raise MemoryError(
        f"{what} needs {_gb(total)}: {terms}; this machine has {_gb(limit.size)} "
        f"({limit.source}){used}: {advice}"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.{1 if size >= 1e10 else 2}f} GB"
