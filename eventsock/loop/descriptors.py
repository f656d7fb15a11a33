"""Who is interested in which descriptor, and what the system has been told of it.

Knows numbers, masks and the objects behind them, and heals the book when a number was closed or reused behind our back. It calls
no callback and knows no clock and no task: whoever waits is a `Waiter`, and the loop decides when to wake it.
"""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, Protocol

from ..errors import BusyError, LoopStateError, SocketError
from .selectors import IN, OUT, PRI, Poller

__all__ = ["Book", "Descriptor", "FileLike", "Side", "Waiter", "Watch", "number_of"]


class HasFileno(Protocol):
    def fileno(self) -> int: ...


FileLike = int | HasFileno


class Waiter(Protocol):
    """Who waits for one readiness: woken once, or told once why it never will be."""

    def wake(self) -> object: ...
    def fail(self, error: BaseException) -> object: ...


def number_of(file: FileLike) -> int:
    """The descriptor number of `file`. `TypeError`: neither a number nor an object with `fileno()`; `SocketError` EBADF: closed."""
    if isinstance(file, int) and not isinstance(file, bool):
        fd = file
    else:
        fileno = getattr(file, "fileno", None)
        if fileno is None:
            raise TypeError(f"file must be a descriptor number or have fileno(), not {type(file).__name__}")
        try:
            fd = fileno()
        except ValueError:  # io objects say so when they are closed
            fd = -1
        if not isinstance(fd, int):
            raise TypeError(f"fileno() of {file!r} gave {fd!r}, which is no number")
    if fd < 0:
        raise SocketError(errno.EBADF, f"not an open descriptor: {file!r}")
    return fd


def _still_is(file: Any, fd: int) -> bool:
    """Whether `file` is open under the number `fd`; for a bare number, whether the number is open at all."""
    try:
        if file is None:
            os.fstat(fd)
            return True
        return number_of(file) == fd
    except OSError:
        return False


def _reference(file: object) -> Callable[[], object]:
    # Weak, because interest outlives a wait: a socket its user dropped must not be kept open by the book.
    try:
        return weakref.ref(file)
    except TypeError:
        return lambda: file


class Watch:
    """A callback on readiness. Holds its file: until the watch is removed it belongs to the loop (as in chez-a-sync)."""

    __slots__ = ("born", "file", "proc")

    def __init__(self, file: FileLike, proc: Callable[[str], object], born: int) -> None:
        self.file = file
        self.proc = proc
        self.born = born


class Side:
    """One direction of one descriptor: its watch, or the one who waits, or nobody.

    It is also what a task waits for: `withdraw` undoes the wait, `str()` says it.
    """

    __slots__ = ("bit", "descriptor", "empty_wakes", "holder", "last_empty", "waiter", "watch")

    def __init__(self, descriptor: Descriptor, bit: int) -> None:
        self.descriptor = descriptor
        self.bit = bit
        self.waiter: Waiter | None = None
        self.watch: Watch | None = None
        self.holder: object = None
        self.empty_wakes = 0
        self.last_empty = 0

    def arm(self, waiter: Waiter) -> None:
        """Wake `waiter` at the next readiness. The system is told only if it does not watch already (`OSError`: it refuses)."""
        descriptor = self.descriptor
        # Interest stays registered between waits: a server that answers requests then never calls epoll_ctl per message.
        if not descriptor.mask & self.bit or descriptor.file is None:
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
        user = "a watch" if self.holder is None else str(self.holder)
        verb = "reading from" if self.bit == IN else "writing to"
        return BusyError(
            f"{other} is {verb} descriptor {self.descriptor.fd}, which {user} uses in the same direction; let one finish first"
        )

    def woken_in_vain(self) -> None:
        """The waiter found nothing. Turn after turn, that is another file's event under our number: begin with a new selector."""
        book = self.descriptor.book
        follows = book.turn - self.last_empty <= 1
        self.last_empty = book.turn
        self.empty_wakes = self.empty_wakes + 1 if follows else 1
        if self.empty_wakes >= 8:
            self.empty_wakes = 0
            book.rebuild()

    def __str__(self) -> str:
        return f"descriptor {self.descriptor.fd} {'readable' if self.bit == IN else 'writable'}"


