"""What the loop asks of a selector, whichever it is.

Knows the lean selectors of this room and the standard contract; picks the best that the system has. A descriptor is a number and a
mask here; it must not know who is interested in it.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import time
from typing import Protocol

from ..errors import LoopStateError
from .selectors import IN, NVAL, OUT, PRI, EpollSelector, Face, LeanSelector, PollSelector, events_of, refuse_files

__all__ = ["FORKED", "ForkedPoller", "Poller", "SelectorPoller", "default_poller", "poller_for"]

FORKED = "this loop belongs to the parent process; make a new EventLoop in the child"

# The lowest number that select(2) cannot watch (FD_SETSIZE).
_SELECT_LIMIT = 1024


# So many times in a row a selector may return before its time without a word: signals do that.
_IN_VAIN = 16
# The number that such a silence is reported under: nobody has it.
_NOBODY = -1


class Poller(Protocol):
    """What the loop asks of a selector: numbers and masks in the bits of poll(2), seconds or None."""

    has_priority: bool
    # The bit that makes an event reported once, and not until it is dealt with; 0: there is none.
    edge: int

    def add(self, fd: int, mask: int) -> None: ...
    def change(self, fd: int, mask: int) -> None: ...
    def remove(self, fd: int) -> None: ...
    def poll(self, timeout: float | None) -> list[tuple[int, int]]: ...
    def poll_all(self, fired: list[tuple[int, int]]) -> list[tuple[int, int]]: ...
    def renew(self) -> None: ...
    def fileno(self) -> int | None: ...
    def close(self) -> None: ...


class SelectorPoller:
    """The verbs of `Poller` on any `selectors.BaseSelector`; without exceptional conditions, which the contract does not have."""

    has_priority = False
    edge = 0

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._made = type(selector)
        self._in_vain = 0
        # The standard one for poll(2) reports a closed descriptor as a ready one.
        self._hides_closed = hasattr(selectors, "PollSelector") and isinstance(selector, selectors.PollSelector)
        self._face: Face | None = None

    def add(self, fd: int, mask: int) -> None:
        """As `LeanSelector.add`. `ValueError`: beyond what select(2) can watch."""
        if isinstance(self._selector, selectors.SelectSelector) and fd >= _SELECT_LIMIT:
            text = f"descriptor {fd} is beyond what select(2) can watch ({_SELECT_LIMIT - 1}); use the default selector or PollSelector"
            raise ValueError(text)
        refuse_files(fd)
        try:
            self._selector.register(fd, events_of(mask & ~PRI))
        except KeyError:
            # A number that was closed behind the selector's back and is in use again: its entry is a stranger's.
            self._discard(fd)
            self._selector.register(fd, events_of(mask & ~PRI))

    def change(self, fd: int, mask: int) -> None:
        """As `LeanSelector.change`, but it begins to watch what the selector does not know."""
        # Never `modify`: with unchanged events it makes no system call, which leaves a reused number unwatched for ever.
        self._discard(fd)
        self.add(fd, mask)

    def remove(self, fd: int) -> None:
        """As `LeanSelector.remove`."""
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            raise OSError(errno.ENOENT, f"descriptor {fd} is not registered") from None

    def _discard(self, fd: int) -> None:
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """As `LeanSelector.poll`."""
        started = time.monotonic()
        try:
            ready = self._selector.select(timeout)
        except (ValueError, OSError):
            # select(2) refuses the whole set for one bad descriptor, and does not say which.
            closed = [(fd, NVAL) for fd in self._numbers() if not _is_open(fd)]
            if not closed:
                raise
            return closed
        if not ready:
            if timeout != 0.0:
                return self._nothing(timeout, time.monotonic() - started)
            if self._face is not None and self._face.ready():  # a host is told that there is something, and there is nothing
                return self._nothing(None, 0.0)
        self._in_vain = 0
        if self._hides_closed:
            return [(key.fd, _mask_of(events) if _is_open(key.fd) else NVAL) for key, events in ready]
        return [(key.fd, _mask_of(events)) for key, events in ready]

    def _nothing(self, timeout: float | None, waited: float) -> list[tuple[int, int]]:
        # The standard selectors pass over an event of a number they do not know (closed while a duplicate lives on), and return too
        # early with nothing, again and again.
        self._in_vain = self._in_vain + 1 if timeout is None or waited < timeout / 2 else 0
        if self._in_vain < _IN_VAIN:
            return []
        self._in_vain = 0
        return [(_NOBODY, NVAL)]

    def poll_all(self, fired: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """As `LeanSelector.poll_all`; what has no room in one `select` comes in the next."""
        return fired

    def _numbers(self) -> list[int]:
        return [key.fd for key in list(self._selector.get_map().values())]

    def renew(self) -> None:
        """Begin again; with a selector of a kind that cannot be made anew, by unregistering all."""
        for fd in self._numbers():
            self._discard(fd)
        try:
            fresh = self._made()
        except (TypeError, OSError):  # it wants arguments, or there is no descriptor left for a second one
            return
        if self._face is not None:
            self._face.leave(self._inner())
        self._selector.close()
        self._selector = fresh
        if self._face is not None:
            self._face.join(self._inner())

    def _inner(self) -> int:
        fileno = getattr(self._selector, "fileno", None)
        return -1 if fileno is None else fileno()

    def fileno(self) -> int | None:
        """A descriptor for a host, where the selector has one; the same one for life, where there is epoll."""
        inner = self._inner()
        if inner == -1 or not hasattr(select, "epoll"):
            return None if inner == -1 else inner
        if self._face is None:
            self._face = Face(inner)
        return self._face.fileno()

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()
        if self._face is not None:
            self._face.close()


class ForkedPoller:
    """Stands in for the poller in a forked child: the parent's selector is shared, so the child must not touch it."""

    has_priority = False
    edge = 0

    def add(self, fd: int, mask: int) -> None:
        """Refused."""
        raise LoopStateError(FORKED)

    change = add

    def remove(self, fd: int) -> None:
        """Nothing to undo: the child watches nothing."""

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Nothing is ever ready."""
        return []

    def poll_all(self, fired: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Nothing is ever ready."""
        return []

    def renew(self) -> None:
        """Nothing to begin again."""

    def fileno(self) -> int | None:
        """None: there is no selector."""
        return None

    def close(self) -> None:
        """Nothing is left to release: the child's copies were closed at the fork."""


def _mask_of(events: int) -> int:
    return (IN if events & selectors.EVENT_READ else 0) | (OUT if events & selectors.EVENT_WRITE else 0)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def default_poller() -> Poller:
    """The best this system has: epoll, else poll, else select."""
    if hasattr(select, "epoll"):
        return EpollSelector()
    if hasattr(selectors, "KqueueSelector"):
        return SelectorPoller(selectors.KqueueSelector())
    if hasattr(select, "poll"):
        return PollSelector()
    return SelectorPoller(selectors.SelectSelector())


def poller_for(selector: selectors.BaseSelector | None) -> Poller:
    """`selector` with the verbs of `Poller`."""
    if selector is None:
        return default_poller()
    if isinstance(selector, LeanSelector):
        return selector  # type: ignore[return-value]
    if isinstance(selector, selectors.BaseSelector):
        return SelectorPoller(selector)
    raise TypeError(f"selector must be a selectors.BaseSelector, not {type(selector).__name__}")
