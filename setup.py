"""Build of the extension modules; the metadata is in pyproject.toml.

SLIDE_DEBUG=1 builds with bounds checks and without optimisation. SLIDE_SANITIZE=address,undefined
or SLIDE_SANITIZE=thread builds with the compiler's sanitizers of these names (tools/sanitize.sh).
With either variable, debuggers, sanitizers and gcov show lines of the .pyx files. Add --force when
you switch.
"""

import os
from glob import glob

from Cython.Build import cythonize
from extension_helpers import add_openmp_flags_if_available
from setuptools import Extension, setup

DEBUG = os.environ.get("SLIDE_DEBUG") == "1"
SANITIZE = os.environ.get("SLIDE_SANITIZE", "")

# Compiled modules, from the bottom up: True if a module uses OpenMP, even if only to ask for the
# number of a thread.
MODULES = {
    "_base.rows": False,
    "_base.scratch": False,
    "_base.threads": True,
    "_base.guard": False,
    "_simd.dispatch": False,
    "_simd.weights": False,
    "_simd.largest": False,
    "_hashing.hasher": False,
    "_hashing.simhash": False,
    "_hashing.bins": False,
    "_hashing.winners": False,
    "_hashing.minhash": False,
    "_hashing.collisions": False,
    "_hashing.tables": True,
    "_hashing.directions": False,
    "_hashing.finder": False,
    "_hashing.scan": True,
    "_hashing.buckets": False,
    "_hashing.estimates": True,
    "_hashing.retrieval": False,
    "_prototypes.index": True,
    "_prototypes.means": True,
    "_prototypes.svms": True,
    "_engine.activations": False,
    "_engine.losses": False,
    "_engine.optimizer": False,
    "_engine.dense": True,
    "_engine.bag": True,
    "_engine.blocks": False,
    "_engine.pruning": False,
    "_engine.sparse": True,
    "_engine.model": False,
    "_engine.forward": False,
    "_engine.active": False,
    "_engine.workspace": False,
    "_engine.cost": False,
    "_engine.hidden": False,
    "_engine.output": False,
    "_engine.team": True,
    "_engine.entry_points": False,
    "_engine.predict": True,
    "_engine.centroids": True,
    "_engine.initial": True,
    "_prediction.coding": True,
    "_prediction.shortlist": True,
    "_prediction.sieve": True,
    "_core": True,
}
C_SOURCES = {"_simd.dispatch": ["slide/_simd/tables.c"]}

# A product is rounded before it is added, unless a kernel says otherwise: the hash codes of a
# neuron and of a query come from different code and must have the same bits.
COMPILE_ARGS = ["-O0" if DEBUG else "-O3", "-g1", "-ffp-contract=off", "-fno-math-errno"]
LINK_ARGS = []
if SANITIZE:
    COMPILE_ARGS += ["-O1", f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"]
    LINK_ARGS += [f"-fsanitize={SANITIZE}"]
if "undefined" in SANITIZE:
    COMPILE_ARGS += ["-fsanitize=float-cast-overflow", "-fno-sanitize-recover=all"]

SIMD_HEADERS = sorted(glob("slide/_simd/*.h"))


def extension(name, openmp):
    c_sources = C_SOURCES.get(name, [])
    ext = Extension(
        f"slide.{name}",
        [f"slide/{name.replace('.', '/')}.pyx", *c_sources],
        include_dirs=["."],
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
        [extension(name, openmp) for name, openmp in MODULES.items()],
        # The settings below change the C files, so each kind of build has a folder of its own.
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
