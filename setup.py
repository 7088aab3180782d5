"""Build of the extension modules; metadata stands in pyproject.toml.

SLIDE_DEBUG=1 builds with bounds checks and without optimisation; add --force when switching.
"""

import os

from Cython.Build import cythonize
from extension_helpers import add_openmp_flags_if_available
from setuptools import Extension, setup

DEBUG = os.environ.get("SLIDE_DEBUG") == "1"

# module -> (C sources beside its .pyx, uses OpenMP)
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

SIMD_PARTS = ("", "_kernels", "_half", "_pairs", "_codes", "_hash", "_shortlist")
SIMD_HEADERS = [f"slide/_simd{part}.h" for part in SIMD_PARTS]


def extension(name, c_sources, openmp):
    ext = Extension(
        f"slide.{name}",
        [f"slide/{name}.pyx", *c_sources],
        include_dirs=["slide"],
        depends=SIMD_HEADERS if c_sources else [],
        extra_compile_args=[] if os.name == "nt" else list(COMPILE_ARGS),
    )
    if openmp:
        add_openmp_flags_if_available(ext)
    return ext


setup(
    ext_modules=cythonize(
        [extension(name, *spec) for name, spec in MODULES.items()],
        # The directives below are in the C files, so the two kinds must not be mixed up.
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": False,
        },
    )
)
