"""The values of a generator that runs in another process, as they are yielded.

Knows executors whose work is pickled, and a local socket on which the values come back. It must not know loops or tasks.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from ..tasks.thunks import Values, values_of

__all__ = ["Remote"]

_FAMILY = socket.AF_UNIX if hasattr(socket, "AF_UNIX") else socket.AF_INET


class Remote:
    """A generator in a process of `pool`. `submit` and `values` block, and are each for a thread of their own.

    For want of the one, `abandon` it; for want of the other, `close`.
    """

    def __init__(self, pool: Executor, generator: Values[Any]) -> None:
        self._pool = pool
        self._generator = generator
        self._key = os.urandom(16)
        # Made beforehand, because who has to knock may be out of descriptors.
        self._knocker = socket.socket(_FAMILY)
        try:
            self._listener = Listener(family=_FAMILY.name, authkey=self._key)
        except BaseException:
            self._knocker.close()
            raise
        self._address = self._listener.address
        self._wanted = True
        # What `values` ends with, when it is there: the work's own future, or one that says why there is none.
        self._future: Future[None] | None = None
        self._submitted = threading.Event()
        # Held by whoever uses the knocker, lest it be closed meanwhile and its number be another file's.
        self._lock = threading.Lock()

    def submit(self) -> None:
        """Hand the work over: in a thread, because an executor may do it at once, and `values` must be heard meanwhile."""
        try:
            future = self._pool.submit(_send_values, self._generator, self._address, self._key)
        except BaseException as error:
            future = Future()
            future.set_exception(error)
        self._future = future
        self._submitted.set()
        if not self._wanted:
            future.cancel()
        # Who never comes to connect, cancelled or not picklable, must not be waited for.
        future.add_done_callback(self._knock)

    def values(self) -> Iterator[Any]:
        """Each value; then the error of the generator, or of its process, is raised."""
        connection = self._accept()
        if connection is not None:
            with _ended(connection):
                while (parcel := _received(connection)) is not None:
                    yield pickle.loads(parcel)
        self._submitted.wait()
        if self._future is not None:
            self._future.result()

    @property
    def cancelled(self) -> bool:
        """Whether it was the pool, or `cancel`, that ended it."""
        return self._future is not None and self._future.cancelled()

    def cancel(self) -> None:
        """Not wanted any more. What runs is stopped by the next value that finds the socket closed. Any thread."""
        self._wanted = False
        if self._future is not None:
            self._future.cancel()

    def abandon(self) -> None:
        """Nobody will `submit`."""
        self._submitted.set()
        self._knock(None)

    def close(self) -> None:
        """Nobody can connect any more."""
        with self._lock:
            self._listener.close()
            self._knocker.close()

    def _accept(self) -> Connection | None:
        try:
            return self._listener.accept()
        except (OSError, EOFError, AuthenticationError):
            return None  # the knock
        finally:
            self.close()

    def _knock(self, future: Future[None] | None) -> None:
        with self._lock:
            try:
                self._knocker.connect(self._address)
            except OSError:
                pass  # nobody listens any more
            finally:
                self._knocker.close()  # which is what a knock is: nobody is there


@contextmanager
def _ended(connection: Connection) -> Iterator[Connection]:
    """In the end, close it and say so: a close alone does not, if a process that was forked meanwhile has it too."""
    with connection:
        try:
            yield connection
        finally:
            end = socket.socket(fileno=connection.fileno())
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was quicker
            finally:
                end.detach()


def _received(connection: Connection) -> bytes | None:
    try:
        return connection.recv_bytes()
    except (EOFError, OSError):
        return None  # also in the midst of a value: why the process has ended is told by the future


def _send_values(generator: Values[Any], address: Any, key: bytes) -> None:
    """In the other process."""
    with _ended(Client(address, authkey=key)) as connection, values_of(generator) as values:
        for value in values:
            try:
                connection.send(value)
            except ConnectionError:
                return  # nobody wants more
