"""Who takes part: servers in families of style, and libraries for what happens inside one process.

A table and nothing else: how a candidate is started is in `harness`, whether it is there in `environment`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Server:
    """One way to write a server. `library` is what must be importable; `program` is called with `style` and the service."""

    name: str
    library: str
    program: str
    style: str


@dataclass(frozen=True)
class Library:
    """One library (or loop), whose in-process operations are in `program`."""

    name: str
    library: str
    program: str


# The same source through mypyc: in a place of its own, which `environment` makes.
COMPILED = "eventsock (compiled)"

C = Server("C epoll", "", "server", "")
BARE = Server("bare Python epoll", "", "bare_server.py", "epoll")

SERVERS = [
    C,
    BARE,
    Server("eventsock", "eventsock", "eventsock_server.py", "streams"),
    Server(COMPILED, COMPILED, "eventsock_server.py", "streams"),
    Server("eventsock async def", "eventsock", "eventsock_server.py", "async"),
    Server("eventsock without gather", "eventsock", "eventsock_server.py", "plain"),
    Server("eventsock sockets", "eventsock", "eventsock_server.py", "sockets"),
    Server("eventsock watches", "eventsock", "eventsock_server.py", "watches"),
    Server("asyncio streams", "asyncio", "asyncio_server.py", "asyncio-streams"),
    Server("asyncio Protocol", "asyncio", "asyncio_server.py", "asyncio-protocol"),
    Server("asyncio sock_*", "asyncio", "asyncio_server.py", "asyncio-sock"),
    Server("uvloop streams", "uvloop", "asyncio_server.py", "uvloop-streams"),
    Server("uvloop Protocol", "uvloop", "asyncio_server.py", "uvloop-protocol"),
    Server("uvloop sock_*", "uvloop", "asyncio_server.py", "uvloop-sock"),
    Server("rloop streams", "rloop", "asyncio_server.py", "rloop-streams"),
    Server("rloop Protocol", "rloop", "asyncio_server.py", "rloop-protocol"),
    Server("curio", "curio", "curio_server.py", "curio"),
    Server("trio", "trio", "trio_server.py", "trio"),
    Server("gevent", "gevent", "gevent_server.py", "gevent"),
    Server("tornado", "tornado", "tornado_server.py", "tornado"),
]

LIBRARIES = [
    Library("eventsock", "eventsock", "eventsock_operations.py"),
    Library(COMPILED, COMPILED, "eventsock_operations.py"),
    Library("asyncio", "asyncio", "asyncio_operations.py"),
    Library("uvloop", "uvloop", "asyncio_operations.py"),
    Library("rloop", "rloop", "asyncio_operations.py"),
    Library("curio", "curio", "curio_operations.py"),
    Library("trio", "trio", "trio_operations.py"),
    Library("gevent", "gevent", "gevent_operations.py"),
]

Candidate = Server | Library


def servers(*names: str) -> tuple[Server, ...]:
    """Those servers, in the table's order; all of them without names."""
    return tuple(server for server in SERVERS if not names or server.name in names)


def libraries(*names: str) -> tuple[Library, ...]:
    """Those libraries, in the table's order; all of them without names."""
    return tuple(library for library in LIBRARIES if not names or library.name in names)
