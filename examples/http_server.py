#!/usr/bin/env python3
"""An HTTP/1.1 server: eventsock moves the bytes, h11 (`pip install h11`) knows the protocol.

Shows how a protocol engine that does no input or output is driven by a stream, in an `async def`, with a time limit for each request.
Try it with

    curl -i http://localhost:8000/
    wrk http://localhost:8000/
"""

import argparse
import sys
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus

import h11

from eventsock import SocketError, Stream, await_serve, run, timeout
from eventsock.basic import SocketAddress, listen_on_ipv4_socket, listen_on_ipv6_socket, socket_name

SECONDS_FOR_A_REQUEST = 30

PAGES = {b"/": b"<!doctype html><title>eventsock</title><h1>Hello, world</h1>\n"}


class Conversation:
    """One connection, and the requests that come on it one after the other."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        try:
            while (request := await self._hear()) is not None:
                await self._answer(request)
                if self._http.our_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._respond(error.error_status_hint, f"{error}\n".encode())
        await self._stream.await_close()  # in good order, so that the last words arrive even if not all was read

    async def _hear(self) -> h11.Request | None:
        """The next request, once all of it is there; None when no more will come. The pages want no content, so it is read past."""
        request = None
        with timeout(SECONDS_FOR_A_REQUEST):
            while not isinstance(event := await self._next_event(), h11.EndOfMessage):
                if isinstance(event, h11.ConnectionClosed):
                    return None
                if isinstance(event, h11.Request):
                    request = event
        return request

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._stream.await_getsome())
        return event

    async def _answer(self, request: h11.Request) -> None:
        page = PAGES.get(path_of(request.target))
        if request.method not in (b"GET", b"HEAD"):
            await self._respond(405, b"There are only GET and HEAD here.\n", ("allow", "GET, HEAD"))
        elif page is None:
            await self._respond(404, b"There is no such page.\n", without_content=request.method == b"HEAD")
        else:
            await self._respond(200, page, ("content-type", "text/html; charset=utf-8"), without_content=request.method == b"HEAD")

    async def _respond(self, status: int, page: bytes, *headers: tuple[str, str], without_content: bool = False) -> None:
        usual = [("date", formatdate(usegmt=True)), ("content-length", str(len(page)))]
        response = h11.Response(status_code=status, headers=[*usual, *headers], reason=HTTPStatus(status).phrase)
        content = [] if without_content else [h11.Data(page)]
        await self._send(response, *content, h11.EndOfMessage())

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.await_put_bytes(b"".join(self._http.send(event) or b"" for event in events))


def path_of(target: bytes) -> bytes:
    """Of `/path?query`, and of `http://host/path?query`, which a server must understand too (RFC 9112, 3.2.2)."""
    if not target.startswith(b"/"):
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    return target.partition(b"?")[0]


async def serve(stream: Stream, address: SocketAddress) -> None:
    stream.gather = True  # the answers to requests that came together go together
    with suppress(SocketError, TimeoutError):  # who resets, or says nothing for too long, has left like any other
        await Conversation(stream).serve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="a numeric address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0: one that is free (default: %(default)s)")
    arguments = parser.parse_args()
    listen = listen_on_ipv6_socket if ":" in arguments.host else listen_on_ipv4_socket
    try:
        listener = listen(arguments.host, arguments.port)
    except (SocketError, ValueError) as error:
        sys.exit(f"http_server: {error}")
    with listener, suppress(KeyboardInterrupt):
        print(f"listening on {socket_name(listener)}", flush=True)
        run(await_serve, serve, listener)


if __name__ == "__main__":
    main()
