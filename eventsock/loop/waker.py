"""Ending the loop's sleep from outside.

Knows one socket pair and one flag. Any number of rings between two sleeps costs one byte; a full pipe is no error, because a byte
is then waiting already. It must not know what there is to wake for.
"""

from __future__ import annotations

import os
import socket
from threading import RLock

__all__ = ["Waker"]


class Waker:
    """One byte that makes the poll return; safe from any thread and from signal handlers."""

    __slots__ = ("_bell", "_lock", "_reader", "_writer", "forward_to", "rings")

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # Taking the one item out of a list is atomic, so of several ringers exactly one writes the byte.
        self._bell: list[None] = [None]
        # Keeps a ring and `close` apart: a byte must never go to a number that is somebody else's by then. Re-entrant, because
        # a signal handler may ring while its own thread rings.
        self._lock = RLock()
        self.rings = 0
        self.forward_to = -1

    @property
    def reader(self) -> socket.socket:
        """Readable after a ring."""
        return self._reader

    def writer_fileno(self) -> int:
        """The number to give to `signal.set_wakeup_fd`."""
        return self._writer.fileno()

    def ring(self) -> bool:
        """Wake the loop; False if it was rung for already since the last `reset`."""
        try:
            self._bell.pop()
        except IndexError:
            return False
        with self._lock:
            self.rings += 1
            try:
                self._writer.send(b"\0")
            except BlockingIOError:
                pass  # full of bytes nobody has read yet: any of them wakes
            except OSError:
                if self._writer.fileno() != -1:
                    raise
        return True

    def reset(self) -> None:
        """The next ring writes a byte again. Call it before looking for work: a ring in between then is not lost."""
        if not self._bell:
            self._bell.append(None)

    def drain(self) -> None:
        """Read what is there. Bytes other than ours are signal numbers: handed on to the wake-up descriptor that was set before."""
        try:
            data = self._reader.recv(4096)
        except BlockingIOError:
            return
        if self.forward_to != -1:
            numbers = data.replace(b"\0", b"")
            if numbers:
                _pass_on(self.forward_to, numbers)

    def close(self) -> None:
        """Release both ends; idempotent."""
        with self._lock:
            self._bell.clear()
            self._reader.close()
            self._writer.close()


def _pass_on(fd: int, numbers: bytes) -> None:
    try:
        os.write(fd, numbers)
    except OSError:
        pass  # its owner is full or gone; it asked for a hint, and a hint may be lost
