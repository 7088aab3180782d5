"""The versions that the job "oldest" tests with are the lower bounds that the package states."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OLDEST = ROOT / "tools" / "oldest.txt"
pytestmark = pytest.mark.skipif(not OLDEST.exists(), reason="a wheel has no tools")


def lower_bounds():
    """{name: smallest version allowed} of what the package needs, builds with and tests with."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = stated["project"]
    texts = [*project["dependencies"], *stated["build-system"]["requires"]]
    for extra in ("test", "plot"):
        texts += project["optional-dependencies"][extra]
    found = {}
    for requirement in map(Requirement, texts):
        (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
        found.setdefault(canonicalize_name(requirement.name), set()).add(Version(bound))
    return found


def pins():
    lines = [line for line in OLDEST.read_text().splitlines() if not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    assert len({name for name, _ in pairs}) == len(pairs)
    return {canonicalize_name(name): {Version(version)} for name, version in pairs}


def test_the_oldest_versions_are_the_lower_bounds():
    bounds = lower_bounds()
    assert len(bounds) > 10
    tested = pins()
    assert {name: tested.get(name) for name in bounds} == bounds
