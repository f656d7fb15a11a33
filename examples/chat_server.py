#!/usr/bin/env python3
"""A chat room in lines of text: who comes says a name, and then everybody hears what anybody says.

Shows `await_serve`, a time limit, lines that are too long, and how to tell many without waiting for the slowest. Try it from two
terminals, with `nc localhost 8000` or `examples/blocking_client.py`. /who tells who is here, /quit or the end of input leaves.
"""

import argparse
import sys
from contextlib import suppress

from eventsock import LineTooLong, SocketError, Stream, StreamError, a_sync, await_serve, run, timeout
from eventsock.basic import SocketAddress, listen_on_ipv4_socket, listen_on_ipv6_socket, socket_name

SECONDS_FOR_A_NAME = 60
MOST_UNHEARD = 100  # lines


class Guest:
    """Somebody in the room, and the lines that are still on their way there."""

    def __init__(self, name: str, stream: Stream) -> None:
        self.name = name
        self._stream = stream
        self._unheard = 0

    def tell(self, line: str) -> None:
        """Does not wait. The writers of a stream take turns, so a task for each line is all the queue that is needed."""
        if self._unheard < MOST_UNHEARD:
            a_sync(self._hear, line)
        else:
            self._stream.abort()  # whoever does not read must cost neither the others nor the kernel their memory

    async def _hear(self, line: str) -> None:
        self._unheard += 1
        try:
            await self._stream.await_put_string(line + "\n")
        except (SocketError, StreamError):
            pass  # gone; the task that reads finds out as well
        finally:
            self._unheard -= 1


class Room:
    """The guests, by their names."""

    def __init__(self) -> None:
        self._guests: dict[str, Guest] = {}

    async def receive(self, stream: Stream, address: SocketAddress) -> None:
        with suppress(SocketError, StreamError, TimeoutError):  # however somebody leaves, the others stay
            with timeout(SECONDS_FOR_A_NAME):
                name = await self._ask_name(stream)
            if name is not None:
                await self._entertain(Guest(name, stream), stream)

    async def _ask_name(self, stream: Stream) -> str | None:
        await stream.await_put_string("What is your name?\n")
        while (name := await hear(stream)) is not None:
            if not (name.isalnum() and len(name) <= 20):
                await stream.await_put_string("A name is 1 to 20 letters and digits. What is your name?\n")
            elif name in self._guests:
                await stream.await_put_string(f"There is a {name} here already. What is your name?\n")
            else:
                break
        return name

    async def _entertain(self, guest: Guest, stream: Stream) -> None:
        self._tell_all(f"* {guest.name} has come")
        self._guests[guest.name] = guest
        try:
            guest.tell(f"* Welcome. Here are: {', '.join(sorted(self._guests))}")
            while (line := await hear(stream)) not in (None, "/quit"):
                if line == "/who":
                    guest.tell(f"* Here are: {', '.join(sorted(self._guests))}")
                elif line:
                    self._tell_all(f"{guest.name}: {line}")
        finally:
            del self._guests[guest.name]
            self._tell_all(f"* {guest.name} has left")

    def _tell_all(self, line: str) -> None:
        for guest in list(self._guests.values()):
            guest.tell(line)


async def hear(stream: Stream) -> str | None:
    """The next line that can be shown on any terminal, or None at the end."""
    while True:
        try:
            line = await stream.await_getline()
        except LineTooLong as error:
            await stream.await_put_string(f"* That was too long; at most {error.limit} bytes, please\n")
        else:
            return None if line is None else "".join(filter(str.isprintable, line.decode(errors="replace"))).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="a numeric address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0: one that is free (default: %(default)s)")
    arguments = parser.parse_args()
    listen = listen_on_ipv6_socket if ":" in arguments.host else listen_on_ipv4_socket
    try:
        listener = listen(arguments.host, arguments.port)
    except (SocketError, ValueError) as error:
        sys.exit(f"chat_server: {error}")
    with listener, suppress(KeyboardInterrupt):
        print(f"listening on {socket_name(listener)}", flush=True)
        run(await_serve, Room().receive, listener)


if __name__ == "__main__":
    main()
