"""The plan of the house, read from the source: floors import downwards only, faces hold no logic, each door has its sign.

Knows `ast` and the order of the rooms; imports nothing of the package, so that it can judge a package that does not even load.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).resolve().parent.parent / "eventsock"

# From the ground up. Rooms on one floor do not know each other; "" is the face of the whole package.
_FLOORS = [
    ["errors", "compiling"],
    ["basic"],
    ["loop"],
    ["tasks"],
    ["workers"],
    ["sockets"],
    ["embed", "debug", "testing"],
    [""],
    ["commands"],
    ["__main__"],
]
_HEIGHT = {room: height for height, rooms in enumerate(_FLOORS) for room in rooms}


@dataclass(frozen=True)
class _Import:
    """That module `importer` names module `imported` on line `line`; `at_load` if importing the one imports the other."""

    importer: str
    imported: str
    line: int
    at_load: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def _modules(package: Path) -> dict[str, Path]:
    """Every module of the package by its name within it: "" for the face, "basic" for the face of a room, "basic.connect"."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _room(module: str) -> str:
    return module.partition(".")[0]


def _imports(package: Path) -> list[_Import]:
    modules = _modules(package)
    return [
        _Import(name, target, node.lineno, at_load)
        for name, path in modules.items()
        for node, at_load in _import_statements(ast.parse(path.read_text()), True)
        for target in _targets(node, package.name, name, path.name == "__init__.py", modules)
        if target != name
    ]


