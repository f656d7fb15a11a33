#!/usr/bin/env python3
"""How far is an echo server? A Qt window shows the round-trip time, twice a second; a task measures it in Qt's own event loop.

When the server has gone the task asks, with a modal dialog, whether to try again. It stands on the stack meanwhile; the other task,
which counts the seconds, goes on, because the dialog is run within `loop.nested()`. Needs PySide6 or PyQt6, and an echo server:
`python3 -m eventsock echo --port 8000`. What the window shows it also prints.
"""

import argparse
import signal
import sys
import time
from collections.abc import Generator
from importlib import import_module
from typing import Any

from eventsock import EventLoop, SocketError, Stream, a_sync, await_connect_to_host, await_sleep, embed


class Window:
    """Two labels and a dialog. `widgets` and `core` are the two modules of the Qt binding."""

    def __init__(self, widgets: Any, core: Any, patience: float) -> None:
        self._widgets = widgets
        self._core = core
        self._patience = patience
        self._pane = widgets.QWidget()
        self._pane.setWindowTitle("How far?")
        self._distance = widgets.QLabel("…")
        self._seconds = widgets.QLabel("0 s")
        layout = widgets.QVBoxLayout(self._pane)
        layout.addWidget(self._distance)
        layout.addWidget(self._seconds)
        self._pane.show()

    def show_distance(self, text: str) -> None:
        self._distance.setText(text)
        print(text, flush=True)

    def show_seconds(self, text: str) -> None:
        self._seconds.setText(text)
        print(text, flush=True)

    def ask(self, question: str) -> bool:
        """A modal dialog: runs Qt's event loop until it is answered."""
        box = self._widgets.QMessageBox(self._pane)
        box.setText(question)
        yes = box.addButton("Try again", self._widgets.QMessageBox.ButtonRole.AcceptRole)
        box.addButton("Leave it", self._widgets.QMessageBox.ButtonRole.RejectRole)
        if self._patience > 0:
            self._core.QTimer.singleShot(int(self._patience * 1000), yes.click)
        box.exec()
        return bool(box.clickedButton() == yes)


def measure(window: Window, host: str, port: int) -> Generator[Any, Any, None]:
    with Stream((yield from await_connect_to_host(host, port=port))) as stream:
        while True:
            start = time.perf_counter()
            yield from stream.await_put_bytes(b"ping\n")
            if (yield from stream.await_getline()) is None:
                return
            window.show_distance(f"{(time.perf_counter() - start) * 1000:.2f} ms")
            yield from await_sleep(0.5)


def keep_measuring(window: Window, loop: EventLoop, host: str, port: int) -> Generator[Any, Any, None]:
    again = True
    while again:
        try:
            yield from measure(window, host, port)
            window.show_distance("the server has gone")
        except SocketError as error:
            window.show_distance(str(error))
        with loop.nested():
            again = window.ask("Nobody answers. Try again?")


def count(window: Window) -> Generator[Any, Any, None]:
    tenths = 0
    while True:
        yield from await_sleep(0.1)
        tenths += 1
        window.show_seconds(f"{tenths / 10:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="where the echo server is (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="its port (default: %(default)s)")
    parser.add_argument("--qt", choices=["PySide6", "PyQt6"], default="PySide6", help="which binding (default: %(default)s)")
    parser.add_argument(
        "--retry-after", type=float, default=0, metavar="SECONDS", help="answer the dialog after this time (default: never)"
    )
    arguments = parser.parse_args()
    try:
        widgets, core = import_module(f"{arguments.qt}.QtWidgets"), import_module(f"{arguments.qt}.QtCore")
    except ImportError as error:
        sys.exit(f"qt_window: {error}; pip install {arguments.qt}")
    app = widgets.QApplication(sys.argv[:1])
    window = Window(widgets, core, arguments.retry_after)
    with EventLoop() as loop, embed.qt.attach(app, loop):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, lambda number: app.quit())
        a_sync(count, window)
        a_sync(keep_measuring, window, loop, arguments.host, arguments.port)
        app.exec()


if __name__ == "__main__":
    main()
