"""The values of a generator that runs in another process, as they are yielded.

Knows executors whose work is pickled, and a local socket on which the values come back. It must not know loops or tasks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from ..tasks.thunks import Values, values_of

__all__ = ["Remote"]


class Remote:
    """A generator in a process of `pool`. `values` runs in a thread, which it blocks."""

    def __init__(self, pool: Executor, generator: Values[Any]) -> None:
        key = os.urandom(16)
        self._listener = Listener(authkey=key)
        self._address = self._listener.address
        try:
            self._future: Future[None] = pool.submit(_send_values, generator, self._address, key)
        except BaseException:
            self._listener.close()
            raise
        # Who never comes to connect, cancelled or not picklable, must not be waited for.
        self._future.add_done_callback(self._knock)

    def values(self) -> Iterator[Any]:
        """Each value; then the error of the generator, or of its process, is raised."""
        with self._listener:
            connection = self._accept()
        if connection is not None:
            with connection:
                while (parcel := _received(connection)) is not None:
                    yield parcel[0]
        self._future.result()

    def cancel(self) -> None:
        """Not wanted any more. What runs is stopped by the next value that finds the socket closed."""
        self._future.cancel()

    def _accept(self) -> Connection | None:
        try:
            return self._listener.accept()
        except (OSError, EOFError, AuthenticationError):
            return None  # the knock

    def _knock(self, future: Future[None]) -> None:
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
