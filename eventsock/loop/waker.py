"""Ending the loop's sleep from outside.

Knows one descriptor and one flag. Any number of rings between two sleeps costs one system call. It must not know what there is to
wake for, nor who waits on the descriptor.
"""

from __future__ import annotations

import os
import socket
from threading import RLock

__all__ = ["Waker"]


class Waker:
    """A descriptor that becomes readable at a ring; safe from any thread and from signal handlers."""

    __slots__ = ("_closed", "_lock", "_pair", "bell", "fd", "rings")

    def __init__(self) -> None:
        # Where the system has no eventfd(2), a byte in a socket pair does the same for two descriptors.
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if hasattr(os, "eventfd"):
            self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self._pair = reader, writer = socket.socketpair()
            reader.setblocking(False)
            writer.setblocking(False)
            self.fd = reader.fileno()
        # Taking the one item out of a list is atomic, so of several ringers exactly one makes the system call. Whoever is about to
        # look for work puts it back first: a ring in between then is not lost.
        self.bell: list[None] = [None]
        # Keeps a ring and `close` apart: nothing must be written to a number that is somebody else's by then. Re-entrant, because a
        # signal handler may ring while its own thread rings.
        self._lock = RLock()
        self._closed = False
        self.rings = 0

    def claim(self) -> bool:
        """Whether the caller is the one to `ring`: the first to ask since the last `reset`."""
        if not self.bell:
            return False
        try:
            self.bell.pop()
        except IndexError:
            return False
        return True

    def reset(self) -> None:
        """The next to ask may ring again."""
        if not self.bell:
            self.bell.append(None)

    def ring(self) -> None:
        """End the sleep. After `close` it does nothing."""
        with self._lock:
            if self._closed:
                return
            self.rings += 1
            if self._pair is None:
                os.eventfd_write(self.fd, 1)
                return
            try:
                self._pair[1].send(b"\0")
            except BlockingIOError:
                pass  # full of bytes nobody has read yet: any of them wakes

    def drain(self) -> None:
        """Make it unreadable again."""
        try:
            if self._pair is None:
                os.eventfd_read(self.fd)
            else:
                self._pair[0].recv(4096)
        except BlockingIOError:
            pass  # there was no ring

    def close(self) -> None:
        """Release the descriptor; idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.bell.clear()
            if self._pair is None:
                os.close(self.fd)
            else:
                for end in self._pair:
                    end.close()

    def abandon(self) -> None:
        """In a forked child: close our copy. The lock may be held by a thread that is not there."""
        self._lock = RLock()
        self.close()
