"""The sending half of a stream: tried at once, held on request, and in the outbox when there is no room.

Knows the outbox and one side of the descriptor. It must not know reading or framing.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..basic.arguments import readable_bytes
from ..errors import EventsockError, SocketError, StreamClosed
from ..loop.current import here
from ..tasks.task import BUDGET, TURN, Task
from ..tasks.waitable import Await, waitable
from .bound import CLOSED, Bound, closed_error
from .files import Refusal
from .gathering import Gathered
from .outbox import NO_SIGNAL, BytesPiece, Outbox, Owner
from .sendfile import FilePiece, FileSent, Source

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ..loop.descriptors import Descriptor
    from .sendfile import File

__all__ = ["Output"]


class Output(Bound):
    """The writing verbs of a stream."""

    __slots__ = ()

    @waitable
    def await_put_bytes(self, data: ReadableBuffer) -> Generator[Any, Any, None]:
        """Write all of `data`; on return the kernel has it, unless the stream gathers. Does not suspend if it all fits at once.

        Two writers take turns, whole call by whole call. `SocketError`: once, with the bytes that went out in `.sent` (a cancellation
        has that too); from then on, and after `close`, `StreamClosed`. `BusyError`: somebody writes to the socket past the stream.
        Origin: chez-a-sync `await-put-bytevector!`.
        """
        descriptor = self._ready or self._bind()
        loop = here.loop
        if loop is None or loop is not self._loop or (task := loop.current) is None or task.waits_for is not None:
            raise self._misused()
        view = data if data.__class__ is bytes else readable_bytes(data)
        if task.eager >= BUDGET:
            yield TURN
        task.eager += 1
        sent = 0
        side = descriptor.write_side
        if side is None or (side.holder is None and side.watch is None):
            if self.gather:
                gathered = self._gathered or self._begin_gathering()
                if gathered.let_out is None:
                    gathered.begin(self._let_out)
                if gathered.hold(view):
                    return
            # Tried before the side is claimed: what fits at once, as nearly all does, needs no claim.
            if self._gathered is not None and self._gathered.pieces:
                sent = self._send_behind_held(view)
            else:
                try:
                    sent = self._sink.send(view, NO_SIGNAL)
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise self._broken_writing(error) from None
            if sent == len(view):
                return
        outbox = self._claimed_outbox(descriptor, task)
        yield from outbox.await_out(BytesPiece(task, outbox, view, sent))

    def await_put_string(self, text: str) -> Await[None]:
        """Write `text` in UTF-8 (`TextStream` has others). Otherwise as `await_put_bytes`. Origin: chez-a-sync `await-put-string!`."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, not {type(text).__name__}: use await_put_bytes()")
        return self.await_put_bytes(text.encode())

    @waitable
    def await_put_file(self, file: File, offset: int | None = None, count: int | None = None) -> Generator[Any, Any, FileSent]:
        """Write a regular file, from `offset` (None: where it stands) and `count` bytes (None: to its end); says what was done.

        `file`: a path, an open binary file, or its number; an open one stands behind what was sent afterwards. By sendfile(2) where
        that goes, so that nothing is copied into the process, else in blocks: see the answer's `bytes` and `way`. A file that ends
        before `count` ends the call. The file's own errors are raised as they are, others as by `await_put_bytes`; `ValueError`: it
        is no regular file. Reading from a slow disk stops the loop.
        """
        descriptor = self._ready or self._bind()
        task = self._user()
        with Source(file, offset) as source:
            if task.eager >= BUDGET:
                yield TURN
            task.eager += 1
            if self._holds:
                self._let_go()
            outbox = self._claimed_outbox(descriptor, task)
            piece = FilePiece(task, outbox, source, count)
            try:
                yield from outbox.await_out(piece)
            finally:
                source.leave(piece.sent)
        return FileSent(piece.sent, piece.way)

    @waitable
    def await_flush(self) -> Generator[Any, Any, None]:
        """Wait until the kernel has all that was put here before. `SocketError`: it never will; `.sent` is what of it went out."""
        task = self._user()
        if self._holds:
            self._let_go()
        yield from self._await_written(task)

    @waitable
    def await_put_eof(self) -> Generator[Any, Any, None]:
        """Flush, and tell the peer that nothing more will come. Reading goes on; putting is a `StreamClosed` from then on.

        `SocketError`: as by `await_flush`; ENOTSOCK: what is no socket can only be closed. shutdown(2).
        """
        yield from self.await_flush()
        channel = self._channel
        if not isinstance(channel, socket.socket):
            raise SocketError(errno.ENOTSOCK, "only a socket has an end of its output alone: close the stream", address=self)
        try:
            channel.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._broken_writing(error) from None
        self._end_output(Refusal(lambda: StreamClosed(f"the output of {self!r} was ended by await_put_eof()")))

    def _end_output(self, refusal: Refusal) -> None:
        """Whoever writes from now on, or waits for it since the end was asked for, is refused."""
        self._sink = refusal
        self.gather = False  # or it would be held first
        if self._outbox is not None:
            self._outbox.dismiss(self._refused)

    # Holding

    def _begin_gathering(self) -> Gathered:
        assert self._loop is not None
        self._gathered = gathered = Gathered(self._loop)
        return gathered

    def _let_go(self) -> bool:
        """Write what is held; False: some of it has to wait for room. `SocketError`; `BusyError`."""
        assert self._gathered is not None
        assert self._descriptor is not None
        data, sent = self._gathered.take(), 0
        side = self._descriptor.write_side
        if side is None or (side.holder is None and side.watch is None):
            try:
                sent = self._sink.send(data, NO_SIGNAL)
            except BlockingIOError:
                pass
            except OSError as error:
                raise self._broken_writing(error) from None
            if sent == len(data):
                return True
        outbox = self._claimed_outbox(self._descriptor, "the stream")
        outbox.add(BytesPiece(None, outbox, data, sent))
        return False

    def _send_behind_held(self, data: bytes | memoryview) -> int:
        """Write what is held and `data` with one call; how much of `data` went out."""
        assert self._ready is not None
        assert self._gathered is not None
        held = self._gathered.take()
        try:
            count = self._sink.sendmsg((held, data), (), NO_SIGNAL)
        except BlockingIOError:
            count = 0
        except OSError as error:
            raise self._broken_writing(error) from None
        if count < len(held):
            outbox = self._claimed_outbox(self._ready, "the stream")
            outbox.add(BytesPiece(None, outbox, held, count))
        return max(0, count - len(held))

    def _let_out(self) -> None:
        """The turn ends: what is held goes out. Nobody waits for it, so the next procedure is told if it fails."""
        if self._holds and self._sink is not CLOSED:
            try:
                self._let_go()
            except EventsockError as error:
                self._lost(error, getattr(error, "sent", 0))

    # Waiting for room

    def _await_written(self, task: Task[Any]) -> Generator[Any, Any, None]:
        outbox = self._outbox
        if outbox is None:
            return
        try:
            yield from outbox.await_out(BytesPiece(task, outbox, b""))
        except EventsockError:
            if self._gathered is None or self._gathered.failure is None:
                raise
            raise self._gathered.take_failure() from None

    def _claimed_outbox(self, descriptor: Descriptor, user: object) -> Outbox:
        """The outbox, to which a piece will be added. `BusyError`: somebody writes past the stream."""
        side, outbox = descriptor.write, self._outbox
        if side.watch is not None or side.holder is not outbox:
            raise side.busy(user)
        if outbox is None:
            self._sink.fileno()
            owner = Owner(lambda: self._sink, self._broken_writing, self._refused, self._lost, self._waits_for_room)
            outbox = self._outbox = Outbox(owner, side)
        return outbox

    def _refused(self) -> BaseException:
        sink = self._sink
        return sink.error() if isinstance(sink, Refusal) else closed_error()

    def _waits_for_room(self, change: int) -> None:
        idle = self._idle
        if change < 0:
            # Until the next time there is no room: with it the stream would be a cycle.
            self._outbox = None
            if idle is not None:
                idle.end()
        elif idle is not None:
            assert self._loop is not None
            idle.begin(self._loop, self._expire, change)
