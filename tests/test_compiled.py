"""The compiled build: what is tested is compiled if it ought to be, all of it and nothing else, and only who asks for it needs a compiler.

Which it ought to be is said by `EVENTSOCK_COMPILE`, as at the build.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from compiled_kit import COMPILED
from programs import ROOT

_WANTED = os.environ.get("EVENTSOCK_COMPILE", "") not in ("", "0")


def _listed() -> list[str]:
    """The files that `setup.py` has compiled, read and not run."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMPILED":
            found: list[str] = ast.literal_eval(node.value)
            return found
    raise AssertionError("setup.py has no list COMPILED")


def _module(file: str) -> str:
    return ".".join(Path(file).with_suffix("").parts)


def test_what_is_tested_is_compiled_if_it_ought_to_be() -> None:
    assert COMPILED is _WANTED


@pytest.mark.parametrize("file", _listed())
def test_all_of_the_list_is_compiled(file: str) -> None:
    assert (ROOT / file).exists()
    assert str(import_module(_module(file)).__file__).endswith(".py") is not _WANTED


def test_nothing_else_is_compiled() -> None:
    code = (
        "import sys, eventsock; [getattr(eventsock, name) for name in eventsock.__all__];"
        "print(*sorted(name for name, module in sys.modules.items()"
        "  if name.startswith('eventsock.') and not str(module.__file__).endswith('.py')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert set(found) == ({_module(file) for file in _listed()} if _WANTED else set())


@pytest.mark.parametrize(("word", "needs"), [("", False), ("0", False), ("1", True)])
@pytest.mark.parametrize("hook", ["get_requires_for_build_wheel", "get_requires_for_build_editable"])
def test_only_who_asks_for_the_compiled_build_needs_mypy(hook: str, word: str, needs: bool) -> None:
    pytest.importorskip("setuptools")
    code = f"import sys; sys.path.insert(0, 'building'); import backend; sys.argv[1:] = []; print('NEEDS', backend.{hook}())"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ, "EVENTSOCK_COMPILE": word},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("mypy" in done.stdout.partition("NEEDS")[2]) is needs
