#!/usr/bin/env python3
"""A blocking client, for any server that speaks in lines: sends what you type, or the lines given as arguments, and shows what comes.

An empty line, or the end of the input, ends it. No event loop is loaded.
"""

import argparse
import socket
import sys
from collections.abc import Iterable
from threading import Thread

from eventsock import ConnectError, ResolveError, SocketError
from eventsock.basic import address_information, connect_to_addresses, shutdown, write_string


def show_what_comes(sock: socket.socket) -> None:
    with sock.makefile(encoding="utf-8", errors="replace") as lines:
        try:
            for line in lines:
                print(line, end="", flush=True)
        except ConnectionError as error:
            print(f"blocking_client: the server has gone: {error.strerror}", file=sys.stderr)


def send(sock: socket.socket, lines: Iterable[str]) -> None:
    for line in lines:
        write_string(sock, line)
        if line == "\n":
            break
    shutdown(sock, "wr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", help="a name or a numeric address (default: this machine, by IPv6 or IPv4)")
    parser.add_argument("--port", type=int, default=8000, help="the server's port (default: %(default)s)")
    parser.add_argument("lines", metavar="LINE", nargs="*", help="what to send; without any, standard input is sent")
    arguments = parser.parse_args()
    lines = [f"{line}\n" for line in arguments.lines] or sys.stdin
    try:
        with connect_to_addresses(address_information(arguments.host, arguments.port), timeout=10) as sock:
            listener = Thread(target=show_what_comes, args=(sock,))
            listener.start()
            send(sock, lines)
            listener.join()
    except (ConnectError, ResolveError, ValueError) as error:
        sys.exit(f"blocking_client: {error}")
    except SocketError as error:
        sys.exit(f"blocking_client: the server has gone: {error}")


if __name__ == "__main__":
    main()
