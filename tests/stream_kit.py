"""What the tests of streams share: both ways to say "wait", two streams back to back, and a kernel that soon has no room.

Knows the public face. Each test says for itself what it expects.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from array import array
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eventsock import Await, Stream, Task, a_sync, await_yield, run

Steps = Generator[Any, Any, Any]
Wait = Callable[[], Await[Any]]

# What a task does who waits for what `make()` returns, said in both ways.
WAYS: dict[str, Callable[[Wait], Callable[[], Any]]] = {}


def _by_yield_from(make: Wait) -> Callable[[], Steps]:
    def body() -> Steps:
        return (yield from make())

    return body


def _by_await(make: Wait) -> Callable[[], Any]:
    async def body() -> Any:
        return await make()

    return body


WAYS["yield from"] = _by_yield_from
WAYS["await"] = _by_await

both_ways: Callable[[Callable[..., None]], Callable[..., None]] = pytest.mark.parametrize("said", WAYS.values(), ids=WAYS)


@contextmanager
def stream_and_peer(**options: Any) -> Iterator[tuple[Stream, socket.socket]]:
    """A stream, and the blocking socket at its other end."""
    left, right = socket.socketpair()
    with right, Stream(left, **options) as stream:
        right.settimeout(10)
        yield stream, right


@contextmanager
def streams(**options: Any) -> Iterator[tuple[Stream, Stream]]:
    """Two streams back to back."""
    left, right = socket.socketpair()
    with Stream(left, **options) as one, Stream(right) as other:
        yield one, other


def tcp_streams(pair: tuple[socket.socket, socket.socket], **options: Any) -> tuple[Stream, socket.socket]:
    """The server's end of a TCP connection as a stream, and the client's blocking socket."""
    client, server = pair
    client.settimeout(10)
    return Stream(server.dup(), **options), client


def narrow(sock: socket.socket) -> None:
    """Leave the kernel so little room that large writes take many calls."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pattern(size: int) -> bytes:
    """Bytes that show where they were cut or swapped."""
    return array("I", range((size + 3) // 4)).tobytes()[:size]


def most_in_a_turn(spin: Callable[[Callable[[], None]], Steps], turns: int = 20) -> int:
    """How often at the most `spin(count)`, which never ends by itself, calls `count()` between two turns of another task.

    If it starves the other task, the test hangs, and fails by its time limit.
    """
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    def body() -> Steps:
        spinning: Task[Any] = a_sync(spin, count)
        most = 0
        for _ in range(turns):
            before = counted
            yield from await_yield()
            most = max(most, counted - before)
        spinning.cancel()
        return most

    return int(run(body))


def told(make: Wait, *errors: type[BaseException]) -> Callable[[], Steps]:
    """A task that waits and gives the error it gets."""

    def body() -> Steps:
        try:
            yield from make()
        except errors as error:
            return error
        return None

    return body


def waits(make: Wait) -> Any:
    """The result of waiting for `make()`, in a loop of its own."""
    return run(_by_yield_from(make))
