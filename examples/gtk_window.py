#!/usr/bin/env python3
"""A visitors' book: a GTK window shows what visitors write, and is itself the server they write to: `nc 127.0.0.1 8200`.

Each visitor is a task in GLib's main loop. Needs PyGObject and GTK 3 (Debian: `apt-get install python3-gi gir1.2-gtk-3.0`).
What the window shows it also prints.
"""

import argparse
import signal
import sys
from collections.abc import Generator
from functools import partial
from typing import Any

from eventsock import EventLoop, SocketError, Stream, a_sync, await_serve, basic, embed


class Book:
    """The window: one label for the number of visitors who are here, one for each line."""

    def __init__(self, gtk: Any) -> None:
        self._gtk = gtk
        self._visitors = 0
        self._window = gtk.Window(title="Visitors' book")
        self._window.connect("destroy", gtk.main_quit)
        self._pane = gtk.Box(orientation=gtk.Orientation.VERTICAL)
        self._here = gtk.Label(label="nobody is here")
        self._pane.pack_start(self._here, False, False, 6)
        self._window.add(self._pane)
        self._window.show_all()

    def _count(self, change: int) -> None:
        self._visitors += change
        self._here.set_text(f"visitors: {self._visitors}")
        print(f"visitors: {self._visitors}", flush=True)

    def _write(self, line: str) -> None:
        label = self._gtk.Label(label=line)
        self._pane.pack_start(label, False, False, 0)
        label.show()
        print(line, flush=True)

    def visit(self, stream: Stream, address: basic.SocketAddress) -> Generator[Any, Any, None]:
        self._count(+1)
        try:
            yield from stream.await_put_bytes(b"Please sign.\n")
            while (line := (yield from stream.await_getline())) is not None:
                self._write(line.decode(errors="replace"))
                yield from stream.await_put_bytes(b"Thank you.\n")
        except SocketError:
            pass  # left without a word
        finally:
            self._count(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8200, help="where to listen on 127.0.0.1; 0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        import gi

        gi.require_version("Gtk", "3.0")
        from gi.repository import Gtk
    except (ImportError, ValueError) as error:
        sys.exit(f"gtk_window: {error}; apt-get install python3-gi gir1.2-gtk-3.0")
    if not Gtk.init_check()[0]:
        sys.exit("gtk_window: there is no display")
    try:
        listener = basic.listen_on_ipv4_socket("127.0.0.1", arguments.port)
    except SocketError as error:
        sys.exit(f"gtk_window: {error}")
    with listener, EventLoop() as loop, embed.glib.attach(None, loop):
        print(f"the book lies at {basic.socket_name(listener)}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, lambda number: Gtk.main_quit())
        a_sync(partial(await_serve, max_connections=100), Book(Gtk).visit, listener)
        Gtk.main()


if __name__ == "__main__":
    main()
