#!/usr/bin/env python3
"""Datagrams: an echo server, or with lines given, its client, which asks again when no answer comes.

Shows `await_receive_from`, `await_send_to` and a time limit for each try. Try it from two terminals:

    python3 examples/udp_echo.py
    python3 examples/udp_echo.py "good day" "good night"
"""

import argparse
import socket
import sys
from contextlib import suppress

from eventsock import SocketError, await_connect, await_receive, await_receive_from, await_send, await_send_to, run, timeout
from eventsock.basic import SocketAddress, inet_address, socket_name

MOST_BYTES = 65535
TRIES = 3
SECONDS_PER_TRY = 0.5


async def echo(sock: socket.socket) -> None:
    while True:
        data, sender = await await_receive_from(sock, MOST_BYTES)
        try:
            await await_send_to(sock, data, sender)
        except SocketError as error:  # concerns this sender only
            print(f"udp_echo: no answer to {sender}: {error.strerror}", file=sys.stderr)


async def ask(sock: socket.socket, server: SocketAddress, lines: list[str]) -> None:
    await await_connect(sock, server)  # from now on only the server is heard, also when it refuses
    for line in lines:
        print((await ask_once(sock, line.encode())).decode(errors="replace"))


async def ask_once(sock: socket.socket, question: bytes) -> bytes:
    for _ in range(TRIES):
        await await_send(sock, question)
        with suppress(TimeoutError), timeout(SECONDS_PER_TRY):
            while (answer := await await_receive(sock, MOST_BYTES)) != question:
                pass  # a late answer to a question before
            return answer
    raise TimeoutError(f"no answer in {TRIES} tries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="the server's numeric address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the server's port (default: %(default)s)")
    parser.add_argument("lines", metavar="LINE", nargs="*", help="what to send; without any, it is the server")
    arguments = parser.parse_args()
    try:
        server = inet_address(arguments.host, arguments.port)
        with socket.socket(server.family, socket.SOCK_DGRAM) as sock, suppress(KeyboardInterrupt):
            if arguments.lines:
                run(ask, sock, server, arguments.lines)
            else:
                sock.bind(server.native)
                print(f"listening on {socket_name(sock)}", flush=True)
                run(echo, sock)
    except (OSError, ValueError) as error:
        sys.exit(f"udp_echo: {error}")


if __name__ == "__main__":
    main()
