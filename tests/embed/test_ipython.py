"""IPython as people use it: in a terminal, and as a kernel. Knows `%load_ext eventsock`, pseudo-terminals and the kernel's protocol."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from eventsock import EventLoop, LoopStateError, embed
from programs import ROOT

pytestmark = pytest.mark.skipif(find_spec("IPython") is None, reason="IPython is not here: pip install ipython")

_WHERE_AM_I = b"\x1b[6n"
_CONTROL = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")


class Terminal:
    """A terminal with IPython in it."""

    def __init__(self, place: Path) -> None:
        self._fd, inside = pty.openpty()
        options = ["--no-banner", "--no-confirm-exit", "--colors=NoColor", "--HistoryManager.enabled=False"]
        environment = {**os.environ, "IPYTHONDIR": str(place), "TERM": "xterm", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "IPython", *options]
        self._program = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment, start_new_session=True)
        os.close(inside)
        self._seen = ""

    def until(self, text: str) -> str:
        """Read until `text` is on the screen; what has come since the last time."""
        limit = time.monotonic() + 15
        while text not in self._seen:
            assert time.monotonic() < limit, f"{text!r} did not come; the screen says: {self._seen}"
            self._seen += _CONTROL.sub("", self._read(0.1).decode(errors="replace"))
        seen, _, self._seen = self._seen.partition(text)
        return seen

    def _read(self, seconds: float) -> bytes:
        if not select.select([self._fd], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # it has ended
            return b""
        if _WHERE_AM_I in data:
            os.write(self._fd, b"\x1b[1;1R")
        return data

    def type(self, line: str) -> None:
        os.write(self._fd, f"{line}\r".encode())

    def cell(self, number: int, line: str) -> str:
        """Type a line; what is on the screen before the next prompt."""
        self.type(line)
        return self.until(f"In [{number + 1}]:")

    def close(self) -> None:
        self.type("exit")
        limit = time.monotonic() + 10
        while self._program.poll() is None:
            self._read(0.01)  # or it could not end
            if time.monotonic() > limit:
                self._program.kill()
        os.close(self._fd)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    try:
        terminal.until("In [1]:")
        yield terminal
    finally:
        terminal.close()


def test_tasks_go_on_while_the_prompt_waits(terminal: Terminal) -> None:
    terminal.cell(1, "%load_ext eventsock")
    terminal.cell(2, "from eventsock import a_sync, await_sleep, get_default_event_loop")
    terminal.cell(3, "task = a_sync(await_sleep, 0.2); ticks = get_default_event_loop().timeout_post(0.2, lambda: print('it', 'ticks'))")
    terminal.until("it ticks")  # nobody has typed anything
    terminal.until("it ticks")
    terminal.type("get_default_event_loop().timeout_remove(ticks), task.done")
    terminal.until("(True, True)")
    terminal.type("get_default_event_loop().post(lambda: 1 // 0)")
    terminal.until("ZeroDivisionError: ")  # as the traceback of a cell
    terminal.type("get_default_event_loop().run()")
    terminal.until("is stepped by ipython")
    terminal.until("In [7]:")
    terminal.cell(7, "%unload_ext eventsock")
    terminal.type("print('host:', get_default_event_loop().host)")
    terminal.until("host: None")


def test_waiting_at_the_prompt_costs_nothing(terminal: Terminal) -> None:
    terminal.cell(1, "%load_ext eventsock")
    terminal.cell(2, "from eventsock import get_default_event_loop; statistics = get_default_event_loop().statistics")
    terminal.cell(3, "first = statistics().turns")
    time.sleep(1)
    # The hook is entered anew at every key, and finds nothing to do.
    turns = re.findall(r"turns: (\d+)", terminal.cell(4, "print('turns:', statistics().turns - first)"))
    assert turns == ["0"]


def test_attach_outside_ipython_is_refused() -> None:
    with EventLoop() as loop, pytest.raises(LoopStateError, match="outside IPython"):
        embed.ipython.attach(None, loop)


def test_shell_without_input_hooks_is_refused() -> None:
    class Simple:
        """A shell as `ipython --simple-prompt`."""

        active_eventloop: str | None = None

        def enable_gui(self, gui: str | None) -> None:
            """Prints that it cannot."""

    class Busy(Simple):
        active_eventloop = "qt6"

    with EventLoop() as loop:
        with pytest.raises(LoopStateError, match="no input hooks"):
            embed.ipython.attach(Simple(), loop)
        with pytest.raises(LoopStateError, match="%gui qt6 already"):
            embed.ipython.attach(Busy(), loop)
        assert loop.host is None


_KERNEL = """
import os, sys, time
from jupyter_client.manager import start_new_kernel

def run(code):
    printed = []
    def hear(message):
        content = message["content"]
        printed.append(content.get("text", "") or "".join(content.get("traceback", ())))
    client.execute_interactive(code, output_hook=hear, timeout=30)
    return "".join(printed)

manager, client = start_new_kernel(env={**os.environ, "PYTHONPATH": sys.argv[1]})
try:
    print(run("%load_ext eventsock"), end="")
    print(run("from eventsock import a_sync, await_sleep, embed"), end="")
    print(run("woken = []; task = a_sync(await_sleep, 0.05); task.watch(lambda: woken.append(1)); print(task.loop.host)"), end="")
    limit = time.monotonic() + 10
    while run("print(woken)") != "[1]\\n" and time.monotonic() < limit:
        pass
    print(run("print(woken, await embed.asyncio.as_awaitable(a_sync(await_sleep, 0.01)))"), end="")
    print(run("%unload_ext eventsock"), end="")
    print(run("print(task.loop.host)"), end="")
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


@pytest.mark.skipif(find_spec("ipykernel") is None, reason="no Jupyter kernel is here: pip install ipykernel")
def test_tasks_go_on_between_the_cells_of_a_kernel() -> None:
    """In a process of its own: the kernel's client leaves things open."""
    done = subprocess.run([sys.executable, "-c", _KERNEL, str(ROOT)], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "asyncio\n[1] None\nNone\n", done.stderr
