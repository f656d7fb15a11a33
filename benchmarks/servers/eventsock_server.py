"""eventsock's servers: tasks on streams (generators, or `async def`), tasks on bare sockets, and watches without tasks."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import wire
from eventsock import (
    EventLoop,
    SocketError,
    Stream,
    StreamError,
    a_sync,
    await_accept_ipv4_connection,
    await_receive,
    await_receive_from,
    await_send_all,
    await_send_to,
    await_serve,
    run,
)
from eventsock.basic import SocketAddress, listen_on_ipv4_socket

Steps = Generator[Any, Any, None]
Handler = Callable[[Stream, SocketAddress], Any]


def listener() -> socket.socket:
    sock = listen_on_ipv4_socket(True, 0, wire.BACKLOG)
    wire.announce(sock)
    return sock


def serve(handler: Handler) -> None:
    run(partial(await_serve, handler, listener(), on_error=report))


def report(error: BaseException, where: str) -> None:
    """A client that hangs up is no news to a benchmark; anything else is."""
    if not isinstance(error, SocketError | StreamError):
        traceback.print_exception(error)


def echo(stream: Stream, address: SocketAddress) -> Steps:
    while data := (yield from stream.await_getsome()):
        yield from stream.await_put_bytes(data)


async def echo_async(stream: Stream, address: SocketAddress) -> None:
    while data := await stream.await_getsome():
        await stream.await_put_bytes(data)


def lines(stream: Stream) -> Steps:
    with stream:
        try:
            while (yield from stream.await_getline()) is not None:
                yield from stream.await_put_bytes(wire.PONG)
        except SocketError:
            pass  # redis-benchmark hangs up on an answer it does not understand


async def lines_async(stream: Stream) -> None:
    async with stream:
        try:
            async for _ in stream:
                await stream.await_put_bytes(wire.PONG)
        except SocketError:
            pass


def serve_lines(handler: Callable[[Stream], Any], *, gather: bool) -> Steps:
    """As a server of pipelined requests is written: its answers may be held until it next waits for input."""
    accepting = listener()
    while True:
        sock, _ = yield from await_accept_ipv4_connection(accepting)
        a_sync(handler, Stream(wire.undelayed(sock), gather=gather))


def http(stream: Stream, address: SocketAddress) -> Steps:
    while True:
        yield from stream.await_getuntil(wire.REQUEST_END)
        yield from stream.await_put_bytes(wire.HELLO)


async def http_async(stream: Stream, address: SocketAddress) -> None:
    while True:
        await stream.await_getuntil(wire.REQUEST_END)
        await stream.await_put_bytes(wire.HELLO)


def udp() -> Steps:
    sock = wire.datagram_socket()
    while True:
        data, address = yield from await_receive_from(sock, wire.DATAGRAM)
        yield from await_send_to(sock, data, address)


async def udp_async() -> None:
    sock = wire.datagram_socket()
    while True:
        data, address = await await_receive_from(sock, wire.DATAGRAM)
        await await_send_to(sock, data, address)


def serve_sockets() -> Steps:
    accepting = listener()

    def connected(sock: socket.socket) -> Steps:
        with sock:
            try:
                while data := (yield from await_receive(sock, wire.ROOM)):
                    yield from await_send_all(sock, data)
            except SocketError:
                pass

    while True:
        sock, _ = yield from await_accept_ipv4_connection(accepting)
        a_sync(connected, sock)


class Watched:
    """One client of the callback server: echoes what has come, keeps what the kernel did not take."""

    def __init__(self, loop: EventLoop, sock: socket.socket) -> None:
        self.loop, self.sock = loop, sock
        self.recv, self.send = sock.recv, sock.send
        loop.add_read_watch(sock, self.readable)

    def readable(self, status: str) -> bool | None:
        try:
            data = self.recv(wire.ROOM)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            return self.end()
        return self.put(data)

    def put(self, data: bytes) -> bool | None:
        try:
            sent = self.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            return self.end()
        if sent == len(data):
            return None
        self.left = data[sent:]
        self.loop.add_write_watch(self.sock, self.writable)
        return False

    def writable(self, status: str) -> bool | None:
        data, self.left = self.left, b""
        if self.put(data) is None:
            self.loop.add_read_watch(self.sock, self.readable)
            return False
        return None if self.left else False

    def end(self) -> bool:
        self.loop.forget(self.sock)
        self.sock.close()
        return False


def serve_watches() -> None:
    accepting = listener()
    accepting.setblocking(False)
    loop = EventLoop()

    def accept(status: str) -> None:
        for _ in range(16):
            try:
                sock, _ = accepting.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            Watched(loop, wire.undelayed(sock))

    loop.add_read_watch(accepting, accept)
    loop.run()


def udp_watches() -> None:
    sock = wire.datagram_socket()
    sock.setblocking(False)
    recvfrom, sendto = sock.recvfrom, sock.sendto

    def ready(status: str) -> None:
        try:
            for _ in range(16):
                data, address = recvfrom(wire.DATAGRAM)
                sendto(data, address)
        except BlockingIOError:
            pass  # no more for now, or no room: a datagram may be lost

    with EventLoop() as loop:
        loop.add_read_watch(sock, ready)
        loop.run()


if __name__ == "__main__":
    wire.serve(
        {
            ("streams", "echo"): partial(serve, echo),
            ("streams", "lines"): partial(run, partial(serve_lines, lines, gather=True)),
            ("streams", "http"): partial(serve, http),
            ("streams", "udp"): partial(run, udp),
            ("async", "echo"): partial(serve, echo_async),
            ("async", "lines"): partial(run, partial(serve_lines, lines_async, gather=True)),
            ("async", "http"): partial(serve, http_async),
            ("async", "udp"): partial(run, udp_async),
            ("plain", "lines"): partial(run, partial(serve_lines, lines, gather=False)),
            ("sockets", "echo"): partial(run, serve_sockets),
            ("watches", "echo"): serve_watches,
            ("watches", "udp"): udp_watches,
        }
    )
