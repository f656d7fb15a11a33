"""Python's floor: `select.epoll`, `recv` and `send` in one loop, no framework, nothing that a loop must do beside."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial

import wire

Ready = Callable[[], None]


class Connection:
    """One client: answers what has come, keeps what the kernel did not take."""

    def __init__(self, sock: socket.socket, poller: select.epoll, answer: Callable[[bytes], bytes]) -> None:
        self.sock, self.poller, self.answer = sock, poller, answer
        self.left = b""

    def ready(self) -> None:
        if self.left:
            self.put(self.left)
            return
        try:
            data = self.sock.recv(wire.ROOM)
        except ConnectionError:
            data = b""
        if data:
            self.put(self.answer(data))
        else:
            self.sock.close()

    def put(self, data: bytes) -> None:
        was_waiting = bool(self.left)
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self.sock.close()
            return
        if sent == len(data) and not was_waiting:
            return
        self.left = data[sent:]
        self.poller.modify(self.sock, select.EPOLLOUT if self.left else select.EPOLLIN)


def serve_streams(answer_maker: Callable[[], Callable[[bytes], bytes]]) -> None:
    listener, poller = wire.listener(), select.epoll()
    listener.setblocking(False)
    poller.register(listener, select.EPOLLIN)
    ready: dict[int, Ready] = {}

    def accept() -> None:
        for _ in range(16):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            ready[sock.fileno()] = Connection(wire.undelayed(sock), poller, answer_maker()).ready
            poller.register(sock, select.EPOLLIN)

    ready[listener.fileno()] = accept
    poll = poller.poll
    while True:
        for fd, _ in poll():
            ready[fd]()


def whole(data: bytes) -> bytes:
    return data


def answers(end: bytes, reply: bytes) -> Callable[[bytes], bytes]:
    """An answerer that keeps the part of a request that has come so far."""
    rest = b""

    def answer(data: bytes) -> bytes:
        nonlocal rest
        *requests, rest = (rest + data).split(end)
        return reply * len(requests)

    return answer


def udp() -> None:
    sock = wire.datagram_socket()
    while True:
        data, address = sock.recvfrom(wire.DATAGRAM)
        sock.sendto(data, address)


if __name__ == "__main__":
    wire.serve(
        {
            ("epoll", "echo"): partial(serve_streams, lambda: whole),
            ("epoll", "lines"): partial(serve_streams, lambda: answers(b"\n", wire.PONG)),
            ("epoll", "http"): partial(serve_streams, lambda: answers(wire.REQUEST_END, wire.HELLO)),
            ("epoll", "udp"): udp,
        }
    )
