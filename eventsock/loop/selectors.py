"""Asking the system which descriptors are ready.

Knows the standard `selectors` contract and `select`; knows nothing of watches or tasks: a descriptor is a number and a mask.
`LeanSelector` is a `selectors.BaseSelector` that can also be asked for raw pairs; `SelectorPoller` asks the same of any other one.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["EpollSelector", "PollSelector", "Poller", "SelectorPoller", "default_poller", "poller_for"]

# The bits of poll(2), which epoll(7) shares. ERR, HUP and NVAL are reported unasked.
IN, PRI, OUT, ERR, HUP, NVAL = 1, 2, 4, 8, 16, 32

EVENT_EXCEPT = 4
"""Beside `selectors.EVENT_READ` and `EVENT_WRITE`: exceptional conditions (POLLPRI), for the selectors of this module."""

# Few enough that timeouts are served between batches when thousands are ready at once; the kernel rotates its ready list.
_BATCH = 256


class Poller(Protocol):
    """What the loop asks of a selector: numbers and masks in the bits of poll(2), seconds or None."""

    has_priority: bool

    def add(self, fd: int, mask: int) -> None: ...
    def change(self, fd: int, mask: int) -> None: ...
    def remove(self, fd: int) -> None: ...
    def poll(self, timeout: float | None) -> list[tuple[int, int]]: ...
    def renew(self) -> None: ...
    def fileno(self) -> int | None: ...
    def close(self) -> None: ...


class _Native(Protocol):
    """What `select.epoll` and `select.poll` have in common."""

    def register(self, fd: int, eventmask: int, /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...


class LeanSelector(selectors.BaseSelector):
    """A selector without a `SelectorKey` per event: the loop calls `poll`, other users the `BaseSelector` verbs."""

    has_priority = True
    _native: _Native

    def __init__(self) -> None:
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """The ready descriptors as (number, mask in the bits of poll(2)); `timeout` in seconds, None waits without limit."""
        raise NotImplementedError

    def add(self, fd: int, mask: int) -> None:
        """Begin to watch `fd`. `OSError`: the descriptor is bad (EBADF), not pollable (EPERM) or known already (EEXIST)."""
        self._native.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Watch `fd` for another mask. `OSError` ENOENT where the system does not know it."""
        self._native.modify(fd, mask)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`. `OSError` where the system does not know it."""
        self._native.unregister(fd)

    def renew(self) -> None:
        """Begin again with an empty kernel object; who was watched must be added anew."""
        self._close_native()
        self._open()

    def _close_native(self) -> None:
        raise NotImplementedError

    # The standard contract

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.register`; `events` may contain `EVENT_EXCEPT`."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if not events or events & ~7:
            raise ValueError(f"events must be a combination of EVENT_READ, EVENT_WRITE and EVENT_EXCEPT, not {events!r}")
        if fd < 0:
            raise ValueError(f"{fileobj!r} has no open descriptor")
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is already registered")
        self.add(fd, _mask_of(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.unregister`."""
        key = self._key(fileobj)
        del self._keys[key.fd]
        try:
            self.remove(key.fd)
        except OSError:
            pass  # closed before it was unregistered: the system has dropped it
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        """As `selectors.BaseSelector.modify`, but the system is told even where `events` is unchanged."""
        key = self._key(fileobj)
        self.change(key.fd, _mask_of(events))
        key = self._keys[key.fd] = key._replace(events=events, data=data)
        return key

    def _key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        for key in self._keys.values():
            if key.fileobj is fileobj or key.fd == fileobj:
                return key
        raise KeyError(f"{fileobj!r} is not registered")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As `selectors.BaseSelector.select`."""
        wait = None if timeout is None else max(timeout, 0.0)
        found = []
        for fd, mask in self.poll(wait):
            key = self._keys.get(fd)
            if key is not None:
                found.append((key, _events_of(mask) & key.events))
        return found

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """The registered descriptors by number."""
        return {key.fd: key for key in self._keys.values()}

    def close(self) -> None:
        """Release the kernel object; idempotent."""
        self._keys.clear()
        self._close_native()


def _mask_of(events: int) -> int:
    mask = IN if events & selectors.EVENT_READ else 0
    mask |= OUT if events & selectors.EVENT_WRITE else 0
    return mask | (PRI if events & EVENT_EXCEPT else 0)


def _events_of(mask: int) -> int:
    events = selectors.EVENT_READ if mask & ~(OUT | PRI) else 0
    events |= selectors.EVENT_WRITE if mask & ~(IN | PRI) else 0
    return events | (EVENT_EXCEPT if mask & PRI else 0)


class PollSelector(LeanSelector):
    """On poll(2)."""

    def _open(self) -> None:
        self._native = self._poll_object = select.poll()

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # Rounded up, so that a timeout never fires early.
        return self._poll_object.poll(None if timeout is None else -int(-timeout * 1000 // 1))

    def change(self, fd: int, mask: int) -> None:
        self._poll_object.modify(fd, mask)

    def remove(self, fd: int) -> None:
        try:
            self._poll_object.unregister(fd)
        except KeyError:
            raise OSError(errno.ENOENT, f"descriptor {fd} is not registered") from None

    def fileno(self) -> int | None:
        """None: poll(2) has no descriptor of its own that a host could watch."""
        return None

    def _close_native(self) -> None:
        self._native = self._poll_object = select.poll()


class EpollSelector(LeanSelector):
    """On epoll(7); Linux."""

    _face: select.epoll | None = None

    def _open(self) -> None:
        self._native = self._epoll = select.epoll()
        # Straight to the system: a method of ours in between would cost as much as the rest of an idle turn.
        self.poll = partial(self._epoll.poll, maxevents=_BATCH)  # type: ignore[method-assign]

    def fileno(self) -> int:
        """An epoll descriptor: itself readable, in a host's loop, when a watched descriptor is ready. The same one for life."""
        if self._face is None:
            # One epoll around the other, made for the first who asks: `renew` replaces the inner one, and a host that watches the
            # outer one need not know. Had it our own descriptor, its epoll would forget that at the renewal without a word.
            self._face = select.epoll()
            self._face.register(self._epoll.fileno(), IN)
        return self._face.fileno()

    def renew(self) -> None:
        """Begin again with an empty kernel object; who was watched must be added anew."""
        if self._face is not None:
            self._face.unregister(self._epoll.fileno())
        super().renew()
        if self._face is not None:
            self._face.register(self._epoll.fileno(), IN)

    def _close_native(self) -> None:
        self._epoll.close()

    def close(self) -> None:
        """Release the kernel objects; idempotent."""
        super().close()
        if self._face is not None:
            self._face.close()


class SelectorPoller:
    """The verbs of `Poller` on any `selectors.BaseSelector`; without exceptional conditions, which the contract does not have."""

    has_priority = False

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._made = type(selector)

    def add(self, fd: int, mask: int) -> None:
        self._check_range(fd)
        try:
            self._selector.register(fd, _events_of(mask & ~PRI))
        except KeyError:
            # A number that was closed behind the selector's back and is in use again: its entry is a stranger's.
            self._discard(fd)
            self._selector.register(fd, _events_of(mask & ~PRI))

    def change(self, fd: int, mask: int) -> None:
        # Never `modify`: with unchanged events it makes no system call, which leaves a reused number unwatched for ever.
        self._discard(fd)
        self.add(fd, mask)

    def remove(self, fd: int) -> None:
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            raise OSError(errno.ENOENT, f"descriptor {fd} is not registered") from None

    def _discard(self, fd: int) -> None:
        try:
            self._selector.unregister(fd)
        except (KeyError, ValueError):
            pass

    def _check_range(self, fd: int) -> None:
        if isinstance(self._selector, selectors.SelectSelector) and fd >= 1024:
            raise ValueError(f"descriptor {fd} is beyond what select(2) can watch (1023); use the default selector or PollSelector")

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        try:
            ready = self._selector.select(timeout)
        except (ValueError, OSError):
            # select(2) refuses the whole set for one bad descriptor; the loop finds out which when it is told "all ready".
            return [(fd, NVAL) for fd in self._numbers() if not _is_open(fd)]
        return [(key.fd, (IN if events & 1 else 0) | (OUT if events & 2 else 0)) for key, events in ready]

    def _numbers(self) -> list[int]:
        return [key.fd for key in list(self._selector.get_map().values())]

    def renew(self) -> None:
        """Begin again; with a selector of a kind that cannot be made anew, by unregistering all."""
        for fd in self._numbers():
            self._discard(fd)
        try:
            fresh = self._made()
        except TypeError:
            return
        self._selector.close()
        self._selector = fresh

    def fileno(self) -> int | None:
        fileno = getattr(self._selector, "fileno", None)
        return None if fileno is None else fileno()

    def close(self) -> None:
        self._selector.close()


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
