"""A stream: its two halves, its limits and its end.

Knows how a descriptor is closed: at once, gracefully or with a reset, and who must be told. It must not know text or any protocol.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..basic.arguments import checked_seconds, checked_size
from ..errors import BusyError, EventsockError, StreamClosed
from ..loop.current import here
from ..tasks.task import TURN, Task, current_task
from ..tasks.waitable import waitable
from .bound import CLOSED, closed_error
from .draining import await_peer_end
from .files import Refusal
from .idle import IdleLimit
from .input import Input
from .output import Output

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from _typeshed import FileDescriptorLike

    from ..basic.addresses import SocketAddress
    from ..loop.descriptors import Side

__all__ = ["Stream"]

_RESET = struct.pack("ii", 1, 0)  # lingers for no time: what is not sent is dropped, and the peer gets a reset (socket(7))


class Stream(Input, Output):
    """Reads and writes one socket, pipe, FIFO, tty or other descriptor from tasks. Owns what it is given, and closes it.

    `sock_or_fd`: a socket, a descriptor number above 2 or an object with `fileno()`; it is made non-blocking. `limit` (bytes) bounds
    a line or a delimited record. `gather=True`: small writes may be held, at most 64 KiB of them, until the task next waits for
    input here, `await_flush()`, the end of the loop's turn or of the stream; the next procedure raises what goes wrong then. `idle`
    (seconds): a wait during which nothing moved here for so long, in either direction, raises a `SocketError` that is also a
    `TimeoutError`. `peer`: the address of the other end, where it is known already (`await_serve` knows it), for the texts of errors.
    Use it from tasks of one loop; `with` and `async with` close it. Origin: the port procedures of chez-a-sync.
    """

    __slots__ = ()

    def __init__(
        self,
        sock_or_fd: FileDescriptorLike,
        *,
        limit: int = 65536,
        gather: bool = False,
        idle: float | None = None,
        peer: SocketAddress | None = None,
    ) -> None:
        # Looked at here first: connections may be short, and many.
        seconds = None if idle is None else _checked_idle(idle)
        super().__init__(sock_or_fd, limit if limit.__class__ is int and limit > 0 else _checked_limit(limit), gather, peer)
        if seconds is not None:
            self._idle = IdleLimit(seconds)

    # Limits

    @property
    def limit(self) -> int:
        """The most bytes of a line or a delimited record. Settable: from the next procedure on."""
        return self._input.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._input.limit = _checked_limit(limit)

    @property
    def idle(self) -> float | None:
        """How many seconds a wait may last while nothing moves; None: no limit. Settable: from the next wait on."""
        return None if self._idle is None or self._idle.seconds == float("inf") else self._idle.seconds

    @idle.setter
    def idle(self, seconds: float | None) -> None:
        checked = _checked_idle(seconds)
        # The object stays: it counts the waits that have begun.
        if self._idle is not None:
            self._idle.seconds = float("inf") if checked is None else checked
        elif checked is not None:
            self._idle = IdleLimit(checked)

    @property
    def socket(self) -> socket.socket | None:
        """The socket, for its options; None for other descriptors."""
        channel = self._channel
        return channel if isinstance(channel, socket.socket) else None

    @property
    def unwritten(self) -> bool:
        """Whether something that was put here is held, or waits for room."""
        return self._holds or self._outbox is not None

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._sink is CLOSED

    # The end

    def close(self) -> None:
        """Close the descriptor at once; whoever waits gets `StreamClosed`. Idempotent. Loop thread.

        What was put goes out by the kernel's own means, unless there is unread input: then TCP tells the peer a reset (`await_close`
        avoids that). `SocketError`: the stream is closed, but not all that was held (see `gather`) could be written at once.
        """
        if self._sink is CLOSED:
            return
        gathered = self._gathered
        if gathered is None:
            self._shut()
            return
        self._let_out()
        self._shut()
        if gathered.failure is not None:
            raise gathered.take_failure()

    def abort(self) -> None:
        """Close the descriptor at once and drop what is not sent; a TCP peer gets a reset. Otherwise as `close`; no error."""
        if self._sink is CLOSED:
            return
        if isinstance(self._channel, socket.socket):
            with suppress(OSError):  # closed behind our back
                self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._shut()
        self._gathered = None

    @waitable
    def await_close(self, linger: float | None = 2.0) -> Generator[Any, Any, bool]:
        """Close gracefully: finish what is being written, tell the peer the end, and wait for its end for at most `linger` seconds.

        Whoever else reads gets `StreamClosed` at once, whoever else writes is waited for. Input that still comes is dropped, so that
        TCP does not throw away what we sent last. True: the peer has ended too, so it has seen all; False: it has reset the
        connection, or the time is over. Does nothing on a closed stream. Whatever happens, a cancellation too, the descriptor is
        closed. `SocketError`: what was put could not be written. `BusyError`: another task is closing it in this way already.
        """
        seconds = checked_seconds(linger, "linger")
        if self._sink is CLOSED:
            return True
        other = self._source
        if isinstance(other, _Ending):
            raise BusyError(f"{current_task()} is closing {self!r}, which {other.task} closes already; let one do it")
        try:
            task = self._user()
            assert self._descriptor is not None
            side = self._descriptor.read
            ending = self._source = _Ending(task)
            self._drained = False
            self._input.drop()
            self._tell(side)
            yield from self.await_flush()
            channel = self._channel
            if not isinstance(channel, socket.socket):
                return True
            with suppress(OSError):  # the peer has reset the connection: receiving says so, too
                channel.shutdown(socket.SHUT_WR)
            self._end_output(ending)
            # Who was told has left the side by the next turn.
            yield TURN
            return (yield from await_peer_end(channel, side, task, float("inf") if seconds is None else seconds))
        finally:
            self._shut()

    def _shut(self) -> None:
        if self._sink is CLOSED:
            return
        self._ready = None
        self._source = self._sink = CLOSED
        self._drained = False
        self._input.drop()
        if self._outbox is not None:
            self._outbox.dismiss(_unwritten)
        if self._gathered is not None:
            self._gathered.take()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None and here.loop is not None:  # never used here, but perhaps waited for by other means
            self._loop = here.loop
            descriptor = here.loop.book.lookup(self._channel)
        if descriptor is not None:
            for side in descriptor.sides:
                self._tell(side)
            descriptor.book.discard(descriptor)
        self._channel.close()

    def _tell(self, side: Side) -> None:
        """Whoever waits for the side waits in vain."""
        waiter = side.waiter
        if waiter is not None and side.withdraw():
            assert self._loop is not None
            self._loop.soon(partial(waiter.fail, closed_error()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except EventsockError as unwritten:
            error.add_note(f"beside it: {unwritten}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None and self._holds and self._sink is not CLOSED:
            try:
                await self.await_flush()
            finally:
                self._shut()
        self.__exit__(kind, error, trace)


class _Ending(Refusal):
    """Stands in for the source of a stream that `task` is closing gracefully."""

    __slots__ = ("task",)

    def __init__(self, task: Task[Any]) -> None:
        super().__init__(closed_error)
        self.task = task


def _unwritten() -> BaseException:
    return StreamClosed("the stream was closed before all was written")


def _checked_limit(limit: int) -> int:
    if checked_size(limit, "limit") < 1:
        raise ValueError("limit must be at least 1 byte")
    return limit


def _checked_idle(idle: float | None) -> float | None:
    seconds = checked_seconds(idle, "idle")
    if seconds == 0:
        raise ValueError("idle must be more than 0 seconds, or None for no limit")
    return seconds
