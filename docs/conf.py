"""Configuration of the documentation: sphinx-build -W docs docs/_build"""

import inspect
import shutil
import sys
from pathlib import Path

import slide

sys.path.insert(0, str(Path(__file__).parent))
import _bench
import _commands

ROOT = Path(__file__).parents[1]
HOOKS = {"setup", "teardown", "on_fit_task_begin", "on_fit_task_end"}
SINGLE = ("why", "quickstart", "parameters", "how-it-works", "benchmarks", "faq")
SINGLE += ("changelog", "CONTRIBUTING", "security")
GALLERY = any((ROOT / "examples").glob("plot_*.py"))

project = "slide"
author = "The slide developers"
copyright = author
version = release = slide.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    *(["sphinx_gallery.gen_gallery"] if GALLERY else []),
]
exclude_patterns = ["_build", "generated/bench", "auto_examples/GALLERY_HEADER.*"]
templates_path = ["_templates"]
smartquotes = False  # quoted values are code
# The list of pages names the gallery, which a build without examples lacks.
suppress_warnings = [] if GALLERY else ["toc.not_readable"]

# Markdown
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Docstrings
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings tell the types
default_role = "code"  # names in single backticks
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    "all",
    "ES01",  # a summary may say it all
    "RT02",  # results have names here
    "SA01",  # what belongs together is on one page of the reference
}

# Pictures
plot_formats = [("png", 120)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_pre_code = ""

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"^(?!plot_)",
    "write_computation_times": False,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 0,
}

# HTML
html_theme = "pydata_sphinx_theme"
html_title = f"slide {version}"
html_static_path = ["_static"]
html_css_files = ["slide.css"]
html_show_sourcelink = False
# Pages without pages below them have nothing to list at the side.
html_sidebars = {page: [] for page in SINGLE}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def skip_member(app, what, name, obj, skip, options):
    """Leave out what scikit-learn defines, base classes and the hooks of callbacks."""
    function = inspect.unwrap(getattr(obj, "__func__", obj))
    ours = (getattr(function, "__module__", None) or "").startswith("slide")
    return skip or not ours or name in HOOKS


def write_benchmarks(app):
    """Make the tables and plots of the page of benchmarks from bench/results/."""
    folder = Path(app.srcdir) / "generated" / "bench"
    shutil.rmtree(folder, ignore_errors=True)
    _bench.write(ROOT / "bench" / "results", folder)


def setup(app):
    app.add_directive("command-help", _commands.CommandHelp)
    app.connect("autodoc-skip-member", skip_member)
    app.connect("builder-inited", write_benchmarks)
