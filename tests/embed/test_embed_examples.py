"""The examples of embedding, driven as a user would: on a screen that nobody sees, talked to over sockets.

Knows the examples from outside, as programs.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from display import INSTALL, command, environment, screen
from programs import ROOT, StartProgram, complaints

Program = subprocess.Popen[str]
Start = Callable[..., Program]


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with screen() as name:
        yield name


@pytest.fixture
def start(display: str) -> Iterator[Start]:
    """Starts an example in the Python of a host; skips the test where the host is not installed."""
    with ExitStack() as programs:

        def start(host: str, file: str, *arguments: str) -> Program:
            _must_have(host, display)
            program = subprocess.Popen(
                command(host, f"examples/{file}", *arguments),
                cwd=ROOT,
                env=environment(display),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            programs.enter_context(program)
            programs.callback(program.kill)
            return program

        yield start


_MODULES = {
    "glib": "gi; gi.require_version('Gtk', '3.0')",
    "pyqt": "PyQt6.QtWidgets",
    "pyside": "PySide6.QtWidgets",
    "tk": "tkinter; tkinter.Tk().destroy()",
}


def _must_have(host: str, display: str) -> None:
    program = command(host, "-c", f"import {_MODULES.get(host, host)}")
    done = subprocess.run(program, env=environment(display), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{host} is not here ({done.stderr.strip().rpartition(chr(10))[2]}): {INSTALL.get(host, f'pip install {host}')}")


def _line(program: Program, start: str = "") -> str:
    """The next line of output that begins so."""
    assert program.stdout is not None
    for line in program.stdout:
        if line.startswith(start):
            return line.rstrip("\n")
    raise AssertionError(f"{start!r} was not printed; stderr: {program.stderr and program.stderr.read()}")


def _port(program: Program) -> int:
    return int(_line(program).rpartition(":")[2])


def _ends_well(program: Program) -> None:
    program.send_signal(signal.SIGTERM)
    _, errors = program.communicate(timeout=20)
    assert (program.returncode, complaints(errors)) == (0, "")


def test_tk_chat(start: Start) -> None:
    room = start("tk", "tk_chat.py", "--serve", "--port", "0", "--name", "keeper")
    port = _port(room)
    assert _line(room) == "keeper: hello"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as other, other.makefile("rw") as words:
        words.write("other: good day\n")
        words.flush()
        assert _line(room) == "other: good day"
        assert words.readline() == "other: good day\n"
        visitor = start("tk", "tk_chat.py", "--port", str(port), "--name", "visitor")
        assert _line(room) == "visitor: hello"
        assert words.readline() == "visitor: hello\n"
        assert _line(visitor) == "visitor: hello"
        _ends_well(visitor)
        words.write("other: somebody left\n")
        words.flush()
        assert _line(room) == "other: somebody left"
    visitor = start("tk", "tk_chat.py", "--port", str(port))
    assert _line(visitor) == "somebody: hello"
    _ends_well(room)
    assert _line(visitor) == "(the room is closed)"
    _ends_well(visitor)


def test_tk_chat_without_a_room(start: Start, refused_port: int) -> None:
    window = start("tk", "tk_chat.py", "--port", str(refused_port))
    assert "Connection refused" in _line(window)
    _ends_well(window)


@pytest.mark.parametrize(("host", "binding"), [("pyside", "PySide6"), ("pyqt", "PyQt6")])
def test_qt_window(start: Start, start_program: StartProgram, host: str, binding: str) -> None:
    _must_have(host, "")
    server = start_program("-m", "eventsock", "echo", "--port", "0")
    port = _port(server)
    window = start(host, "qt_window.py", "--port", str(port), "--qt", binding, "--retry-after", "2")
    ends = [_line(window).split()[-1] for _ in range(4)]
    assert {"ms", "s"} == set(ends)
    server.terminate()
    server.wait()
    _line(window, "the server has gone")
    # The dialog is open, on top of the task that asked; the other one goes on.
    seconds = [float(_line(window).split()[0]) for _ in range(3)]
    assert seconds[0] + 0.1 < seconds[2]
    assert "Connection refused" in _line(window, "[Errno")  # it has answered itself, and has tried again
    _ends_well(window)


def test_gtk_window(start: Start) -> None:
    window = start("glib", "gtk_window.py", "--port", "0")
    port = _port(window)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as visitor, visitor.makefile("rw") as words:
        assert _line(window) == "visitors: 1"
        assert words.readline() == "Please sign.\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20):
            assert _line(window) == "visitors: 2"
        assert _line(window) == "visitors: 1"
        words.write("I was here\n")
        words.flush()
        assert words.readline() == "Thank you.\n"
        assert _line(window) == "I was here"
        _ends_well(window)
        assert words.readline() == ""


def test_game_loop(start: Start) -> None:
    game = start("pygame", "game_loop.py", "--port", "0")
    port = _port(game)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as player, player.makefile("rw") as words:
        for said, heard in (("right", "260 240"), ("up", "260 220"), ("jump", "left, right, up or down?"), ("left", "240 220")):
            words.write(f"{said}\n")
            words.flush()
            assert words.readline() == f"{heard}\n"
        _ends_well(game)
        assert words.readline() == ""


def test_notebook_session(start: Start) -> None:
    session = start("IPython", "notebook_session.py", "--port", "0")
    port = _port(session)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as notebook, notebook.makefile("rw") as cells:

        def run(cell: str) -> str:
            cells.write(f"{cell}\n\n")
            cells.flush()
            return "".join(iter(cells.readline, "\n"))

        assert run("from eventsock import a_sync, await_sleep, embed") == ""
        assert run("def count():\n    global n\n    while True:\n        n += 1\n        yield from await_sleep(0.001)") == ""
        assert run("n = 0; task = a_sync(count)") == ""
        first = int(run("print(n)"))
        while int(run("print(n)")) < first + 10:  # it goes on between the cells
            pass
        assert run("task.cancel(); await embed.asyncio.as_awaitable(a_sync(await_sleep, 0.01))").startswith("---") is False
        assert run("print(task.done)") == "True\n"
        assert "ZeroDivisionError" in run("1 / 0")
        assert run("print('still here')") == "still here\n"
    _ends_well(session)


def test_flask_view(start: Start, start_program: StartProgram, refused_port: int) -> None:
    server = start_program("-m", "eventsock", "echo", "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    web = start("flask", "flask_view.py", "--port", str(port), "--echo-port", str(_port(server)))
    url = f"http://127.0.0.1:{port}/echo?words=good+day"
    assert _fetch(url) == {"answer": "good day"}
    assert _fetch(url.replace("day", "night")) == {"answer": "good night"}
    server.terminate()
    server.wait()
    with pytest.raises(urllib.error.HTTPError) as caught:
        _fetch(url)
    with caught.value as answer:
        assert answer.status == 502
        assert "Connection refused" in json.load(answer)["error"]
    web.send_signal(signal.SIGINT)
    web.communicate(timeout=20)
    assert web.returncode == 0


def _fetch(url: str) -> object:
    """What a server answers that may not have come up yet."""
    limit = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


def test_asyncio_library(start: Start) -> None:
    server = start("aiohttp", "asyncio_library.py", "--port", "0")
    port = _port(server)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, client.makefile("rw") as words:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow, slow.makefile("rw") as slow_words:
            slow_words.write("/slow\n")
            slow_words.flush()
            for path in ("/hello", "/world"):
                words.write(f"{path}\n")
                words.flush()
                assert words.readline() == f"200 this is {path}\n"
            assert slow_words.readline().startswith("no answer: ")
        _ends_well(server)
        assert words.readline() == ""
