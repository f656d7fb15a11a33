"""One descriptor: its two sides, who uses them, and what the system has been told of it.

Knows numbers, masks and the object behind a number. It calls no callback and knows no clock and no task: whoever waits is a
`Waiter`, and the loop decides when to wake it.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BusyError, SocketError
from .selectors import IN, OUT

if TYPE_CHECKING:
    from .book import Book

__all__ = ["Descriptor", "FileLike", "Side", "Waiter", "Watch", "number_of"]

# After so many turns in a row in which a waiter was woken and found nothing, the events are taken for another file's.
_IN_VAIN = 8


class HasFileno(Protocol):
    """A socket, a Python file, or anything else that has a descriptor."""

    def fileno(self) -> int: ...


FileLike = int | HasFileno


class Waiter(Protocol):
    """Who waits for one readiness: woken once, or told once why it never will be."""

    def wake(self) -> object: ...
    def fail(self, error: BaseException) -> object: ...


def number_of(file: FileLike) -> int:
    """The descriptor number of `file`. `TypeError`: neither a number nor an object with `fileno()`.

    `SocketError` EBADF, which is also a `ValueError`: closed, or a negative number.
    """
    fd: object = file
    if not isinstance(fd, int) or isinstance(fd, bool):
        fileno = getattr(file, "fileno", None)
        if fileno is None or isinstance(file, type):
            raise TypeError(f"file must be a descriptor number or have fileno(), not {file!r}")
        try:
            fd = fileno()
        except ValueError:  # io objects say so when they are closed, or have no descriptor at all
            fd = -1
        if not isinstance(fd, int):
            raise TypeError(f"fileno() of {file!r} gave {fd!r}, which is no number")
    if fd < 0:
        raise SocketError.refused(errno.EBADF, f"not an open descriptor: {file!r}")
    return fd


def _still_is(file: Any, fd: int) -> bool:
    """Whether `file` is open under the number `fd`; for None, whether the number is open at all."""
    try:
        if file is None:
            os.fstat(fd)
            return True
        return bool(file.fileno() == fd)
    except (OSError, ValueError):
        return False


def _reference(file: object) -> Callable[[], object]:
    # Weak, because an entry outlives its use: a socket that its user dropped must not be kept open by the book.
    try:
        return weakref.ref(file)
    except TypeError:
        return lambda: file


def _is_steady(file: object) -> bool:
    """Whether `file` has one descriptor in its life, as sockets and Python's files do.

    Another object may close its own, open a new one and get the same number: then nothing shows that the system has forgotten it.
    A class can promise it by an attribute `steady_number = True`.
    """
    return isinstance(file, (socket.socket, io.IOBase)) or bool(getattr(file, "steady_number", False))


class Watch:
    """A callback on readiness. Holds its file: until the watch is removed it belongs to the loop (as in chez-a-sync)."""

    __slots__ = ("born", "file", "fileno", "proc", "resting")

    def __init__(self, file: FileLike, proc: Callable[[str], object], born: int) -> None:
        self.file = file
        self.fileno: Callable[[], int] = file.__index__ if isinstance(file, int) else file.fileno
        self.proc = proc
        self.born = born
        # Whether it was told of an exceptional condition, and of no input since.
        self.resting = False


class Side:
    """One direction of one descriptor: its watch, or the one who waits, or nobody.

    It is also what a task waits for: `withdraw` undoes the wait, `str()` says it.
    """

    __slots__ = ("bit", "descriptor", "holder", "vain", "waiter", "watch")

    def __init__(self, descriptor: Descriptor, bit: int) -> None:
        self.descriptor = descriptor
        self.bit = bit
        self.waiter: Waiter | None = None
        self.watch: Watch | None = None
        self.holder: object = None
        # How often in a row it was woken in vain, and in which turn last. None at first: there are many sides, and this is rare.
        self.vain: tuple[int, int] | None = None

    def arm(self, waiter: Waiter) -> None:
        """Wake `waiter` at the next readiness. The system is told only if it does not watch already. `SocketError`: it refuses."""
        descriptor = self.descriptor
        # Interest stays registered between waits: a server that answers requests then never calls epoll_ctl per message.
        if not descriptor.mask & self.bit or not descriptor.steady:
            descriptor.want(self.bit)
        self.waiter = waiter
        descriptor.book.armed += 1

    def withdraw(self) -> bool:
        """Undo `arm`; False when the waiter is being woken already."""
        if self.waiter is None:
            return False
        self.waiter = None
        self.descriptor.book.armed -= 1
        return True

    def hold(self, holder: object) -> None:
        """Claim the direction for one transfer. `BusyError`: it has a user."""
        if self.holder is not None or self.watch is not None:
            raise self.busy(holder)
        self.holder = holder

    def busy(self, other: object) -> BusyError:
        """The error for `other`, who wants what already has a user."""
        user = self.holder or self.waiter or "a watch"
        verb = "reading from" if self.bit == IN else "writing to"
        return BusyError(
            f"{other} is {verb} descriptor {self.descriptor.fd}, which {user} uses in the same direction; let one finish first"
        )

    def woken_in_vain(self) -> None:
        """The waiter found nothing. Turn after turn, that is another file's event under our number: begin with a new selector."""
        book = self.descriptor.book
        times, last = self.vain or (0, -2)
        times = times + 1 if book.turn - last <= 1 else 1
        self.vain = times % _IN_VAIN, book.turn
        if times >= _IN_VAIN:
            book.rebuild()

    def __str__(self) -> str:
        return f"descriptor {self.descriptor.fd} {'readable' if self.bit == IN else 'writable'}"


