"""trio's servers: `serve_tcp` with a handler per connection; its own sockets for datagrams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

import wire


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def answers(end: bytes, reply: bytes, stream: trio.SocketStream) -> None:
    """trio has no line reader: this splits by hand and answers each request with a write of its own, as every coroutine server here."""
    rest = b""
    async for data in stream:
        *requests, rest = (rest + bytes(data)).split(end)
        for _ in requests:
            await stream.send_all(reply)


async def serve_streams(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
    async def connected(stream: trio.SocketStream) -> None:
        try:
            await handler(stream)
        except trio.BrokenResourceError:
            pass

    listener = trio.SocketListener(listening())
    await trio.serve_listeners(connected, [listener])


def listening() -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(wire.listener())


async def udp() -> None:
    sock = trio.socket.from_stdlib_socket(wire.datagram_socket())
    while True:
        data, address = await sock.recvfrom(wire.DATAGRAM)
        await sock.sendto(data, address)


if __name__ == "__main__":
    wire.serve(
        {
            ("trio", "echo"): lambda: trio.run(serve_streams, echo),
            ("trio", "lines"): lambda: trio.run(serve_streams, partial(answers, b"\n", wire.PONG)),
            ("trio", "http"): lambda: trio.run(serve_streams, partial(answers, wire.REQUEST_END, wire.HELLO)),
            ("trio", "udp"): lambda: trio.run(udp),
        }
    )