def _import_statements(node: ast.AST, at_load: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Each import statement below `node`, and whether it runs when the module is loaded."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, at_load
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        at_load = False
    for field in ast.iter_child_nodes(node):
        only_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and field in node.body
        yield from _import_statements(field, at_load and not only_typing)


def _targets(node: ast.Import | ast.ImportFrom, package: str, importer: str, is_face: bool, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that an import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        here = [package, *importer.split(".")] if importer else [package]
        above = here[: len(here) - node.level + is_face] if node.level else []
        base = ".".join(above + ([node.module] if node.module else []))
        names = [f"{base}.{alias.name}" for alias in node.names]
    return {_nearest(name.partition(".")[2], modules) for name in names if name.partition(".")[0] == package}


def _nearest(name: str, modules: dict[str, Path]) -> str:
    """`basic.connect.connect_to_host` is found in `basic.connect`."""
    while name not in modules:
        name = name.rpartition(".")[0]
    return name


def _climbing(package: Path) -> list[str]:
    """The imports that do not go down: to a higher floor, or to another room of the same one. The face itself only lists."""
    return [
        str(each)
        for each in _imports(package)
        if each.importer != ""
        and _room(each.importer) != _room(each.imported)
        and _HEIGHT[_room(each.imported)] >= _HEIGHT[_room(each.importer)]
    ]


def _knot(package: Path) -> list[str]:
    """Modules that import each other at load time, in a circle."""
    graph: dict[str, set[str]] = {name: set() for name in _modules(package)}
    for each in _imports(package):
        if each.at_load:
            graph[each.importer].add(each.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _logic_in_face(statements: list[ast.stmt]) -> list[str]:
    """The statements of a face that are more than a sign: anything but imports, tables and the lazy look-up of PEP 562."""
    signs = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign
    found = []
    for node in statements:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_lookup = isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not node.orelse:
            found += _logic_in_face(node.body)
        elif not (isinstance(node, signs) or is_docstring or is_lookup):
            found.append(f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}")
    return found


def _undocumented(tree: ast.Module, public: set[str]) -> list[str]:
    """The functions and classes without an underscore that lack a docstring, and the methods of those classes that users get."""
    found = _bare(tree.body, "")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in public:
            found += _bare(node.body, f"{node.name}.")
    return found


def _bare(nodes: list[ast.stmt], prefix: str) -> list[str]:
    documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [
        f"line {node.lineno}: {prefix}{node.name}"
        for node in nodes
        if isinstance(node, documented) and not node.name.startswith("_") and not _speaks_elsewhere(node) and not ast.get_docstring(node)
    ]


def _speaks_elsewhere(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether the docstring belongs to another definition: an overload's to the implementation, a setter's to the getter."""
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    return bool(marks & {"overload", "setter", "deleter"})


def _listed(face: Path) -> set[str]:
    """The names that a face imports in order to show them."""
    statements = ast.walk(ast.parse(face.read_text())) if face.exists() else ()
    return {alias.asname or alias.name for node in statements if isinstance(node, ast.ImportFrom) for alias in node.names}


_OURS = {name: path for name, path in _modules(_PACKAGE).items() if path.read_text().strip()}
_PUBLIC = _listed(_PACKAGE / "__init__.py") | _listed(_PACKAGE / "basic" / "__init__.py")


def test_every_room_has_its_floor() -> None:
    assert {_room(name) for name in _OURS} <= set(_HEIGHT)


def test_floors_import_downwards_only() -> None:
    assert _climbing(_PACKAGE) == []


def test_no_modules_import_each_other_at_load_time() -> None:
    assert _knot(_PACKAGE) == []


@pytest.mark.parametrize("name", [name for name, path in _OURS.items() if path.name == "__init__.py"])
def test_faces_are_only_faces(name: str) -> None:
    assert _logic_in_face(ast.parse(_OURS[name].read_text()).body) == []


@pytest.mark.parametrize("name", _OURS)
def test_module_says_what_it_knows(name: str) -> None:
    header = ast.get_docstring(ast.parse(_OURS[name].read_text())) or ""
    assert len(header) >= 50, "a header says what the module knows and what it must not know"


@pytest.mark.parametrize("name", _OURS)
def test_public_names_have_docstrings(name: str) -> None:
    assert _undocumented(ast.parse(_OURS[name].read_text()), _PUBLIC) == []


# The judge is judged: each of these small packages breaks one rule.


def _build(place: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = place / "eventsock" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place / "eventsock"


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("basic/connect.py", "from ..loop import run"),
        ("basic/connect.py", "from .. import loop"),
        ("basic/connect.py", "import eventsock.loop.run"),
        ("basic/__init__.py", "from ..loop.run import turn"),
        ("errors.py", "def late():\n    from .loop.run import turn"),
        ("errors.py", "if TYPE_CHECKING:\n    from .loop import run"),
        ("embed/tk.py", "from ..debug import dump"),
        ("loop/run.py", "from eventsock import EventLoop"),
    ],
)
def test_climbing_import_is_seen(tmp_path: Path, file: str, statement: str) -> None:
    plan = {"__init__.py": "", "loop/__init__.py": "", "loop/run.py": "", "debug/__init__.py": "", "embed/__init__.py": ""}
    package = _build(tmp_path, {**plan, "basic/__init__.py": "", file: statement})
    assert len(_climbing(package)) == 1


def test_downward_import_is_allowed(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from .loop import run",
        "basic/__init__.py": "",
        "basic/connect.py": "",
        "loop/__init__.py": "from .run import turn",
    }
    package = _build(tmp_path, {**files, "loop/run.py": "import socket\nfrom ..basic.connect import connect\nfrom . import run"})
    assert _climbing(package) == []
    assert {str(each) for each in _imports(package)} >= {"loop.run:2 imports basic.connect", "loop:1 imports loop.run"}


@pytest.mark.parametrize(("statement", "knotted"), [("from .b import x", True), ("def f():\n    from .b import x", False)])
def test_knot_is_seen(tmp_path: Path, statement: str, knotted: bool) -> None:
    package = _build(tmp_path, {"__init__.py": "", "loop/__init__.py": "", "loop/a.py": statement, "loop/b.py": "from .a import y"})
    assert bool(_knot(package)) is knotted


@pytest.mark.parametrize("text", ["def helper(): ...", "if TYPE_CHECKING:\n    x()", "for name in x: ...", "class Thing: ...", "print()"])
def test_logic_in_a_face_is_seen(text: str) -> None:
    assert len(_logic_in_face(ast.parse(f'"""A face."""\nimport os\n__all__ = []\n{text}').body)) == 1


def test_missing_docstring_is_seen() -> None:
    methods = "    def m(self): ...\n    def _m(self): ...\n    @property\n    def p(self): 'x'\n    @p.setter\n    def p(self, v): ...\n"
    tree = ast.parse(f"def f(): ...\ndef _f(): ...\nclass C:\n    'x'\n{methods}class D:\n{methods}")
    assert _undocumented(tree, {"C"}) == ["line 1: f", "line 11: D", "line 5: C.m"]