class Descriptor:
    """What the book knows of one number: the object behind it, both sides, and the mask the system watches it for."""

    __slots__ = ("book", "born", "fd", "file", "mask", "read", "steady", "write_side")

    def __init__(self, book: Book, fd: int, file: FileLike) -> None:
        self.book = book
        self.fd = fd
        self.call_it(file)
        self.mask = 0
        # The turn in which the number came to mean this file; events polled before are another's.
        self.born = book.turn
        self.read = Side(self, IN)
        # Made when it is first asked for: there are many descriptors, and few of them ever wait for room.
        self.write_side: Side | None = None

    @property
    def write(self) -> Side:
        """The side that is written to."""
        side = self.write_side
        if side is None:
            side = self.write_side = Side(self, OUT)
        return side

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that may have a user."""
        return (self.read,) if self.write_side is None else (self.read, self.write_side)

    def call_it(self, file: FileLike) -> None:
        """The object behind the number is `file`."""
        # None for a bare number: nothing tells whether it still means what it meant.
        self.file = None if isinstance(file, int) else _reference(file)
        # Otherwise each wait is registered anew.
        self.steady = _is_steady(file)

    def want(self, bits: int) -> None:
        """Make the system watch `bits` too. `SocketError`: it refuses (EPERM: a regular file or a directory; EBADF: closed)."""
        book = self.book
        with book.lock:
            book.enter(self)
            known, mask = self.mask, self.mask | bits
            try:
                self._tell(known, mask)
            except (OSError, OverflowError) as error:
                raise _refusal(error, self.fd) from None
            self.mask = mask
            if not known:
                book.registered += 1

    def _tell(self, known: int, mask: int) -> None:
        poller = self.book.poller
        if known:
            try:
                poller.change(self.fd, mask)
                return
            except FileNotFoundError:
                # The file that was registered is gone and the number means another one: who waits for the old one waits in vain.
                self.book.doubtful.add(self.fd)
                self.born = self.book.turn
                for side in self.sides:
                    self.book.dismiss(side)
        try:
            poller.add(self.fd, mask)
        except FileExistsError:
            poller.change(self.fd, mask)

    def unwant(self, bits: int) -> None:
        """Let the system forget `bits`."""
        book = self.book
        with book.lock:
            mask = self.mask & ~bits
            if mask == self.mask:
                return
            self.mask = mask
            if not mask:
                book.registered -= 1
                book.left.add(self.fd)
            try:
                if mask:
                    book.poller.change(self.fd, mask)
                else:
                    book.poller.remove(self.fd)
            except OSError:
                # Not registered under this number any more, so it was closed unannounced. If a duplicate lives on, the system
                # goes on reporting it and no call by number can stop that; the stray event will say so.
                book.doubtful.add(self.fd)

    @property
    def in_use(self) -> bool:
        """Whether anybody waits or watches."""
        return any(side.waiter is not None or side.watch is not None for side in self.sides)

    @property
    def open(self) -> bool:
        """Whether the object it was registered with is still open under this number."""
        if self.file is None:
            return _still_is(None, self.fd)
        file = self.file()
        return file is not None and _still_is(file, self.fd)


def _refusal(error: OSError | OverflowError, fd: int) -> SocketError:
    if isinstance(error, OverflowError):
        return SocketError.refused(errno.EBADF, f"{fd} is no descriptor number")
    if error.errno == errno.EPERM:
        what = "a regular file, a directory or a device that is always ready"
        text = f"descriptor {fd} is not pollable: it is {what}; use a thread (await_task_in_thread)"
        return SocketError(errno.EPERM, text)
    return SocketError(error.errno or errno.EIO, f"cannot watch descriptor {fd}: {error.strerror or error}")
