"""The examples of the documentation run, block by block, and print what the pages show."""

import doctest
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from matplotlib import pyplot

DOCS = Path(__file__).parents[1] / "docs"
_FENCE = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page):
    """Kind, code and line number of every code block of a page that must run."""
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in _FENCE.finditer(text)]


PAGES = [page for page in sorted([*DOCS.glob("*.md"), *DOCS.glob("guide/*.md")]) if blocks(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_examples_of(page, tmp_path, monkeypatch):
    if "sklearn.callback" in page.read_text(encoding="utf-8") and not find_spec("sklearn.callback"):
        pytest.skip("the page shows callbacks, which need scikit-learn 1.9")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(verbose=False, optionflags=_FLAGS)
    for kind, code, line in blocks(page):
        if kind == "python":
            exec(compile("\n" * line + code, str(page), "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), line)
        said = []
        failed, _ = runner.run(test, out=said.append, clear_globs=False)
        names.update(test.globs)  # a DocTest works on a copy
        assert not failed, "".join(said)
    pyplot.close("all")


def test_pages_have_examples():
    assert len(PAGES) > 10
