"""A stream: bytes from and to one descriptor, read in lines, blocks or records and written whole call by whole call.

Knows a channel, the splitter, tasks and the two sides of its descriptor. It must not know text or any protocol. The way of one byte:
the loop wakes the task at `yield SUSPENDED` in `_await_unit`, which receives it, feeds the splitter and takes the unit out.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from ..basic.arguments import checked_size, readable_bytes
from ..errors import LoopStateError, SocketError, StreamClosed
from ..loop.event_loop import EventLoop
from ..tasks.task import BUDGET, SUSPENDED, TURN, Task, current_task, get_current
from ..tasks.waitable import Await, waitable
from .files import Channel, channel_of
from .splitter import MORE, More, Splitter
from .writing import NO_SIGNAL, WriterLine, await_rest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from _typeshed import FileDescriptorLike, ReadableBuffer

    from ..loop.descriptors import Descriptor, Side

__all__ = ["Stream"]

T = TypeVar("T")

# What one receive asks for: large enough that a fast peer costs few calls, small enough that the allocator has it at hand.
_CHUNK = 65536


class Stream:
    """Reads and writes one socket, pipe, FIFO, tty or other descriptor from tasks. Owns what it is given, and closes it.

    `sock_or_fd`: a socket, a descriptor number above 2 or an object with `fileno()`; it is made non-blocking. `limit` (bytes) bounds
    a line or a delimited record. Use it from tasks of one loop; `with` and `async with` close it. Origin: the port procedures of
    chez-a-sync.
    """

    __slots__ = (
        "__weakref__",
        "_channel",
        "_closed",
        "_descriptor",
        "_drained",
        "_input",
        "_line",
        "_loop",
        "_reading",
        "_recv",
        "_send",
        "_writing",
    )

    def __init__(self, sock_or_fd: FileDescriptorLike, *, limit: int = 65536) -> None:
        if checked_size(limit, "limit") < 1:
            raise ValueError("limit must be at least 1 byte")
        self._channel: Channel = channel_of(sock_or_fd)
        self._recv = self._channel.recv
        self._send = self._channel.send
        self._input = Splitter(limit)
        self._loop: EventLoop | None = None
        self._descriptor: Descriptor | None = None
        # The sides of the descriptor in the loop's book: None before the first use, and after the end.
        self._reading: Side | None = None
        self._writing: Side | None = None
        self._line: WriterLine | None = None
        # Whether the last receive emptied the socket, so that the next one would fail: then wait first.
        self._drained = False
        self._closed = False

    # Binding

    def _bind(self) -> Descriptor:
        """The first use decides the loop."""
        if self._closed:
            raise self._closed_error()
        if self._descriptor is None:
            task = current_task("a stream's procedure")
            self._loop = task.loop
            self._descriptor = task.loop.book.find(self._channel)
        return self._descriptor

    def _bind_reading(self) -> Side:
        self._reading = side = self._bind().read
        return side

    def _bind_writing(self) -> Side:
        self._writing = side = self._bind().write
        self._line = WriterLine(side)
        return side

    def _misused(self, task: Task[Any] | None) -> LoopStateError:
        """The error for a caller that is no task, or one of another loop."""
        me = current_task("a stream's procedure")
        return LoopStateError(f"{me} belongs to {me.loop!r}, but {self!r} is used in {self._loop!r}")

    def _closed_error(self) -> StreamClosed:
        return StreamClosed(f"{self!r} was closed")

    # Reading

    @waitable
    def _await_unit(self, take: Callable[[], T | More]) -> Generator[Any, Any, T]:
        """Receive until `take` can be satisfied. Every reading verb is this one with another `take`."""
        side = self._reading or self._bind_reading()
        task = get_current()
        if task is None or task.waits_for is not None or task.loop is not self._loop:
            raise self._misused(task)
        if side.holder is not None or side.watch is not None:
            raise side.busy(task)
        if task.eager >= BUDGET:
            yield TURN
        source = self._input
        if source.data or source.ended:
            unit = take()
            if unit is not MORE:
                task.eager += 1
                return unit  # type: ignore[return-value]
        side.holder = task
        try:
            while True:
                if self._drained:
                    side.arm(task)
                    task.waits_for = side
                    yield SUSPENDED
                elif task.eager >= BUDGET:
                    yield TURN
                size = source.wanted(_CHUNK) if source.data else _CHUNK
                try:
                    data = self._recv(size)
                except BlockingIOError:
                    if self._drained:
                        side.woken_in_vain()
                    self._drained = True
                    continue
                except OSError as error:
                    raise self._broken(error) from None
                # A short read has emptied the socket: the next receive would only fail, so it waits first.
                self._drained = len(data) < size
                task.eager += 1
                if data:
                    source.feed(data)
                else:
                    source.end()
                unit = take()
                if unit is not MORE:
                    return unit  # type: ignore[return-value]
        finally:
            side.holder = None

    def await_getline(self) -> Await[bytes | None]:
        """The next line without its end (LF; a CR before it stays); the text before the end of input is a line; then None.

        `LineTooLong`: once, with the first `limit` bytes in `.partial`; the next call skips the rest of that line. `SocketError`;
        `StreamClosed`; `BusyError`: another task reads. Origin: chez-a-sync `await-getline!`.
        """
        return self._await_unit(self._input.line)

    def await_getblock(self, size: int) -> Await[bytes | None]:
        """`size` bytes, fewer only before the end of input, then None. Origin: chez-a-sync `await-getblock!`."""
        checked_size(size, "size")
        return self._await_unit(lambda: self._input.block(size))

    def await_getsome(self, max: int = _CHUNK) -> Await[bytes]:
        """What is there, at least one byte and at most `max`; `b""` at the end of input."""
        if max == _CHUNK:
            return self._await_unit(self._input.some)
        if checked_size(max, "max") < 1:
            raise ValueError("max must be at least 1 byte")
        return self._await_unit(lambda: self._input.some(max))

    def await_getuntil(self, delimiter: bytes) -> Await[bytes]:
        """Everything up to the next `delimiter`, with it. `IncompleteRead`: the end came first; `LineTooLong`: not within `limit`."""
        if not delimiter:
            raise ValueError("delimiter must not be empty")
        return self._await_unit(lambda: self._input.until(delimiter))

    def await_getall(self) -> Await[bytes]:
        """Everything up to the end of input."""
        return self._await_unit(self._input.everything)

    # Writing

    @waitable
    def await_put_bytes(self, data: ReadableBuffer) -> Generator[Any, Any, None]:
        """Write all of `data`; on return the kernel has it. Does not suspend if it all fits at once.

        Two writers take turns, whole call by whole call. `SocketError`: with the bytes that went out in `.sent`; `StreamClosed`.
        Origin: chez-a-sync `await-put-bytevector!`.
        """
        side = self._writing or self._bind_writing()
        task = get_current()
        if task is None or task.waits_for is not None or task.loop is not self._loop:
            raise self._misused(task)
        if side.watch is not None:
            raise side.busy(task)
        if task.eager >= BUDGET:
            yield TURN
        if data.__class__ is not bytes:
            data = readable_bytes(data)
        sent = 0
        if side.holder is None:
            # Tried before the side is claimed: what fits at once, as nearly all does, needs no claim.
            try:
                sent = self._send(data, NO_SIGNAL)
            except BlockingIOError:
                pass
            except OSError as error:
                raise self._broken(error) from None
            if sent == len(data):
                task.eager += 1
                return
            side.holder = task
        else:
            yield from self._line.await_turn(task)  # type: ignore[union-attr]
        try:
            yield from await_rest(self._send, memoryview(data), sent, side, task)
        finally:
            if self._line is not None:
                self._line.next()

    def await_put_string(self, text: str) -> Await[None]:
        """Write `text` in UTF-8. Otherwise as `await_put_bytes`. Origin: chez-a-sync `await-put-string!`."""
        return self.await_put_bytes(text.encode())

    def _broken(self, error: OSError) -> SocketError:
        return SocketError.of(error, address=self._peer())

    def _peer(self) -> object:
        sock = self.socket
        if sock is None or sock.fileno() < 0:
            return None
        try:
            return sock.getpeername() or None
        except OSError:
            return None

    # Ending

    @property
    def socket(self) -> socket.socket | None:
        """The socket, for its options; None for other descriptors."""
        channel = self._channel
        return channel if isinstance(channel, socket.socket) else None

    def fileno(self) -> int:
        """The descriptor's number, -1 after the end."""
        return self._channel.fileno()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Close the descriptor at once; whoever waits gets `StreamClosed`. Idempotent. Loop thread."""
        if self._closed:
            return
        self._closed = True
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._tell_waiters(descriptor)
            descriptor.book.discard(descriptor)
        self._reading = self._writing = None
        self._channel.close()

    def _tell_waiters(self, descriptor: Descriptor) -> None:
        assert self._loop is not None
        for side in (descriptor.read, descriptor.write):
            waiter = side.waiter
            if waiter is not None and side.withdraw():
                error = self._closed_error()
                self._loop.soon(lambda waiter=waiter, error=error: waiter.fail(error))  # type: ignore[misc]
        if self._line is not None:
            self._line.dismiss(self._closed_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        line = await self.await_getline()
        if line is None:
            raise StopAsyncIteration
        return line

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"descriptor {self.fileno()}"
        return f"<{type(self).__name__} {state}>"
