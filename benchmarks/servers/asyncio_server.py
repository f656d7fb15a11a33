"""asyncio's servers, and those of the loops that slip under it (uvloop, rloop): streams, protocols, `loop.sock_*`.

The style is `LOOP-KIND`, as in `uvloop-streams`. Written as asyncio's own documentation has it.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from collections.abc import Awaitable, Callable

import wire

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(wire.ROOM):
        writer.write(data)
        await writer.drain()


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readline():
        writer.write(wire.PONG)
        await writer.drain()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(wire.REQUEST_END)
        writer.write(wire.HELLO)
        await writer.drain()


async def serve_streams(handler: Handler) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, wire.HOST, 0, backlog=wire.BACKLOG)
    wire.announce(server.sockets[0])
    await forever(server)


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


class Answers(Echo):
    """Answer every request that has come, all at once: what the protocol style makes easy."""

    end, reply = b"\n", wire.PONG
    rest = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.rest = (self.rest + data).split(self.end)
        self.write(self.reply * len(requests))


class Hello(Answers):
    end, reply = wire.REQUEST_END, wire.HELLO


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.sendto = transport.sendto

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.sendto(data, addr)


async def serve_protocol(protocol: Callable[[], asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, wire.HOST, 0, backlog=wire.BACKLOG)
    wire.announce(server.sockets[0])
    await forever(server)


async def serve_datagrams() -> None:
    endpoint = await asyncio.get_running_loop().create_datagram_endpoint(EchoDatagrams, sock=wire.datagram_socket())
    await forever(endpoint)


async def forever(kept: object) -> None:
    """Not `serve_forever()`: both kinds of server have begun to serve, and rloop closes the listener of one that begins twice."""
    await asyncio.Event().wait()
    del kept


async def serve_sock() -> None:
    loop = asyncio.get_running_loop()
    listener = wire.listener()
    listener.setblocking(False)
    tasks = set()

    async def connected(sock: socket.socket) -> None:
        with sock:
            try:
                while data := await loop.sock_recv(sock, wire.ROOM):
                    await loop.sock_sendall(sock, data)
            except ConnectionError:
                pass

    while True:
        sock, _ = await loop.sock_accept(listener)
        task = loop.create_task(connected(wire.undelayed(sock)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


SERVICES: dict[tuple[str, str], Callable[[], Awaitable[None]]] = {
    ("streams", "echo"): lambda: serve_streams(echo),
    ("streams", "lines"): lambda: serve_streams(lines),
    ("streams", "http"): lambda: serve_streams(http),
    ("protocol", "echo"): lambda: serve_protocol(Echo),
    ("protocol", "lines"): lambda: serve_protocol(Answers),
    ("protocol", "http"): lambda: serve_protocol(Hello),
    ("protocol", "udp"): serve_datagrams,
    ("sock", "echo"): serve_sock,
}


def run(service: Callable[[], Awaitable[None]]) -> None:
    loop_name = sys.argv[1].partition("-")[0]
    factory = importlib.import_module(loop_name).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(service())  # type: ignore[arg-type]


if __name__ == "__main__":
    loop = sys.argv[1].partition("-")[0]
    wire.serve({(f"{loop}-{kind}", service): lambda main=main: run(main) for (kind, service), main in SERVICES.items()})  # type: ignore[misc]
