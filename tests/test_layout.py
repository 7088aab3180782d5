"""Tests of the layout: imports between packages and files run one way, and files stay short.

The sources are read, compiled modules included. An import under `if TYPE_CHECKING:` is for type
checkers and never runs, so it may point upward.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "slide"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="a wheel has no sources")

# From the top down: a room may import from the floors below its own. Rooms on one floor do not
# know each other.
FLOORS = [
    ["__main__"],
    ["_cli"],
    ["__init__"],  # what `import slide` gives
    ["inspection", "_versions"],
    ["_estimator"],
    ["_training", "_saving"],
    ["_prediction"],
    ["_network"],
    ["metrics", "datasets", "callback"],
    ["_settings"],
    ["_core"],
    ["_engine"],
    ["_hashing", "_prototypes"],
    ["_data"],
    ["_simd"],
    ["_base"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MOST_LINES = 500
MOST_ENTRIES = 26

CYTHON_IMPORT = re.compile(
    r"^(?:from (?P<source>slide[\w.]*) c?import (?P<names>\([^)]*\)|[^\n(]*)"
    r"|c?import (?P<module>slide[\w.]*))",
    re.MULTILINE,
)


def sources():
    return [path for path in sorted(ROOT.rglob("*")) if path.suffix in (".py", ".pyx", ".pxd")]


def name_of(path):
    """The module of a file, without "slide.": a .pyx and its .pxd are one."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path) for path in sources()}


def python_imports(path):
    """(module, names) of the imports that run, wherever they stand."""
    found = []

    def visit(node):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.append((node.module, [alias.name for alias in node.names]))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def cython_imports(path):
    text = re.sub(r'"""(?:.|\n)*?"""', '""', path.read_text())
    found = []
    for match in CYTHON_IMPORT.finditer(re.sub(r"#[^\n]*", "", text)):
        names = re.findall(r"(\w+)(?: as \w+)?", match["names"] or "")
        found.append((match["source"] or match["module"], names))
    return found


def imports_of(path):
    """The modules of slide, without "slide.", that a file imports when it is run or compiled."""
    read = python_imports if path.suffix == ".py" else cython_imports
    for module, names in read(path):
        if module != "slide" and not module.startswith("slide."):
            continue
        inside = module.removeprefix("slide").removeprefix(".")
        for name in names or [""]:
            candidates = (f"{inside}.{name}".strip("."), inside, "__init__")
            yield next(candidate for candidate in candidates if candidate in MODULES)


def module_graph():
    """{module: set of the modules it imports}."""
    graph = {module: set() for module in MODULES}
    for path in sources():
        graph[name_of(path)] |= set(imports_of(path)) - {name_of(path)}
    return graph


def room_graph():
    graph = {}
    for module, imported in module_graph().items():
        room = module.split(".")[0]
        graph.setdefault(room, set()).update({other.split(".")[0] for other in imported} - {room})
    return graph


def shown(graph):
    return "\n".join(
        f"{room} -> {', '.join(sorted(graph[room], key=FLOOR.get)) or 'nothing'}"
        for room in sorted(graph, key=FLOOR.get)
    )


def test_every_room_has_a_floor():
    assert room_graph().keys() == FLOOR.keys()


def test_arrows_between_rooms_point_down():
    graph = room_graph()
    print(shown(graph))
    upward = [
        f"{module} -> {other}"
        for module, imported in module_graph().items()
        for other in imported
        if (here := module.split(".")[0]) != (there := other.split(".")[0])
        and FLOOR[here] >= FLOOR[there]
    ]
    assert not upward, "\n".join([*upward, "The graph:", shown(graph)])


def test_files_import_each_other_in_no_circle():
    try:
        TopologicalSorter(module_graph()).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_the_engine_is_among_what_is_read():
    graph = module_graph()
    assert "_simd.largest" in graph["_hashing.estimates"]
    assert "_engine.layer" in graph["_engine.dense"]


def test_packages_import_nothing_but_their_public_name():
    # Otherwise importing `slide._simd.dispatch` would load the whole package.
    public = {"_cli", "_estimator", "inspection"}
    graph = module_graph()
    packages = {module for module in graph if (ROOT / module / "__init__.py").exists()}
    assert {package for package in packages if graph[package]} == public


def test_every_package_says_what_is_in_it():
    for path in ROOT.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_every_package_maps_its_modules():
    for folder in sorted(path.parent for path in ROOT.glob("_*/__init__.py")):
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        mapped = set(re.findall(r"^ {4}([\w.]+) ", docstring, re.MULTILINE))
        kinds = (".py", ".pyx", ".pxd", ".h", ".c")
        files = {path for path in folder.iterdir() if path.suffix in kinds}
        modules = {path.name if path.suffix in (".h", ".c") else path.stem for path in files}
        assert mapped == modules - {"__init__"}, folder


def test_compiled_files_do_not_index_from_the_end():
    # They are compiled without wraparound. NumPy 2.5 then finds no element -1, nor should it.
    for path in (path for path in ROOT.rglob("*") if path.suffix in (".pyx", ".pxd")):
        assert not re.findall(r"[\w)\]]\[-\d+\]", path.read_text()), path


def test_files_are_short_and_slide_is_not_crowded():
    kinds = (".py", ".pyx", ".pxd", ".pyi", ".h", ".c")
    lines = {
        path.relative_to(ROOT): len(path.read_text().splitlines())
        for path in ROOT.rglob("*")
        if path.suffix in kinds
    }
    assert not {path: n for path, n in lines.items() if n > MOST_LINES}
    made = re.compile(r"__pycache__|.*\.(so|pyd)")
    entries = [path.name for path in ROOT.iterdir() if not made.fullmatch(path.name)]
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
