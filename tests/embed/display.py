"""A screen for window systems, and what the tests say when a host is not installed. Knows Xvfb, as a program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from programs import ROOT

INSTALL = {
    "asyncio": "nothing",
    "glib": "apt-get install python3-gi gir1.2-gtk-3.0 xvfb",
    "ipython": "pip install ipython",
    "pygame": "pip install pygame",
    "pyqt": "pip install PyQt6; apt-get install libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1",
    "pyside": "pip install PySide6-Essentials; apt-get install libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1",
    "tk": "apt-get install python3-tk xvfb",
    "trio": "pip install trio",
    "uvloop": "pip install uvloop",
}
"""How to get each host."""


@contextmanager
def screen() -> Iterator[str]:
    """The DISPLAY of a screen that nobody sees; the one there is, perhaps none, where there is no Xvfb."""
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        yield os.environ.get("DISPLAY", "")
        return
    with subprocess.Popen([xvfb, "-displayfd", "1", "-nolisten", "tcp"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        try:
            yield f":{server.stdout.readline().decode().strip()}"
        finally:
            server.terminate()


def python_of(host: str) -> str:
    """The interpreter that has `host`: this one, but for Debian's PyGObject, which belongs to the system's Python."""
    system = "/usr/bin/python3"
    if host != "glib" or _has_gi(sys.executable) or not os.path.exists(system) or not _has_gi(system):
        return sys.executable
    return system


def _has_gi(python: str) -> bool:
    program = "import gi, sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([python, "-c", program], capture_output=True, check=False).returncode == 0


def command(host: str, *arguments: str) -> list[str]:
    """How to run a program in `host`: warnings are errors there, too, but for one that PyGObject itself causes.

    IPython takes longer for a cell than asyncio's debug mode can bear without a word.
    """
    lenient = ["-W", "ignore::ImportWarning"] if host == "glib" else []
    strict = [] if host == "IPython" else ["-X", "dev"]
    return [python_of(host), *strict, "-W", "error", *lenient, *arguments]


def environment(display: str) -> dict[str, str]:
    """What window systems need to run where there is no window."""
    headless = {
        "QT_QPA_PLATFORM": "offscreen",
        "QT_LOGGING_RULES": "default.warning=false",
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "PYGAME_HIDE_SUPPORT_PROMPT": "1",
        "NO_AT_BRIDGE": "1",
    }
    return {**os.environ, **headless, "DISPLAY": display, "PYTHONPATH": str(ROOT)}
