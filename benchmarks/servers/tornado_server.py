"""tornado's servers: `TCPServer` and its `IOStream`. It has no datagrams."""

from __future__ import annotations

import asyncio

from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer

import wire


class Server(TCPServer):
    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        stream.set_nodelay(True)
        try:
            await self.converse(stream)
        except StreamClosedError:
            pass

    async def converse(self, stream: IOStream) -> None:
        raise NotImplementedError


class Echo(Server):
    async def converse(self, stream: IOStream) -> None:
        while True:
            await stream.write(await stream.read_bytes(wire.ROOM, partial=True))


class Answers(Server):
    end, reply = b"\n", wire.PONG

    async def converse(self, stream: IOStream) -> None:
        while True:
            await stream.read_until(self.end)
            await stream.write(self.reply)


class Hello(Answers):
    end, reply = wire.REQUEST_END, wire.HELLO


async def serve(server: Server) -> None:
    listener = wire.listener()
    listener.setblocking(False)
    server.add_socket(listener)
    await asyncio.Event().wait()


if __name__ == "__main__":
    wire.serve(
        {
            ("tornado", "echo"): lambda: asyncio.run(serve(Echo())),
            ("tornado", "lines"): lambda: asyncio.run(serve(Answers())),
            ("tornado", "http"): lambda: asyncio.run(serve(Hello())),
        }
    )
