"""What a stream is made of, and how it comes to a loop, to its errors and to its limits.

Knows a channel, the two sides of its descriptor and the task that uses it. It must not know how bytes are received or sent: that is
the business of the two halves, `Input` and `Output`, which share this state.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from ..basic.names import known_peer
from ..errors import LoopStateError, SocketError, StreamClosed
from ..tasks.task import Task, current_task
from .files import Refusal, channel_of
from .splitter import Splitter

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from ..basic.addresses import SocketAddress
    from ..loop.descriptors import Descriptor
    from ..loop.event_loop import EventLoop
    from .files import Channel
    from .gathering import Gathered
    from .idle import IdleLimit
    from .outbox import Outbox

__all__ = ["CLOSED", "Bound", "closed_error"]


def closed_error() -> StreamClosed:
    """The error for whoever uses a stream after its end, or waited when that came."""
    return StreamClosed("the stream was closed")


CLOSED = Refusal(closed_error)


class Bound:
    """The state of a stream."""

    __slots__ = (
        "__weakref__",
        "_channel",
        "_descriptor",
        "_drained",
        "_gathered",
        "_idle",
        "_input",
        "_loop",
        "_outbox",
        "_peer",
        "_ready",
        "_sink",
        "_source",
        "gather",
    )

    def __init__(self, sock_or_fd: FileDescriptorLike, limit: int, gather: bool, peer: SocketAddress | None) -> None:
        # What is received from and sent to: the channel, or what refuses once that is closed or broken.
        self._channel: Channel = channel_of(sock_or_fd)
        self._source = self._channel
        self._sink = self._channel
        self._loop: EventLoop | None = None
        self._descriptor: Descriptor | None = None
        # The same descriptor where there is nothing else to look at: None before the first use, after the end, and when there is an
        # error to tell. So what is rare costs those nothing who find one.
        self._ready: Descriptor | None = None
        self._input = Splitter(limit)
        # Whether the last receive emptied the socket, so that the next one would fail: then wait first.
        self._drained = False
        self._idle: IdleLimit | None = None
        self._outbox: Outbox | None = None
        self.gather = gather
        self._gathered: Gathered | None = None
        self._peer = peer

    # The loop

    def _bind(self) -> Descriptor:
        """The first use decides the loop."""
        if self._sink is CLOSED:
            raise closed_error()
        if self._gathered is not None and self._gathered.failure is not None:
            raise self._gathered.take_failure()
        descriptor = self._descriptor
        if descriptor is None:
            self._loop = loop = current_task("a stream's procedure").loop
            descriptor = self._descriptor = loop.book.find(self._channel)
        self._ready = descriptor
        return descriptor

    def _user(self) -> Task[Any]:
        """The current task, bound to the stream's loop."""
        self._bind()
        task = current_task("a stream's procedure")
        if task.loop is not self._loop:
            raise self._misused()
        return task

    def _misused(self) -> LoopStateError:
        """The error for a caller that is no task, or one of another loop."""
        me = current_task("a stream's procedure")
        return LoopStateError(f"{me} belongs to {me.loop!r}, but {self!r} is used in {self._loop!r}")

    @property
    def _holds(self) -> bool:
        """Whether writes are held."""
        return self._gathered is not None and bool(self._gathered.pieces)

    # Errors

    def _broken_reading(self, error: OSError) -> SocketError:
        """Receiving has failed: what came before stays, and there will be no more."""
        failure = SocketError.of(error, address=self.peer)
        self._source = Refusal(lambda: StreamClosed(f"{self!r} cannot be read any more: {failure.strerror}"))
        self._drained = False
        return failure

    def _broken_writing(self, error: OSError) -> SocketError:
        failure = SocketError.of(error, address=self.peer)
        self._sink = Refusal(lambda: StreamClosed(f"{self!r} cannot be written to any more: {failure.strerror}"))
        return failure

    def _lost(self, error: BaseException, sent: int) -> None:
        """What was held has not gone out, but for `sent` bytes: to be raised by the next procedure."""
        if not isinstance(error, SocketError):
            error = SocketError(errno.ECONNABORTED, str(error), address=self.peer)
        error.sent = sent
        assert self._gathered is not None
        self._gathered.failure = error
        self._ready = None

    @property
    def peer(self) -> SocketAddress | None:
        """The address of the other end of a socket; None if there is none, or if it is not known any more (after a reset)."""
        if self._peer is None and isinstance(self._channel, socket.socket):
            self._peer = known_peer(self._channel)
        return self._peer

    def _let_go(self) -> bool:
        """Write what is held; False: some of it has to wait for room. The sending half's."""
        raise NotImplementedError

    def _await_written(self, task: Task[Any]) -> Generator[Any, Any, None]:
        """Wait until what has to wait for room now is written. The sending half's."""
        raise NotImplementedError

    # Limits

    def _expire(self) -> None:
        """Nothing has moved for as long as `idle` says: tell whoever waits."""
        if self._descriptor is None or self._loop is None:
            return
        waiter = self._descriptor.read.waiter
        if waiter is not None and self._descriptor.read.withdraw():
            self._loop.soon(partial(waiter.fail, self._expired()))
        if self._outbox is not None:
            self._outbox.dismiss(self._expired)

    def _expired(self) -> SocketError:
        seconds = 0.0 if self._idle is None else self._idle.seconds
        return SocketError(errno.ETIMEDOUT, f"nothing moved for {seconds:g} s, the idle limit", address=self.peer)

    def fileno(self) -> int:
        """The descriptor's number, -1 after the end."""
        return self._channel.fileno()

    def __repr__(self) -> str:
        state = "closed" if self._sink is CLOSED else f"descriptor {self.fileno()}"
        return f"<{type(self).__name__} {state}>"
