"""The values of a generator that runs in another process, as they are yielded.

Knows executors whose work is pickled, and a local socket on which the values come back. It must not know loops or tasks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from ..tasks.thunks import Values, values_of

__all__ = ["Remote"]


class Remote:
    """A generator in a process of `pool`. `submit` and `values` block, and are each for a thread of their own."""

    def __init__(self, pool: Executor, generator: Values[Any]) -> None:
        self._pool = pool
        self._generator = generator
        self._key = os.urandom(16)
        self._listener = Listener(authkey=self._key)
        self._address = self._listener.address
        self._wanted = True
        # What `values` ends with, when it is there: the work's own future, or one that says why there is none.
        self._future: Future[None] | None = None
        self._submitted = threading.Event()

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
        with self._listener:
            connection = self._accept()
        if connection is not None:
            with connection:
                while (parcel := _received(connection)) is not None:
                    yield parcel[0]
        self._submitted.wait()
        if self._future is not None:
            self._future.result()

    def cancel(self) -> None:
        """Not wanted any more. What runs is stopped by the next value that finds the socket closed. Any thread."""
        self._wanted = False
        if self._future is not None:
            self._future.cancel()

    def abandon(self) -> None:
        """Nobody will `submit`."""
        self._submitted.set()
        self._knock(None)

    def _accept(self) -> Connection | None:
        try:
            return self._listener.accept()
        except (OSError, EOFError, AuthenticationError):
            return None  # the knock

    def _knock(self, future: Future[None] | None) -> None:
        try:
            Client(self._address).close()
        except (OSError, EOFError):
            pass  # nobody listens any more


def _received(connection: Connection) -> tuple[Any] | None:
    try:
        return (connection.recv(),)
    except (EOFError, ConnectionError):
        return None


def _send_values(generator: Values[Any], address: Any, key: bytes) -> None:
    """In the other process."""
    with Client(address, authkey=key) as connection, values_of(generator) as values:
        for value in values:
            try:
                connection.send(value)
            except ConnectionError:
                return  # nobody wants more
