"""What the room loads: nothing of any host before its adapter is asked for. Knows modules by their names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from eventsock import EventLoop, LoopStateError, embed

_OF_HOSTS = {"asyncio", "tkinter", "gi", "PySide6", "PyQt6", "pygame", "trio", "IPython", "uvloop"}


def _loads(code: str) -> set[str]:
    program = f"{code}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()} & _OF_HOSTS


@pytest.mark.parametrize(
    "code",
    [
        "from eventsock import embed",
        "from eventsock.embed import Guest, LoopThread",
        "import eventsock.embed.pygame",
        "import eventsock.embed.qt",
    ],
)
def test_no_host_is_loaded_before_it_is_asked_for(code: str) -> None:
    # concurrent.futures, which futures come from, loads no asyncio either.
    assert _loads(code) == set()


@pytest.mark.parametrize(("module", "host"), [("asyncio", "asyncio"), ("tk", "tkinter")])
def test_adapter_loads_its_host_only(module: str, host: str) -> None:
    assert _loads(f"from eventsock import embed; embed.{module}") == {host}


def test_names_of_the_room() -> None:
    assert set(embed.__all__) <= set(dir(embed))
    with pytest.raises(AttributeError, match="no attribute 'wx'; the hosts are asyncio, glib"):
        embed.wx  # type: ignore[attr-defined]  # noqa: B018


_QT = """
import sys, types
from eventsock import EventLoop
def pretend(name, instance):
    class Timer:
        timeout = property(lambda self: types.SimpleNamespace(connect=lambda slot: None))
        def __getattr__(self, name): return lambda *args: None
    core = types.ModuleType(f"{name}.QtCore")
    core.QTimer = Timer
    core.Qt = types.SimpleNamespace(TimerType=types.SimpleNamespace(PreciseTimer=0))
    core.QCoreApplication = types.SimpleNamespace(instance=lambda: instance)
    sys.modules[name] = types.ModuleType(name)
    sys.modules[f"{name}.QtCore"] = core
sys.modules.update(PySide6=None, PyQt6=None)  # whether they are installed or not
from eventsock.embed.qt import QtGuest
with EventLoop() as loop:
"""


def _says(code: str) -> str:
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    done = subprocess.run([sys.executable, "-W", "error", "-c", _QT + indented], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr.strip().rpartition("\n")[2]


def test_binding_of_the_application_is_taken() -> None:
    app = "App = type('App', (), {'__module__': 'PyQt6.QtWidgets'})"
    code = f"pretend('PySide6', 1)\npretend('PyQt6', 1)\n{app}\nprint(QtGuest(App(), loop, None)._core.__name__)"
    assert _says(code) == "PyQt6.QtCore\n"


def test_binding_that_is_loaded_is_taken() -> None:
    assert _says("pretend('PyQt6', 1)\nprint(QtGuest(None, loop, None)._core.__name__)") == "PyQt6.QtCore\n"


def test_no_binding_says_how_to_get_one() -> None:
    assert _says("QtGuest(None, loop, None)") == "ImportError: no Qt is installed: pip install PySide6 or PyQt6"


def test_no_application_yet() -> None:
    text = _says("pretend('PyQt6', None)\nQtGuest(None, loop, None)")
    assert text == "eventsock.errors.LoopStateError: there is no Qt application yet: make the QApplication first, then attach"


def test_tk_without_file_handlers_says_what_to_do() -> None:
    class Bare:
        """A root whose Tk is that of a system without file handlers."""

        tk = object()

        def nametowidget(self, name: str) -> object:
            return self

        def update_idletasks(self) -> None:
            """Nothing waits."""

    with EventLoop() as loop:
        with pytest.raises(LoopStateError, match="cannot watch descriptors: run the loop in a LoopThread"):
            embed.tk.attach(Bare(), loop)  # type: ignore[arg-type]
        assert loop.host is None
