"""`eventsock relay LISTEN TARGET`: hands on what comes in to another server, and back, between TCP and Unix sockets in any combination.

Knows the public face of the package and the process it is the main program of: its arguments, its output, its signals. It must not
know what the bytes mean.
"""

from __future__ import annotations

import signal
import socket
from argparse import ArgumentParser, Namespace
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import (
    Await,
    ConnectError,
    EventLoop,
    SocketError,
    Stream,
    TaskGroup,
    a_sync,
    await_connect_to_host,
    await_connect_to_unix_host,
    await_serve,
    basic,
)
from .telling import complain, tell

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_ADDRESSES = "host:port, [IPv6 address]:port, :port for this machine, unix:PATH, or a path with a slash"


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the parser of this command beside the others."""
    text = "hand on what comes in to another server, and back"
    description = f"{text[0].upper()}{text[1:]}. An address is {_ADDRESSES}. Ends on Ctrl-C or SIGTERM."
    parser = commands.add_parser("relay", help=text, description=description)
    parser.add_argument("listen", metavar="LISTEN", help="where clients connect; port 0: one that is free")
    parser.add_argument("target", metavar="TARGET", help="where they are connected to")
    parser.add_argument("-v", "--verbose", action="store_true", help="print a line when a connection begins, and one when it ends")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Relays until Ctrl-C or SIGTERM: 0. Where it cannot listen it says why in one line: 1."""
    try:
        target = _place(arguments.target)
        target.check_target()
        listener = _place(arguments.listen).listen()
    except (SocketError, ValueError) as error:
        complain("relay", error)
        return 1
    with listener, EventLoop() as loop:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, lambda _: loop.quit())
        relay = _Relay(target, arguments.verbose)
        a_sync(lambda: await_serve(relay.serve, listener, on_error=lambda error, where: complain("relay", f"{where}: {error}")), loop=loop)
        tell(f"listening on {basic.socket_name(listener)}")
        loop.run()
    return 0


@dataclass(frozen=True)
class _Place:
    """Where to listen or to connect: a path, or else a host and a port. The empty host is this machine."""

    path: str
    host: str
    port: int

    def listen(self) -> socket.socket:
        if self.path:
            return basic.listen_on_unix_socket(self.path)
        found = basic.address_information(self.host or "127.0.0.1", self.port, flags=socket.AI_PASSIVE)[0].address
        listen = basic.listen_on_ipv6_socket if found.family == socket.AF_INET6 else basic.listen_on_ipv4_socket
        return listen(found.address, found.port)

    def check_target(self) -> None:
        if self.path:
            basic.unix_address(self.path)  # no name of another kind
        elif self.port == 0:
            raise ValueError(f"cannot connect to {self.host}:0: a server's port is a number from 1 to 65535")

    def await_connect(self) -> Await[socket.socket]:
        if self.path:
            return await_connect_to_unix_host(self.path)
        return await_connect_to_host(self.host or "localhost", port=self.port)


def _place(text: str) -> _Place:
    if (text.startswith("unix:") or "/" in text) and (path := text.removeprefix("unix:")):
        return _Place(path, "", 0)
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if not colon or (bare == host) == (":" in bare):
        raise ValueError(f"{text!r} is no address; an address is {_ADDRESSES}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{text!r} is no address: a port is a number from 0 to 65535")
    return _Place("", bare, int(port))


class _Relay:
    """Connects each client to the target."""

    def __init__(self, target: _Place, verbose: bool) -> None:
        self._target = target
        self._verbose = verbose

    def serve(self, near: Stream, address: basic.SocketAddress) -> Generator[Any, Any, None]:
        client = str(address) or "a client without a name"
        try:
            sock = yield from self._target.await_connect()
        except ConnectError as error:
            complain("relay", f"{client} is turned away: {error}")
            return
        with Stream(sock) as far:
            self._tell(f"connection from {client} to {basic.peer_name(sock)}")
            yield from self._await_end(client, near, far)

    def _await_end(self, client: str, near: Stream, far: Stream) -> Generator[Any, Any, None]:
        there, back = _Direction(near, far), _Direction(far, near)
        group = TaskGroup()
        group.a_sync(there.run)
        group.a_sync(back.run)
        how = "both have ended"
        try:
            yield from group.await_all()
        except SocketError as error:
            how = error.strerror
            near.abort()  # what was cut off must not look as if it were complete
            far.abort()
        self._tell(f"end of {client}: {there.passed} bytes there, {back.passed} bytes back: {how}")

    def _tell(self, what: str) -> None:
        if self._verbose:
            tell(what)


class _Direction:
    """One of the two directions of a pair."""

    def __init__(self, source: Stream, sink: Stream) -> None:
        self._source = source
        self._sink = sink
        self.passed = 0

    def run(self) -> Generator[Any, Any, None]:
        """Hands on up to the end of input, and then the end. An error of the source ends the pair."""
        while data := (yield from self._source.await_getsome()):
            try:
                yield from self._sink.await_put_bytes(data)
            except SocketError:
                return  # the sink takes no more; what it still has to say, and how it ended, the other direction reads
            self.passed += len(data)
        basic.shutdown(self._sink, "wr")
