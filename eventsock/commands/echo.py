"""`eventsock echo`: a server that sends back what comes in (RFC 862 over TCP, or over a Unix socket).

Knows the public face of the package and the process it is the main program of: its arguments, its output, its signals.
"""

from __future__ import annotations

import signal
import socket
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .. import EventLoop, SocketError, Stream, a_sync, await_serve, basic
from .telling import complain, tell

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Puts the parser of this command beside the others."""
    text = "an echo server: what comes in goes back"
    parser = commands.add_parser("echo", help=text, description=f"{text[0].upper()}{text[1:]}. Ends on Ctrl-C or SIGTERM.")
    parser.add_argument("--host", default="127.0.0.1", help="a name or a numeric address to listen on (default: %(default)s)")
    parser.add_argument("--port", default="8000", help="the port; 0: one that is free (default: %(default)s)")
    parser.add_argument("--unix", metavar="PATH", help="listen on a Unix socket at PATH instead")
    parser.add_argument("-v", "--verbose", action="store_true", help="print a line for each connection")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Serves until Ctrl-C or SIGTERM: 0. Where it cannot listen it says why in one line: 1."""
    try:
        listener = _listener(arguments)
    except (SocketError, ValueError) as error:
        complain("echo", error)
        return 1
    with listener, EventLoop() as loop:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, lambda _: loop.quit())
        echo = _echoing(arguments.verbose)
        a_sync(lambda: await_serve(echo, listener, on_error=lambda error, where: complain("echo", f"{where}: {error}")), loop=loop)
        tell(f"listening on {basic.socket_name(listener)}")
        loop.run()
    return 0


def _listener(arguments: Namespace) -> socket.socket:
    if arguments.unix is not None:
        return basic.listen_on_unix_socket(arguments.unix)
    host, port = arguments.host, arguments.port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"cannot listen on {host}:{port}: a port is a number from 0 to 65535")
    if not host:
        raise ValueError(f"cannot listen on :{port}: there is no host; 0.0.0.0 and :: are every address of this machine")
    found = basic.address_information(host, int(port), flags=socket.AI_PASSIVE)[0].address
    listen = basic.listen_on_ipv6_socket if found.family == socket.AF_INET6 else basic.listen_on_ipv4_socket
    return listen(found.address, found.port)


def _echoing(verbose: bool) -> Callable[[Stream, basic.SocketAddress], Generator[Any, Any, None]]:
    def echo(stream: Stream, address: basic.SocketAddress) -> Generator[Any, Any, None]:
        if verbose:
            tell(f"connection from {str(address) or 'a client without a name'}")
        with suppress(SocketError):  # a client that resets has left like any other
            while data := (yield from stream.await_getsome()):
                yield from stream.await_put_bytes(data)

    return echo
