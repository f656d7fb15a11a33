"""Small verbs on descriptors and directions, with the originals' answer True or False in place of an error.

Knows flags, shutdown(2) and close(2). Must not know what a descriptor is used for.
"""

from __future__ import annotations

import os
import socket

from .arguments import checked_descriptor
from .handles import Borrowed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, HasFileno

_DIRECTIONS = {"rd": socket.SHUT_RD, "wr": socket.SHUT_WR, "rdwr": socket.SHUT_RDWR}


def set_fd_blocking(fd: FileDescriptorLike) -> bool:
    """Makes a descriptor (or an object with `fileno()`) blocking if it is not. False if the kernel refuses (not open).

    A `socket.socket` loses its own timeout too. Does not block; any thread. Raises `TypeError` for what is no descriptor. After
    `set-fd-blocking` of chez-simple-sockets.
    """
    return _set_blocking(fd, True)


def set_fd_non_blocking(fd: FileDescriptorLike) -> bool:
    """Makes a descriptor (or an object with `fileno()`) non-blocking if it is not; otherwise as `set_fd_blocking`."""
    return _set_blocking(fd, False)


def _set_blocking(fd: FileDescriptorLike, blocking: bool) -> bool:
    try:
        if isinstance(fd, socket.socket):
            fd.setblocking(blocking)
        else:
            os.set_blocking(checked_descriptor(fd), blocking)
    except OSError:
        return False
    return True


def set_ignore_sigpipe() -> bool:
    """Ignores SIGPIPE in this process: a write to a socket that the peer has closed is then an error (EPIPE) and no death.

    Python does so by itself at its start; this undoes what a host program or `signal.signal` has changed. False where it cannot be
    done: outside of the main thread, or on a platform without the signal. After `set-ignore-sigpipe` of chez-simple-sockets.
    """
    import signal

    try:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    except (AttributeError, ValueError):
        return False
    return True


def shutdown(sock: FileDescriptorLike, how: str | int) -> bool:
    """Ends one direction of a connection, or both: `"rd"`, `"wr"`, `"rdwr"` or the SHUT_… constants.

    False if the kernel refuses: not connected, not open, no socket. Does not block; any thread. Raises `ValueError` for another
    `how`. After `shutdown` of chez-simple-sockets; shutdown(2).
    """
    direction = _direction(how)
    try:
        with Borrowed(sock) as s:
            s.shutdown(direction)
    except OSError:
        return False
    return True


def _direction(how: str | int) -> int:
    if isinstance(how, str) and how in _DIRECTIONS:
        return _DIRECTIONS[how]
    if isinstance(how, int) and not isinstance(how, bool) and how in _DIRECTIONS.values():
        return how
    raise ValueError(f'how must be "rd", "wr", "rdwr" or a SHUT_ constant, not {how!r}')


def close_fd(fd: FileDescriptorLike) -> bool:
    """Closes a descriptor; an object that has one is closed itself, so that it knows. False if it was not open.

    Does not block (but for SO_LINGER); any thread. Raises `TypeError` for what is no descriptor. After `close-fd` of
    chez-simple-sockets; close(2).
    """
    try:
        if isinstance(fd, int):
            os.close(checked_descriptor(fd))
            return True
        return _close_object(fd)
    except OSError:
        return False


def _close_object(thing: HasFileno) -> bool:
    if checked_descriptor(thing) < 0:
        return False
    close = getattr(thing, "close", None)
    if close is None:
        os.close(checked_descriptor(thing))
    else:
        close()
    return True
