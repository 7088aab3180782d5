"""`show_versions`: facts about the machine for a report of a problem."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from joblib import cpu_count
from threadpoolctl import threadpool_info

from slide._base.threads import has_openmp, max_threads
from slide._simd import dispatch

_PACKAGES = ("slide", "numpy", "scipy", "scikit-learn", "joblib", "threadpoolctl", "safetensors",
             "ml_dtypes", "matplotlib", "pandas")  # fmt: skip


def show_versions() -> None:
    """Print versions, the instruction set in use and threads. Add them when you report a problem.

    Examples
    --------
    >>> import slide
    >>> slide.show_versions()  # doctest: +ELLIPSIS
    <BLANKLINE>
    System:
           python: ...
    """
    _print("System", {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
    })  # fmt: skip
    _print("Packages", {name: _version(name) for name in _PACKAGES})
    _print("Engine", {
        "instruction set": dispatch.instruction_set(),
        "available": ", ".join(dispatch.available()),
        "OpenMP": has_openmp(),
        "processors": cpu_count(),
        "most threads": max_threads(),
    })  # fmt: skip
    for library in threadpool_info():
        kind = library.get("internal_api", library["user_api"])
        _print(f"Threads of {kind}", {
            name: library[name] for name in ("filepath", "version", "num_threads")
        })  # fmt: skip


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _print(title: str, values: dict[str, object]) -> None:
    print(f"\n{title}:")
    width = max(map(len, values)) + 3
    for name, value in values.items():
        print(f"{name:>{width}}: {value}")
