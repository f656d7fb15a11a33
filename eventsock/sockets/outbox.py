"""What could not be written at once, in order: whole call by whole call, several of them in one system call.

Knows a channel's sending verbs, one side of a descriptor, and the tasks that wait. It must not know reading, framing or gathering.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SocketError, StreamClosed
from ..loop.descriptors import Side
from ..tasks.task import SUSPENDED, Task

if TYPE_CHECKING:
    from .files import Channel

__all__ = ["NO_SIGNAL", "BytesPiece", "FileFailed", "Outbox", "Owner", "Piece"]

# A peer that is gone must be an error here, never a SIGPIPE that kills a process which had it reset to its default (send(2)).
NO_SIGNAL = int(getattr(socket, "MSG_NOSIGNAL", 0))

# How many pieces one vectored write takes: enough to save calls, no more than any system allows (IOV_MAX is 16 at the least).
_VECTOR = 16


class FileFailed(Exception):  # noqa: N818 - it says whose fault it is
    """A piece could not be read; the channel is as good as before. The cause is the error of the file."""


class Owner(NamedTuple):
    """What an outbox asks of its stream."""

    sink: Callable[[], Channel]
    """What is written to; when that is closed or broken, something that says so."""
    broken: Callable[[OSError], SocketError]
    """Writing is over: gives the error to be told."""
    refused: Callable[[], BaseException]
    """Gives the error for who comes too late."""
    lost: Callable[[BaseException, int], object]
    """What was held for the stream did not go out, but for so many bytes."""
    waits: Callable[[int], object]
    """1: a wait for room begins; 0: it goes on after progress; -1: it is over."""


class Piece:
    """What one call wants written. A task waits for it; or nobody does, for what the owner held: then the owner is told of a failure."""

    __slots__ = ("_outbox", "sent", "task")

    def __init__(self, task: Task[Any] | None, outbox: Outbox) -> None:
        self.task = task
        self.sent = 0
        self._outbox = outbox

    @property
    def done(self) -> bool:
        """Whether all of it is written."""
        raise NotImplementedError

    def send(self, channel: Channel) -> None:
        """Write some, and count it. `BlockingIOError`: there is no room; other `OSError`: the channel is broken; `FileFailed`."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """It will not be written."""
        if self.task is not None:
            self.task.loop.soon(partial(self.task.fail, error))
        else:
            self._outbox.owner.lost(error, self.sent)

    def withdraw(self) -> bool:
        """As what a task waits for."""
        return self._outbox.remove(self)

    def __str__(self) -> str:
        return f"its turn and room to write to descriptor {self._outbox.side.descriptor.fd}"


class BytesPiece(Piece):
    """Bytes, of which the first `sent` have gone out."""

    __slots__ = ("data",)

    def __init__(self, task: Task[Any] | None, outbox: Outbox, data: bytes | memoryview, sent: int = 0) -> None:
        super().__init__(task, outbox)
        self.data = memoryview(data)
        self.sent = sent

    @property
    def done(self) -> bool:
        return self.sent == len(self.data)

    def send(self, channel: Channel) -> None:
        self.sent += channel.send(self.data[self.sent :], NO_SIGNAL)


class Outbox:
    """The pieces of one stream that wait for room. It holds the writing side while there are any, and is woken when there is room."""

    __slots__ = ("_pieces", "owner", "side")

    def __init__(self, owner: Owner, side: Side) -> None:
        self.owner = owner
        self.side = side
        self._pieces: deque[Piece] = deque()

    def __len__(self) -> int:
        return len(self._pieces)

    def await_out(self, piece: Piece) -> Generator[Any, Any, None]:
        """Put `piece` at the end, and wait until it is written. Whatever ends the wait says in `.sent` how many bytes went out."""
        task = piece.task
        assert task is not None
        self.add(piece)
        task.waits_for = piece
        try:
            yield SUSPENDED
        except BaseException as error:
            error.sent = piece.sent  # type: ignore[attr-defined]
            raise

    def add(self, piece: Piece) -> None:
        """Put `piece` at the end. `SocketError`: the system does not watch the descriptor."""
        if self.side.waiter is not self:  # there was none before; or the loop has quit meanwhile
            self.side.arm(self)
        if not self._pieces:
            self.side.holder = self
            self.owner.waits(1)
        self._pieces.append(piece)

    def remove(self, piece: Piece) -> bool:
        """Take out a piece whose task is being cancelled; False: it is written or has failed, and the task is about to hear of it."""
        if piece not in self._pieces:
            return False
        self._pieces.remove(piece)
        if not self._pieces:
            self._rest()
        return True

    def _rest(self) -> None:
        self.side.withdraw()
        self.side.holder = None
        self.owner.waits(-1)

    # The waiter

    def wake(self) -> None:
        """There is room: write as much as goes."""
        head = self._pieces[0]
        try:
            if len(self._pieces) > 1 and isinstance(head, BytesPiece):
                self._send_several()
            else:
                head.send(self.owner.sink())
        except BlockingIOError:
            self.side.woken_in_vain()
        except FileFailed as failed:
            self._pieces.popleft()
            head.fail(failed.__cause__ or failed)
        except OSError as error:
            self.fail(self.owner.broken(error))
            return
        except StreamClosed:  # broken past the outbox, by a write that was tried at once
            self.dismiss(self.owner.refused)
            return
        self._go_on()

    def _send_several(self) -> None:
        views = []
        for piece in islice(self._pieces, _VECTOR):
            if not isinstance(piece, BytesPiece):
                break
            views.append(piece.data[piece.sent :])
        count = self.owner.sink().sendmsg(views, (), NO_SIGNAL)
        for piece, view in zip(self._pieces, views, strict=False):
            piece.sent += min(count, len(view))
            count -= min(count, len(view))

    def _go_on(self) -> None:
        tasks = []
        while self._pieces and self._pieces[0].done:
            task = self._pieces.popleft().task
            if task is not None:
                tasks.append(task)
        if self._pieces:
            self.side.arm(self)
            self.owner.waits(0)
        else:
            self._rest()
        for task in tasks[1:]:
            task.loop.soon(task.wake)
        # The first one goes on at once, and last: whatever it does, nothing here is left to be done.
        if tasks:
            tasks[0].wake()

    def fail(self, error: BaseException) -> None:
        """Writing is over: the first piece is told the error, the others that they come too late."""
        if self._pieces:  # otherwise those it was meant for have been told of something else meanwhile
            self._pieces.popleft().fail(error)
            self.dismiss(self.owner.refused)

    def dismiss(self, error: Callable[[], BaseException]) -> None:
        """None of the pieces will be written: tell each an `error()`."""
        pieces, self._pieces = self._pieces, deque()
        self._rest()
        for piece in pieces:
            piece.fail(error())

    def __str__(self) -> str:
        return ", ".join(str(piece.task or "what was held") for piece in self._pieces)
