"""Every exception class of the package.

Knows the built-in exceptions and nothing of the package: each other module may raise what stands here, so it is the ground floor.
It must not know sockets, loops or tasks; an error carries what it names (an address, a reason) as plain values.
"""

from __future__ import annotations

import errno as _errno
import os
import socket

TYPE_CHECKING = False  # typing itself would be half of what `import eventsock.basic` costs
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = [
    "AcceptError",
    "BusyError",
    "Cancelled",
    "ConnectError",
    "Deadlock",
    "EventsockError",
    "IncompleteRead",
    "LineTooLong",
    "ListenError",
    "LoopClosedError",
    "LoopStateError",
    "MeetingClosed",
    "NoEventLoopError",
    "NotAwaited",
    "PoolStopped",
    "ResolveError",
    "SocketError",
    "StreamClosed",
    "StreamError",
    "TaskCancelled",
    "UnsupportedOptionError",
]


class EventsockError(Exception):
    """The common base of every error of this package (all but `Cancelled`, which is a `BaseException`)."""


# The built-in class for each errno, as PEP 3151 assigns them; read off the interpreter, which knows its platform.
_BUILTIN_OF_ERRNO: dict[int, type[OSError]] = {
    number: type(OSError(number, "")) for number in _errno.errorcode if type(OSError(number, "")) is not OSError
}

_TRANSIENT = {
    getattr(_errno, name)
    for name in ("ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EHOSTDOWN")
    if hasattr(_errno, name)
} | {socket.EAI_AGAIN}

_combined: dict[tuple[type, type], type] = {}


def _combine(cls: type[SocketError], builtin: type[Exception]) -> type[SocketError]:
    """The subclass of both `cls` and `builtin`, so that `except ConnectionRefusedError` catches a `ConnectError`."""
    if issubclass(cls, builtin):
        return cls
    made = _combined.get((cls, builtin))
    if made is None:
        # Shown under the public name: a traceback then says `ConnectError`, which is what one looks up.
        public = getattr(cls, "_public", cls)
        namespace = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "_public": public, "_also": (*cls._also, builtin)}
        made = _combined[cls, builtin] = type(cls.__name__, (cls, builtin), namespace)
    return made


def _rebuild(cls: type[SocketError], also: tuple[type[Exception], ...], errno: int, strerror: str) -> SocketError:
    for builtin in also:
        cls = _combine(cls, builtin)
    return cls(errno, strerror)


class SocketError(EventsockError, OSError):
    """The kernel (or the resolver) refused a socket operation.

    `errno` is the system's number and `strerror` its text; `address` is the peer or local address, or None; `sent` is the number
    of bytes that went out before a write failed, `partial` the bytes that had come before a read did. An instance is also of the
    built-in class that belongs to its errno (`ConnectionRefusedError`, `TimeoutError`, …), so either name catches it.
    """

    _action = "socket operation failed"
    _public: type[SocketError]
    _also: tuple[type[Exception], ...] = ()

    errno: int
    strerror: str
    address: object
    sent: int
    partial: bytes = b""

    def __new__(cls, errno: int, strerror: str | None = None, *, address: object = None, sent: int = 0) -> SocketError:
        builtin = _BUILTIN_OF_ERRNO.get(errno)
        chosen = cls if builtin is None else _combine(cls, builtin)
        return OSError.__new__(chosen, errno, os.strerror(errno) if strerror is None else strerror)

    def __init__(self, errno: int, strerror: str | None = None, *, address: object = None, sent: int = 0) -> None:
        self.address = address
        self.sent = sent

    @classmethod
    def of(cls, error: OSError, *, address: object = None, sent: int = 0) -> SocketError:
        """`error` (as the `socket` module raised it) as an error of this class."""
        number = _errno.EIO if error.errno is None else error.errno
        return cls(number, error.strerror or str(error), address=address, sent=sent)

    @classmethod
    def refused(cls, errno: int, strerror: str, *, address: object = None) -> SocketError:
        """The error of this class for an argument that is refused before any system call: also a `ValueError`."""
        return _combine(cls, ValueError)(errno, strerror, address=address)

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later: refused, unreachable, timed out, network down, look-up to be tried again."""
        return self.errno in _TRANSIENT

    def __str__(self) -> str:
        where = "" if self.address is None else f" {self.address}"
        went_out = f" ({self.sent} bytes were sent)" if self.sent else ""
        return f"[Errno {self.errno}] {self._action}{where}: {self.strerror}{went_out}"

    def __reduce__(self) -> tuple[Any, ...]:
        # The combined classes have no importable name; a pickle names the public one, which combines again.
        public = getattr(type(self), "_public", type(self))
        return _rebuild, (public, self._also, self.errno, self.strerror), self.__dict__ or None


class ConnectError(SocketError):
    """No connection was made. `attempts` holds the error of each address that was tried, in order."""

    _action = "cannot connect to"
    attempts: Sequence[SocketError] = ()

    @classmethod
    def unresolved(cls, error: ResolveError) -> ConnectError:
        """The connect error for a look-up that failed: also a `socket.gaierror`; raise it `from` the `ResolveError`."""
        made = _combine(cls, socket.gaierror)
        return made(error.errno, error.strerror, address=error.address)  # type: ignore[return-value]

    def __str__(self) -> str:
        text = super().__str__()
        if len(self.attempts) > 1:
            text += "; tried " + "; ".join(f"{each.address}: {each.strerror}" for each in self.attempts)
        return text


class ListenError(SocketError):
    """A listening socket could not be made; `address` is the one asked for."""

    _action = "cannot listen on"


class AcceptError(SocketError):
    """A connection could not be accepted (out of descriptors, or the listener is no listening socket)."""

    _action = "cannot accept a connection on"


class ResolveError(SocketError, socket.gaierror):
    """A name or service could not be looked up. `errno` is one of the `socket.EAI_…` codes; `address` is what was looked up."""

    _action = "cannot resolve"


class UnsupportedOptionError(SocketError):
    """A socket option that this platform or this kind of socket does not have; `address` holds the option's name."""

    _action = "socket option not supported:"


