#!/usr/bin/env python3
"""A chat window. Tk's main loop is the host; in it, on the same thread, one task reads what others say, and each line typed is sent by one.

With --serve the window keeps the room, too: whoever connects to its port with `examples/tk_chat.py --port …`, or with `nc`, is in it.
What the window shows it also prints.
"""

import argparse
import signal
import sys
import tkinter
from collections.abc import Generator
from contextlib import nullcontext
from typing import Any

from eventsock import EventLoop, SocketError, Stream, StreamError, a_sync, await_connect_to_host, await_serve, basic, embed, timeout


class Room:
    """The server: hands each line to everybody."""

    def __init__(self) -> None:
        self._members: set[Stream] = set()

    def welcome(self, stream: Stream, address: basic.SocketAddress) -> Generator[Any, Any, None]:
        self._members.add(stream)
        try:
            while (line := (yield from stream.await_getline())) is not None:
                for member in list(self._members):
                    a_sync(self._tell, member, line)  # a task each: one who does not listen holds up nobody
        except SocketError:
            pass  # left without a word
        finally:
            self._members.discard(stream)

    def _tell(self, member: Stream, line: bytes) -> Generator[Any, Any, None]:
        try:
            with timeout(5):
                yield from member.await_put_bytes(line + b"\n")
        except (SocketError, StreamError, TimeoutError):
            member.close()


class Window:
    """Two widgets, and the conversation behind them."""

    def __init__(self, root: tkinter.Tk, name: str) -> None:
        root.title(f"{name} chats")
        self._name = name
        self._stream: Stream | None = None
        self._text = tkinter.Text(root, height=20, width=60)
        self._text.pack(expand=True, fill="both")
        self._entry = tkinter.Entry(root)
        self._entry.pack(fill="x")
        self._entry.bind("<Return>", self._typed)
        self._entry.focus_set()

    def show(self, line: str) -> None:
        self._text.insert("end", f"{line}\n")
        self._text.see("end")
        print(line, flush=True)

    def _typed(self, event: object) -> None:
        # A callback of Tk's starts a task of ours, as anybody else may.
        a_sync(self.say, self._entry.get())
        self._entry.delete(0, "end")

    def say(self, words: str) -> Generator[Any, Any, None]:
        if self._stream is None:
            self.show("(not connected)")
            return
        try:
            yield from self._stream.await_put_bytes(f"{self._name}: {words}\n".encode())
        except (SocketError, StreamError) as error:
            self.show(f"(not sent: {error})")

    def converse(self, host: str, port: int, first_words: str) -> Generator[Any, Any, None]:
        try:
            with Stream((yield from await_connect_to_host(host, port=port))) as self._stream:
                yield from self.say(first_words)
                while (line := (yield from self._stream.await_getline())) is not None:
                    self.show(line.decode(errors="replace"))
                self.show("(the room is closed)")
        except SocketError as error:
            self.show(f"({error})")
        finally:
            self._stream = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="where the room is (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8100, help="its port; 0 with --serve: one that is free (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help="keep the room, at this port of 127.0.0.1")
    parser.add_argument("--name", default="somebody", help="who you are (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        root = tkinter.Tk()
        listener = basic.listen_on_ipv4_socket("127.0.0.1", arguments.port) if arguments.serve else None
    except (SocketError, tkinter.TclError) as error:
        sys.exit(f"tk_chat: {error}")
    window = Window(root, arguments.name)
    with listener or nullcontext(), EventLoop() as loop, embed.tk.attach(root, loop):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, lambda number: root.destroy())
        port = arguments.port
        if listener is not None:
            port = listener.getsockname()[1]
            a_sync(await_serve, Room().welcome, listener)
            window.show(f"the room is at 127.0.0.1:{port}")
        a_sync(window.converse, arguments.host, port, "hello")
        root.mainloop()


if __name__ == "__main__":
    main()