class Descriptor:
    """What the book knows of one number: the object behind it, both sides, and the mask the system watches it for."""

    __slots__ = ("__weakref__", "book", "born", "fd", "file", "mask", "read", "write")

    def __init__(self, book: Book, fd: int, file: FileLike) -> None:
        self.book = book
        self.fd = fd
        # None for a bare number: nothing tells whether it still means what it meant, so each wait is registered anew.
        self.file = None if isinstance(file, int) else _reference(file)
        self.mask = 0
        self.born = book.turn
        self.read = Side(self, IN)
        self.write = Side(self, OUT)

    def want(self, bit: int) -> None:
        """Make the system watch `bit` too. `SocketError`: it refuses (EPERM: a regular file or a directory; EBADF: closed)."""
        book = self.book
        with book.lock:
            book.enter(self)
            mask = self.mask | bit
            try:
                if self.mask:
                    self._renew(mask, bit)
                else:
                    self._begin(mask)
            except OSError as error:
                book.leave_if_idle(self)
                raise _refusal(error, self.fd) from None
            self.mask = mask

    def _begin(self, mask: int) -> None:
        try:
            self.book.poller.add(self.fd, mask)
        except FileExistsError:
            self.book.poller.change(self.fd, mask)

    def _renew(self, mask: int, bit: int) -> None:
        try:
            self.book.poller.change(self.fd, mask)
        except FileNotFoundError:
            # The file that was registered is gone and the number means another one: who waits for the old one waits in vain.
            self.born = self.book.turn
            other = self.write if bit == IN else self.read
            self.book.dismiss(other)
            self.book.poller.add(self.fd, mask)

    def unwant(self, bits: int) -> None:
        """Let the system forget `bits`."""
        book = self.book
        with book.lock:
            mask = self.mask & ~bits
            if mask == self.mask:
                return
            self.mask = mask
            try:
                if mask:
                    book.poller.change(self.fd, mask)
                else:
                    book.poller.remove(self.fd)
            except OSError:
                # Not registered under this number any more, so it was closed unannounced. If a duplicate lives on, the system
                # goes on reporting it and no call by number can stop that; the stray event will say so.
                pass
            book.leave_if_idle(self)

    @property
    def in_use(self) -> bool:
        """Whether anybody waits or watches."""
        read, write = self.read, self.write
        return not (read.waiter is None and read.watch is None and write.waiter is None and write.watch is None)

    @property
    def open(self) -> bool:
        """Whether the object it was registered with is still open under this number."""
        if self.file is None:
            return _still_is(None, self.fd)
        file = self.file()
        return file is not None and _still_is(file, self.fd)


def _refusal(error: OSError, fd: int) -> SocketError:
    if error.errno == errno.EPERM:
        text = f"descriptor {fd} is a regular file or a directory: it cannot be polled; read it in a thread (await_task_in_thread)"
        return SocketError(errno.EPERM, text)
    return SocketError(error.errno or errno.EIO, f"cannot watch descriptor {fd}: {error.strerror or error}")


