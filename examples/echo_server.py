#!/usr/bin/env python3
"""An echo server for people at terminals: it greets, answers each line with "echo: …", and takes leave at an empty line.

Each conversation is a task of its own. The server ends after the last client has left. Talk to it with `examples/echo_client.py`,
`examples/blocking_client.py` or `nc ::1 8000`.
"""

import argparse
import socket
import sys
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from eventsock import (
    SocketError,
    Stream,
    Task,
    TaskCancelled,
    a_sync,
    await_accept_ipv4_connection,
    await_accept_ipv6_connection,
    run,
)
from eventsock.basic import listen_on_ipv4_socket, listen_on_ipv6_socket, socket_name

GREETING = b"Hello.  Please send some text and I will echo it back\nEnter an empty line to finish\n"


class EchoServer:
    """Accepts until the last of its clients has left."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._await_accept = await_accept_ipv6_connection if listener.family == socket.AF_INET6 else await_accept_ipv4_connection
        self._clients = 0

    def serve(self) -> Generator[Any, Any, None]:
        accepting = a_sync(self._accept)
        try:
            yield from accepting.await_result()
        except TaskCancelled as ended:
            print(ended.reason)

    def _accept(self) -> Generator[Any, Any, None]:
        while True:
            sock, address = yield from self._await_accept(self._listener)
            print(f"{address} has come", flush=True)
            self._clients += 1
            a_sync(self._converse, Task.current(), Stream(sock), name=f"conversation with {address}")

    def _converse(self, accepting: Task[None], stream: Stream) -> Generator[Any, Any, None]:
        try:
            with stream:
                yield from stream.await_put_bytes(GREETING)
                while line := ((yield from stream.await_getline()) or b"").rstrip(b"\r"):  # some terminals end lines with CR LF
                    yield from stream.await_put_bytes(b"echo: " + line + b"\n")
        except SocketError as error:
            print(f"a client has left without a word: {error.strerror}", flush=True)
        finally:
            self._clients -= 1
            if self._clients == 0:
                accepting.cancel("the last client has left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="::1", help="a numeric address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0: one that is free (default: %(default)s)")
    arguments = parser.parse_args()
    listen = listen_on_ipv6_socket if ":" in arguments.host else listen_on_ipv4_socket
    try:
        listener = listen(arguments.host, arguments.port)
    except (SocketError, ValueError) as error:
        sys.exit(f"echo_server: {error}")
    with listener, suppress(KeyboardInterrupt):
        print(f"listening on {socket_name(listener)}", flush=True)
        run(EchoServer(listener).serve)


if __name__ == "__main__":
    main()
