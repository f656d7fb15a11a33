"""All descriptors of one loop: finding them, telling the system of them, and healing what was closed or reused behind our back.

Knows numbers and the objects behind them. It calls no callback and knows no clock and no task: those who wait for what is gone are
handed to the loop, which decides when to tell them.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Callable, Iterable
from threading import RLock, get_ident

from ..errors import SocketError
from .descriptors import Descriptor, FileLike, Side, Waiter, Watch, number_of
from .pollers import Poller
from .selectors import IN, OUT, PRI

__all__ = ["Book"]

# Every so many turns the selector's word is checked against poll(2).
_TRUST = 1024


class _Lock:
    """A re-entrant lock that a signal handler can ask whether it has interrupted its own thread in the midst of something."""

    __slots__ = ("_depth", "_lock", "_owner")

    def __init__(self) -> None:
        self._lock = RLock()
        self._depth = 0
        self._owner = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = get_ident()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        self._lock.release()

    def held_here(self) -> bool:
        """Whether the calling thread holds it."""
        return self._depth > 0 and self._owner == get_ident()


class Book:
    """All descriptors of one loop and the poller they are registered with.

    An entry stays from the first use of a number until the file behind it is known to be gone, so that all users of a file find
    each other; there are never more entries than descriptors were open at a time.
    """

    __slots__ = (
        "_haunted",
        "_suspects",
        "armed",
        "check_at",
        "dismissed",
        "doubtful",
        "left",
        "lock",
        "own",
        "poller",
        "rebuilds",
        "registered",
        "table",
        "turn",
        "watches",
    )

    def __init__(self, poller: Poller, dismissed: Callable[[Waiter, SocketError], object]) -> None:
        self.poller = poller
        self.dismissed = dismissed
        # The loop's own descriptors: what to ask of the system, and what to do at an event. They have no entry, and no user.
        self.own: dict[int, tuple[int, Callable[[], object]]] = {}
        self.table: dict[int, Descriptor] = {}
        self.lock = _Lock()
        # How many wait, how many watches there are, how many descriptors the system watches, how often it was told all anew.
        self.armed = 0
        self.watches = 0
        self.registered = 0
        self.rebuilds = 0
        self.turn = 0
        # The numbers that left within this turn: their events were polled before.
        self.left: set[int] = set()
        self.check_at = _TRUST
        self._suspects: set[int] = set()
        # The numbers that were closed unannounced since the selector was new: it may go on reporting the files that had them.
        self.doubtful: set[int] = set()
        # Whether one of the loop's own descriptors has got such a number.
        self._haunted = False

    def adopt(self, fd: int, proc: Callable[[], object], *, once: bool = False) -> None:
        """Call `proc()` when `fd` is readable, for the life of the loop. `once`: it need not be drained, where the poller can do that."""
        mask = IN | (self.poller.edge if once else 0)
        with self.lock:
            known = self.table.get(fd)
            if known is not None:  # closed unannounced: the number is ours now
                if known.mask:
                    self.doubtful.add(fd)
                self.discard(known)
            self.poller.add(fd, mask)
            self.own[fd] = mask, proc
            if fd in self.doubtful:
                # To begin anew is left to the loop's thread, which may be asking the selector just now.
                self._haunted = True
                self.check_at = self.turn

    # Finding

    def find(self, file: FileLike) -> Descriptor:
        """The entry for `file`, made or mended if need be. Errors as `number_of`."""
        try:
            fd = file if file.__class__ is int else file.fileno()  # type: ignore[union-attr]
        except (AttributeError, TypeError, ValueError):
            fd = number_of(file)
        descriptor = self.table.get(fd)
        if descriptor is not None:
            known = descriptor.file
            if known is None:
                if isinstance(file, int):
                    return descriptor
            elif known() is file:
                return descriptor
        return self._make(number_of(file), file)

    def _make(self, fd: int, file: FileLike) -> Descriptor:
        with self.lock:
            known = self.table.get(fd)
            if known is not None:
                if known.open and self._is_alias(known, file):
                    return known
                self.discard(known)
            made = self.table[fd] = Descriptor(self, fd, file)
            return made

    def _is_alias(self, descriptor: Descriptor, file: FileLike) -> bool:
        """`descriptor` is known by another object. Whether `file` is the same file (or it was closed unannounced, and is another)."""
        if isinstance(file, int):
            return True
        if descriptor.mask:
            try:
                self.poller.change(descriptor.fd, descriptor.mask)
            except OSError:
                return False
        descriptor.call_it(file)
        return True

    def lookup(self, file: FileLike) -> Descriptor | None:
        """The entry that `file` was registered under, also when `file` is closed by now."""
        try:
            descriptor = self.table.get(number_of(file))
        except SocketError:
            return self._closed_entry(file)
        if descriptor is None or descriptor.file is None or isinstance(file, int) or descriptor.file() is file or descriptor.open:
            return descriptor
        self.discard(descriptor)  # closed unannounced, and `file` has got its number
        return None

    def _closed_entry(self, file: FileLike) -> Descriptor | None:
        for descriptor in list(self.table.values()):
            if descriptor.file is not None and descriptor.file() is file:
                return descriptor
        return None

    def forked(self, poller: Poller) -> Poller:
        """In a forked child: take `poller` from here on; gives the parent's. The lock may be held by a thread that is not there."""
        former, self.poller = self.poller, poller
        self.lock = _Lock()
        return former

    def enter(self, descriptor: Descriptor) -> None:
        """Before the system is told of `descriptor`. `SocketError` EBADF: it was taken out, and its number is another file's."""
        known = self.table.get(descriptor.fd)
        if known is descriptor:
            return
        if known is not None or not descriptor.open:
            raise SocketError(errno.EBADF, f"descriptor {descriptor.fd} was closed, or given up by forget()")
        self.table[descriptor.fd] = descriptor
        descriptor.born = self.turn

    def discard(self, descriptor: Descriptor) -> None:
        """Take `descriptor` out at once and tell whoever waits."""
        with self.lock:
            if self.table.get(descriptor.fd) is descriptor:
                del self.table[descriptor.fd]
            if descriptor.mask:
                descriptor.unwant(descriptor.mask)
            # Asked first, because this is done for each connection that ends, and then nobody is left there.
            for side in descriptor.sides:
                if side.watch is not None or side.waiter is not None:
                    self.dismiss(side)

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
            watch = Watch(file, proc, self.turn)
            bits = bit | (PRI if bit == IN and self.poller.has_priority else 0)
            if descriptor.mask & bits != bits or not descriptor.steady or side.watch is None:
                descriptor.want(bits)
            if side.watch is None:
                self.watches += 1
            side.watch = watch

    def side(self, file: FileLike, bit: int) -> Side | None:
        """One direction of `file`, which may be closed by now; None if it is not known."""
        descriptor = self.lookup(file)
        if descriptor is None:
            return None
        return descriptor.read if bit == IN else descriptor.write

    def end_watch(self, side: Side, watch: Watch) -> bool:
        """Remove `watch` if it is the one on `side`, and let the system forget it."""
        with self.lock:
            if side.watch is not watch:
                return False
            self.drop_watch(side)
            side.descriptor.unwant(side.bit | (PRI if side.bit == IN else 0))
            return True

    def drop_watch(self, side: Side) -> None:
        """Remove the watch of `side`, if there is one; the system goes on watching."""
        with self.lock:
            if side.watch is not None:
                side.watch = None
                self.watches -= 1

    # Healing

    def stray(self, fd: int) -> None:
        """The system reported a number without an entry."""
        if fd in self.own:
            self.own[fd][1]()
            return
        # One that left within this turn was polled before it left. Any other is a ghost: closed while a duplicate lives on.
        if fd not in self.left:
            self.left.add(fd)  # its other side may be told as well
            self.rebuild()

    def rebuild(self) -> None:
        """Begin with a new selector and register everybody again; who turns out to be closed is told."""
        with self.lock:
            self.poller.renew()
            self.rebuilds += 1
            self.doubtful.clear()
            self._haunted = False
            for fd, (mask, _) in self.own.items():
                self.poller.add(fd, mask)
            for descriptor in list(self.table.values()):
                if descriptor.mask:
                    try:
                        if descriptor.open:
                            self.poller.add(descriptor.fd, descriptor.mask)
                            continue
                    except OSError:
                        pass
                    self.discard(descriptor)

    def check(self, fired: Iterable[tuple[int, int]]) -> None:
        """Whether what the selector reported is so: if poll(2) denies an event twice in a row, it was another file's."""
        # A number that was closed while a duplicate lives on, and is in use again: then each event of the former file is taken for
        # one of the new, and only the new file itself can tell.
        denied = _denied(fired)
        if self._haunted or denied & self._suspects:
            denied.clear()
            self.rebuild()
        self._suspects = denied
        self.check_at = self.turn + (1 if denied else _TRUST)

    def reap_closed(self) -> bool:
        """Tell those who wait for descriptors that were closed behind our back (epoll drops such without a word); whether any were."""
        closed = [descriptor for descriptor in list(self.table.values()) if descriptor.in_use and not descriptor.open]
        for descriptor in closed:
            self.discard(descriptor)
        return bool(closed)

    def clear(self) -> None:
        """Drop every watch and every wait without telling anybody: whoever waits is being closed."""
        with self.lock:
            for descriptor in list(self.table.values()):
                for side in descriptor.sides:
                    self.drop_watch(side)
                    side.withdraw()
                descriptor.unwant(descriptor.mask)


def _denied(fired: Iterable[tuple[int, int]]) -> set[int]:
    if not hasattr(select, "poll"):
        return set()
    asked = select.poll()
    for fd, mask in fired:
        asked.register(fd, mask & (IN | PRI | OUT))
    true = dict(asked.poll(0))
    return {fd for fd, mask in fired if not true.get(fd, 0) & mask}
