"""Build of the extension modules; metadata stands in pyproject.toml.

SLIDE_DEBUG=1 builds with bounds checks and without optimisation, SLIDE_SANITIZE=address,undefined
or thread with the compiler's sanitizers of these names (see tools/sanitize.sh). With either of them
debuggers, sanitizers and gcov name lines of the .pyx files. Add --force when switching.
"""

import os

from Cython.Build import cythonize
from extension_helpers import add_openmp_flags_if_available
from setuptools import Extension, setup

DEBUG = os.environ.get("SLIDE_DEBUG") == "1"
SANITIZE = os.environ.get("SLIDE_SANITIZE", "")

# module -> (C sources beside its .pyx, uses OpenMP, be it to ask which thread it is in)
MODULES = {
    "_simd": (["slide/_simd_tables.c"], False),
    "_scratch": ([], False),
    "_families": ([], False),
    "_hash": ([], False),
    "_directions": ([], False),
    "_selection": ([], False),
    "_tables": ([], True),
    "_retrieval": ([], True),
    "_weights": ([], False),
    "_optimizer": ([], False),
    "_layers": ([], True),
    "_input": ([], True),
    "_sparse": ([], True),
    "_postings": ([], True),
    "_model": ([], False),
    "_label_means": ([], True),
    "_forward": ([], False),
    "_active": ([], False),
    "_predict": ([], True),
    "_shortlist": ([], True),
    "_centroids": ([], False),
    "_core": ([], True),
    "_threads": ([], True),
}

# A product is rounded before it is added, unless a kernel says otherwise: the hash codes of a
# neuron and of a query come from different code and must have the same bits.
COMPILE_ARGS = ["-O0" if DEBUG else "-O3", "-g1", "-ffp-contract=off", "-fno-math-errno"]
LINK_ARGS = []
if SANITIZE:
    COMPILE_ARGS += ["-O1", f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"]
    LINK_ARGS += [f"-fsanitize={SANITIZE}"]
if "undefined" in SANITIZE:
    COMPILE_ARGS += ["-fsanitize=float-cast-overflow", "-fno-sanitize-recover=all"]

SIMD_PARTS = ("", "_kernels", "_half", "_pairs", "_codes", "_hash", "_shortlist")
SIMD_HEADERS = [f"slide/_simd{part}.h" for part in SIMD_PARTS]


def extension(name, c_sources, openmp):
    ext = Extension(
        f"slide.{name}",
        [f"slide/{name}.pyx", *c_sources],
        include_dirs=["slide"],
        depends=SIMD_HEADERS if c_sources else [],
        extra_compile_args=[] if os.name == "nt" else list(COMPILE_ARGS),
        extra_link_args=list(LINK_ARGS),
    )
    if openmp:
        add_openmp_flags_if_available(ext)
    return ext


N_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

setup(
    # `pip install` alone would compile one module after the other.
    options={"build_ext": {"parallel": min(N_PROCESSORS or 1, 8)}},
    ext_modules=cythonize(
        [extension(name, *spec) for name, spec in MODULES.items()],
        # The settings below are in the C files, so their kinds must not be mixed up.
        build_dir="build/cython" + ("-debug" if DEBUG else "-sanitize" if SANITIZE else ""),
        emit_linenums=DEBUG or bool(SANITIZE),
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    ),
)
