"""What every server here says on the wire, and how it tells the benchmark where it listens. Knows no framework.

A server is started as `python SERVER.py STYLE SERVICE`, with the services `echo`, `lines`, `http` and `udp`. It prints `ready PORT` and
serves until it is killed.
"""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Callable, Mapping

HOST = "127.0.0.1"
BACKLOG = 1024
ROOM = 65536  # bytes asked for at each receive, by every server that has to say a number
DATAGRAM = 2048  # bytes: more than any datagram of the load
USED_HEAP = 1 << 20  # bytes

PONG = b"+PONG\r\n"
REQUEST_END = b"\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"


def listener() -> socket.socket:
    """A listening TCP socket on a free port, announced."""
    sock = socket.create_server((HOST, 0), backlog=BACKLOG)
    announce(sock)
    return sock


def datagram_socket() -> socket.socket:
    """A bound UDP socket on a free port, announced."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    announce(sock)
    return sock


def announce(sock: socket.socket) -> None:
    print("ready", sock.getsockname()[1], flush=True)


def undelayed(sock: socket.socket) -> socket.socket:
    """Switch Nagle's algorithm off, as asyncio and trio do by themselves: small answers must not wait for acknowledgements."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def serve(services: Mapping[tuple[str, str], Callable[[], object]]) -> None:
    """Run the service the command line names. A pair that is not there ends with status 3: the benchmark skips it."""
    style, service = sys.argv[1:]
    chosen = services.get((style, service))
    if chosen is None:
        sys.exit(3)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    use_heap()
    chosen()


def use_heap() -> None:
    """Free one large block first, as any program that has lived a little has done.

    glibc then stops fetching blocks of up to that size from the kernel one by one. Without this, asyncio (which asks for 256 KiB at each
    receive) would pay three system calls more per message and be measured at a third of what it can do.
    """
    bytes(USED_HEAP)
