"""curio's servers: `run_server` with a handler per connection; sockets for echo, its stream for lines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import curio
import curio.network
import curio.socket

import wire


async def echo(client: Any) -> None:
    while data := await client.recv(wire.ROOM):
        await client.sendall(data)


async def lines(client: Any) -> None:
    stream = client.as_stream()
    async for _ in stream:
        await stream.write(wire.PONG)


async def http(client: Any) -> None:
    rest = b""
    while data := await client.recv(wire.ROOM):
        *requests, rest = (rest + data).split(wire.REQUEST_END)
        for _ in requests:
            await client.sendall(wire.HELLO)


async def serve_streams(handler: Callable[[Any], Awaitable[None]]) -> None:
    async def connected(client: Any, address: object) -> None:
        wire.undelayed(client)
        try:
            await handler(client)
        except ConnectionError:
            pass

    await curio.network.run_server(curio.io.Socket(wire.listener()), connected)


async def udp() -> None:
    sock = curio.io.Socket(wire.datagram_socket())
    while True:
        data, address = await sock.recvfrom(wire.DATAGRAM)
        await sock.sendto(data, address)


if __name__ == "__main__":
    wire.serve(
        {
            ("curio", "echo"): lambda: curio.run(serve_streams, echo),
            ("curio", "lines"): lambda: curio.run(serve_streams, lines),
            ("curio", "http"): lambda: curio.run(serve_streams, http),
            ("curio", "udp"): lambda: curio.run(udp),
        }
    )