class Book:
    """All descriptors of one loop and the poller they are registered with."""

    __slots__ = ("_left", "armed", "dismissed", "lock", "poller", "rebuilds", "table", "turn", "watches")

    def __init__(self, poller: Poller, dismissed: Callable[[Waiter, SocketError], object]) -> None:
        self.poller = poller
        self.dismissed = dismissed
        self.table: dict[int, Descriptor] = {}
        # Re-entrant, for a signal handler that interrupts a verb with the same verb.
        self.lock = RLock()
        self.armed = 0
        self.watches = 0
        self.rebuilds = 0
        self.turn = 0
        self._left: set[int] = set()

    def new_turn(self) -> int:
        """Events polled from here on belong to a new turn; its number."""
        if self._left:
            self._left.clear()
        self.turn = turn = self.turn + 1
        return turn

    # Finding

    def find(self, file: FileLike) -> Descriptor:
        """The entry for `file`, made or mended if need be. Errors as `number_of`."""
        fd = number_of(file)
        descriptor = self.table.get(fd)
        if descriptor is not None:
            known = descriptor.file
            if known is None:
                if isinstance(file, int):
                    return descriptor
            elif known() is file:
                return descriptor
            with self.lock:
                return self._mend(descriptor, fd, file)
        return Descriptor(self, fd, file)

    def _mend(self, descriptor: Descriptor, fd: int, file: FileLike) -> Descriptor:
        """`fd` is known as another object: as an alias of the same file, or as one that was closed unannounced."""
        if descriptor.open:
            if isinstance(file, int):
                return descriptor
            if self._confirm(descriptor):
                descriptor.file = _reference(file)
                return descriptor
        self.discard(descriptor)
        return Descriptor(self, fd, file)

    def _confirm(self, descriptor: Descriptor) -> bool:
        """Whether the system still knows this number as the file that was registered."""
        if not descriptor.mask:
            return True
        try:
            self.poller.change(descriptor.fd, descriptor.mask)
        except OSError:
            return False
        return True

    def lookup(self, file: FileLike) -> Descriptor | None:
        """The entry that `file` was registered under, also when `file` is closed by now."""
        try:
            fd = number_of(file)
        except OSError:
            for descriptor in list(self.table.values()):
                if descriptor.file is not None and descriptor.file() is file:
                    return descriptor
            return None
        return self.table.get(fd)

    # Coming and going

    def enter(self, descriptor: Descriptor) -> None:
        known = self.table.get(descriptor.fd)
        if known is descriptor:
            return
        if known is not None:
            raise SocketError(errno.EBADF, f"descriptor {descriptor.fd} was closed and its number is another file's")
        self.table[descriptor.fd] = descriptor
        descriptor.born = self.turn

    def leave_if_idle(self, descriptor: Descriptor) -> None:
        if not descriptor.mask and not descriptor.in_use and self.table.get(descriptor.fd) is descriptor:
            del self.table[descriptor.fd]
            self._left.add(descriptor.fd)

    def discard(self, descriptor: Descriptor) -> None:
        """Take `descriptor` out at once and tell whoever waits."""
        with self.lock:
            if self.table.get(descriptor.fd) is descriptor:
                del self.table[descriptor.fd]
                self._left.add(descriptor.fd)
                if descriptor.mask:
                    try:
                        self.poller.remove(descriptor.fd)
                    except OSError:
                        pass  # closed before: the system has dropped it
            descriptor.mask = 0
            self.dismiss(descriptor.read)
            self.dismiss(descriptor.write)

    def dismiss(self, side: Side) -> None:
        """Drop the side's watch, and tell who waits that the descriptor is gone."""
        self.drop_watch(side)
        waiter = side.waiter
        if waiter is not None and side.withdraw():
            fd = side.descriptor.fd
            self.dismissed(waiter, SocketError(errno.EBADF, f"descriptor {fd} was closed while a task waited for it"))

    # Watches

    def add_watch(self, file: FileLike, bit: int, proc: Callable[[str], object]) -> None:
        """Put a watch on one direction, replacing the one there. `BusyError`: a task uses the direction."""
        with self.lock:
            descriptor = self.find(file)
            side = descriptor.read if bit == IN else descriptor.write
            if side.waiter is not None or side.holder is not None:
                raise side.busy("a watch")
            bits = bit | (PRI if bit == IN and self.poller.has_priority else 0)
            if descriptor.mask & bits != bits or descriptor.file is None or side.watch is None:
                descriptor.want(bits)
            if side.watch is None:
                self.watches += 1
            side.watch = Watch(file, proc, self.turn)

    def remove_watch(self, file: FileLike, bit: int) -> bool:
        """Remove the watch of one direction; False when there is none."""
        with self.lock:
            descriptor = self.lookup(file)
            if descriptor is None:
                return False
            side = descriptor.read if bit == IN else descriptor.write
            if side.watch is None:
                return False
            self.drop_watch(side)
            descriptor.unwant(bit | (PRI if bit == IN else 0))
            return True

    def drop_watch(self, side: Side) -> None:
        if side.watch is not None:
            side.watch = None
            self.watches -= 1

    # Healing

    def stray(self, fd: int) -> None:
        """The system reported a number nobody is registered under."""
        # One that left within this turn was polled before it left. Any other is a ghost: closed while a duplicate lives on.
        if fd not in self._left:
            self.rebuild()

    def rebuild(self) -> None:
        """Begin with a new selector and register everybody again; who turns out to be closed is told."""
        with self.lock:
            self.poller.renew()
            self.rebuilds += 1
            for descriptor in list(self.table.values()):
                if not descriptor.mask:
                    continue
                try:
                    if not descriptor.open:
                        raise OSError(errno.EBADF, "closed")
                    self.poller.add(descriptor.fd, descriptor.mask)
                except OSError:
                    descriptor.mask = 0
                    self.discard(descriptor)

    def reap_closed(self) -> None:
        """Tell those who wait for descriptors that were closed behind our back (epoll drops such without a word)."""
        for descriptor in list(self.table.values()):
            if descriptor.in_use and not descriptor.open:
                self.discard(descriptor)

    def clear(self, keep: Descriptor) -> None:
        """Drop every entry but `keep` without telling anybody: whoever waits is being closed."""
        with self.lock:
            for descriptor in list(self.table.values()):
                if descriptor is not keep:
                    for side in (descriptor.read, descriptor.write):
                        self.drop_watch(side)
                        side.withdraw()
                    self.discard(descriptor)

    def __iter__(self) -> Iterator[Descriptor]:
        return iter(list(self.table.values()))


class ForkedPoller:
    """Stands in for the poller in a forked child: the parent's selector is shared, so the child must not touch it."""

    has_priority = False

    def add(self, fd: int, mask: int) -> None:
        """Every verb refuses."""
        raise LoopStateError("this loop belongs to the parent process; make a new EventLoop in the child")

    change = add

    def remove(self, fd: int) -> None:
        """Nothing to undo: the child watches nothing."""

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Nothing is ever ready."""
        return []

    def renew(self) -> None:
        """Nothing to begin again."""

    def fileno(self) -> int | None:
        """None: there is no selector."""
        return None

    def close(self) -> None:
        """Nothing is left to release: the child's copies were closed at the fork."""
