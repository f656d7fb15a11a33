"""gevent's servers: `StreamServer` and `DatagramServer`, a greenlet per connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.server import DatagramServer, StreamServer

import wire


def echo(sock: Any) -> None:
    while data := sock.recv(wire.ROOM):
        sock.sendall(data)


def lines(sock: Any) -> None:
    with sock.makefile("rb") as reader:
        while reader.readline():
            sock.sendall(wire.PONG)


def http(sock: Any) -> None:
    rest = b""
    while data := sock.recv(wire.ROOM):
        *requests, rest = (rest + data).split(wire.REQUEST_END)
        for _ in requests:
            sock.sendall(wire.HELLO)


def serve_streams(handler: Callable[[Any], None]) -> None:
    def connected(sock: Any, address: object) -> None:
        wire.undelayed(sock)
        try:
            handler(sock)
        except ConnectionError:
            pass

    from gevent.socket import socket as cooperative

    listener = wire.listener()
    StreamServer(cooperative(fileno=listener.detach()), connected).serve_forever()


class EchoDatagrams(DatagramServer):
    def handle(self, data: bytes, address: object) -> None:
        self.socket.sendto(data, address)


def udp() -> None:
    server = EchoDatagrams((wire.HOST, 0))
    server.start()
    wire.announce(server.socket)
    server.serve_forever()


if __name__ == "__main__":
    wire.serve(
        {
            ("gevent", "echo"): lambda: serve_streams(echo),
            ("gevent", "lines"): lambda: serve_streams(lines),
            ("gevent", "http"): lambda: serve_streams(http),
            ("gevent", "udp"): udp,
        }
    )