class LoopStateError(EventsockError, RuntimeError):
    """A loop or a task was used in a state, a thread or a process that does not allow it."""


class NoEventLoopError(LoopStateError):
    """There is no loop to work on: none runs in this thread and no default loop was set."""


class LoopClosedError(LoopStateError):
    """The loop was closed, or a quit or close dropped the job that was waited for."""


class BusyError(EventsockError, RuntimeError):
    """Two users of one direction of one descriptor at the same time; the text names both."""


class _Provenance:
    """What a cancellation carries: why, and by whom."""

    reason: object
    by: object

    def _tell(self, what: str) -> str:
        by = "" if self.by is None else f" by {self.by}"
        reason = "" if self.reason is None else f": {self.reason}"
        return f"{what}{by}{reason}"


class TaskCancelled(EventsockError, _Provenance):  # noqa: N818 - the contract's name
    """Raised by `await_result()` when the awaited task was cancelled. `reason` and `by` are those given to `cancel`."""

    def __init__(self, reason: object = None, by: object = None) -> None:
        super().__init__(reason, by)
        self.reason = reason
        self.by = by

    def __str__(self) -> str:
        return self._tell("the task was cancelled")


class Cancelled(BaseException, _Provenance):
    """Raised inside a task that is being cancelled, at its `await_…`. A `finally` may await; do not swallow it.

    `sent` is the number of bytes that went out before, where a write was cancelled.
    """

    sent = 0

    def __init__(self, reason: object = None, by: object = None) -> None:
        super().__init__(reason, by)
        self.reason = reason
        self.by = by

    def __str__(self) -> str:
        return self._tell("cancelled")


class Deadlock(EventsockError, RuntimeError):  # noqa: N818 - the contract's name
    """`run(f)` ran dry while `f` still waits; the text names who waits for what."""


class StreamError(EventsockError):
    """The base of what goes wrong in a stream's own bookkeeping (not in the kernel: that is a `SocketError`)."""


class StreamClosed(StreamError, ValueError):  # noqa: N818 - the contract's name
    """An operation on a stream that was closed."""


class LineTooLong(StreamError):  # noqa: N818 - the contract's name
    """No end of line within `limit` bytes; `partial` holds the first `limit` bytes of the line."""

    def __init__(self, limit: int, partial: bytes | str) -> None:
        super().__init__(limit, partial)
        self.limit = limit
        self.partial = partial

    def __str__(self) -> str:
        return f"no end of line within {self.limit} bytes; make the stream with a larger limit=, or read on with await_getsome()"


class IncompleteRead(StreamError):  # noqa: N818 - the contract's name
    """The peer ended before all that was asked for had come; `partial` holds what did."""

    def __init__(self, partial: bytes | str, expected: int | None = None) -> None:
        super().__init__(partial, expected)
        self.partial = partial
        self.expected = expected

    def __str__(self) -> str:
        wanted = "the delimiter" if self.expected is None else f"{self.expected} bytes"
        unit = "bytes" if isinstance(self.partial, bytes) else "characters"
        return f"the peer ended after {len(self.partial)} {unit}, before {wanted} had come"


class MeetingClosed(EventsockError):  # noqa: N818 - the contract's name
    """A send or receive on a closed meeting; `meeting` is the one, for who waited at several."""

    def __init__(self, text: str = "", meeting: object = None) -> None:
        super().__init__(text)
        self.meeting = meeting


class PoolStopped(EventsockError, RuntimeError):  # noqa: N818 - the contract's name
    """A task was given to a thread pool after `stop`."""


class NotAwaited(RuntimeWarning):
    """Warned where an `await_…` procedure was called and never run: a `yield from` or an `await` is missing."""
