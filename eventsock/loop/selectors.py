"""Asking the system which descriptors are ready: selectors without an object per event.

Knows the standard `selectors` contract and `select`; knows nothing of watches or tasks: a descriptor is a number and a mask.
The loop calls the lean verbs (`add`, `change`, `remove`, `poll`, `renew`), any other user those of `selectors.BaseSelector`.
"""

from __future__ import annotations

import errno
import os
import select
import selectors
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["BATCH", "EVENT_EXCEPT", "EpollSelector", "Face", "LeanSelector", "PollSelector", "events_of", "refuse_files"]

# The bits of poll(2), which epoll(7) shares. ERR, HUP and NVAL are reported unasked.
IN, PRI, OUT, ERR, HUP, NVAL = 1, 2, 4, 8, 16, 32

EVENT_EXCEPT = 4
"""Beside `selectors.EVENT_READ` and `EVENT_WRITE`: exceptional conditions (POLLPRI), for the selectors of this module."""

# How many events `select.epoll.poll` has room for unless it is told: FD_SETSIZE - 1.
BATCH = 1023

# The longest time, in seconds, that poll(2) and epoll_wait(2) can be told to wait.
_LONGEST = (2**31 - 1) / 1000


class _Native(Protocol):
    """What `select.epoll` and `select.poll` have in common."""

    def register(self, fd: int, eventmask: int, /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...


class LeanSelector(selectors.BaseSelector):
    """A selector without a `SelectorKey` per event: the loop calls `poll`, other users the `BaseSelector` verbs."""

    has_priority = True
    edge = 0
    _native: _Native

    def __init__(self) -> None:
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._closed = False
        self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """The ready descriptors as (number, mask in the bits of poll(2)); `timeout` in seconds, None waits without limit."""
        raise NotImplementedError

    def poll_all(self, fired: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """`fired`, which `poll` has just returned, or everything that is ready if that had no room for it all."""
        return fired

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
        _check_events(events)
        fd = _number_of(fileobj)
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
        _check_events(events)
        key = self._key(fileobj)
        self.change(key.fd, _mask_of(events))
        key = self._keys[key.fd] = key._replace(events=events, data=data)
        return key

    def _key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        key = self._keys.get(fileobj if isinstance(fileobj, int) else fileobj.fileno())
        if key is not None:
            return key
        # A file that was closed while it was registered has no number any more, and is found by what it is.
        for key in self._keys.values():
            if key.fileobj is fileobj:
                return key
        raise KeyError(f"{fileobj!r} is not registered")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As `selectors.BaseSelector.select`."""
        wait = None if timeout is None else min(max(timeout, 0.0), _LONGEST)
        found = []
        for fd, mask in self.poll(wait):
            key = self._keys.get(fd)
            if key is not None and (events := events_of(mask) & key.events):
                found.append((key, events))
        return found

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        """The registered files and their keys, up to date at any time; None after `close`."""
        return None if self._closed else _Registered(self)  # type: ignore[return-value]  # the standard says so too

    def close(self) -> None:
        """Release the kernel object; idempotent."""
        self._closed = True
        self._keys.clear()
        self._close_native()


class _Registered(Mapping["FileDescriptorLike", selectors.SelectorKey]):
    """What is registered with a selector, by file object or by number."""

    def __init__(self, selector: LeanSelector) -> None:
        self._selector = selector

    def __getitem__(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._selector._key(fileobj)

    def __iter__(self) -> Iterator[int]:
        return iter(self._selector._keys)

    def __len__(self) -> int:
        return len(self._selector._keys)


def _number_of(fileobj: FileDescriptorLike) -> int:
    try:
        fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"fileobj must be a descriptor number or have fileno(), not {fileobj!r}") from None
    if fd < 0:
        raise ValueError(f"{fileobj!r} has no open descriptor")
    return fd


def _check_events(events: int) -> None:
    if not events or events & ~7:
        raise ValueError(f"events must be a combination of EVENT_READ, EVENT_WRITE and EVENT_EXCEPT, not {events!r}")


def _mask_of(events: int) -> int:
    mask = IN if events & selectors.EVENT_READ else 0
    mask |= OUT if events & selectors.EVENT_WRITE else 0
    return mask | (PRI if events & EVENT_EXCEPT else 0)


def events_of(mask: int) -> int:
    """The bits of `selectors` for a mask of poll(2). An error or the end of the other side is every event, as it is there."""
    if mask & ~(IN | PRI | OUT):
        return 7
    events = selectors.EVENT_READ if mask & IN else 0
    events |= selectors.EVENT_WRITE if mask & OUT else 0
    return events | (EVENT_EXCEPT if mask & PRI else 0)


def refuse_files(fd: int) -> None:
    """As epoll does by itself: EPERM for a regular file or a directory, EBADF for what is not open."""
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


class PollSelector(LeanSelector):
    """On poll(2)."""

    def _open(self) -> None:
        self._native = self._poll_object = select.poll()

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        # Rounded up, so that a timeout never fires early.
        return self._poll_object.poll(None if timeout is None else -int(-timeout * 1000 // 1))

    def add(self, fd: int, mask: int) -> None:
        refuse_files(fd)
        self._poll_object.register(fd, mask)

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


class Face:
    """One epoll before another descriptor of its kind: readable when that is, and the same for life.

    A selector that begins again gets a new descriptor. A host that had registered the old one would be deaf from then on, because
    its own epoll forgets a closed descriptor without a word.
    """

    def __init__(self, inner: int) -> None:
        self._epoll = select.epoll()
        self.join(inner)

    def join(self, inner: int) -> None:
        """Stand before `inner`."""
        self._epoll.register(inner, IN)

    def leave(self, inner: int) -> None:
        """`inner` is about to be closed."""
        self._epoll.unregister(inner)

    def ready(self) -> bool:
        """Whether a host is being told so."""
        return bool(self._epoll.poll(0.0))

    def fileno(self) -> int:
        """What a host may register."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Release it; idempotent."""
        self._epoll.close()


class EpollSelector(LeanSelector):
    """On epoll(7); Linux."""

    edge = getattr(select, "EPOLLET", 0)
    _face: Face | None = None

    def _open(self) -> None:
        self._native = self._epoll = select.epoll()
        # Straight to the system: a method of ours in between, or a second argument, would cost as much as the call itself.
        self.poll = self._epoll.poll  # type: ignore[method-assign]

    def poll_all(self, fired: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """As `LeanSelector.poll_all`. Asked again with more room: what was reported is still ready, and reported again."""
        room = BATCH
        while len(fired) == room:
            room *= 8
            fired = self._epoll.poll(0.0, room)
        return fired

    def fileno(self) -> int:
        """An epoll descriptor: itself readable, in a host's loop, when a watched descriptor is ready. The same one for life."""
        if self._face is None:
            self._face = Face(self._epoll.fileno())
        return self._face.fileno()

    def renew(self) -> None:
        """Begin again with an empty kernel object; who was watched must be added anew."""
        if self._face is not None:
            self._face.leave(self._epoll.fileno())
        super().renew()
        if self._face is not None:
            self._face.join(self._epoll.fileno())

    def _close_native(self) -> None:
        self._epoll.close()

    def close(self) -> None:
        """Release the kernel objects; idempotent."""
        super().close()
        if self._face is not None:
            self._face.close()
