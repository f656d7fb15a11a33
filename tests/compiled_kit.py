"""Which build of the package the tests have before them, and the source of a class whichever it is.

Knows the loop's engine, which is compiled if anything is.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

__all__ = ["COMPILED", "by_replacing", "source_of"]

COMPILED = not str(import_module("eventsock.loop.engine").__file__).endswith(".py")

by_replacing = pytest.mark.skipif(COMPILED, reason="puts something of its own in the place of a part, which compiled parts do not take")


def source_of(cls: type) -> str:
    """As `inspect.getsource`, which finds none for a compiled class."""
    package, *parts = cls.__module__.split(".")
    folder = Path(str(import_module(package).__file__)).parent
    path = folder.joinpath(*parts).with_suffix(".py")
    text = (path if path.exists() else folder.joinpath(*parts, "__init__.py")).read_text()
    found = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    return "\n".join(text.splitlines()[found.lineno - 1 : found.end_lineno])
