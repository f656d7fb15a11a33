"""Serving: a task for each connection, whose errors are its own.

Knows accepting, streams and task groups' way of owning errors. It must not know what a connection is about.
"""

from __future__ import annotations

import errno
import socket
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

from ..basic.addresses import SocketAddress
from ..basic.arguments import checked_size
from ..errors import AcceptError, SocketError
from ..tasks.a_sync import start_task
from ..tasks.task import Task, current_task
from ..tasks.waitable import Await, waitable
from ..tasks.waits import OneShotResume, await_callback
from .accept import await_native_accept
from .stream import Stream

__all__ = ["await_serve"]

Handler = Callable[[Stream, SocketAddress], Any]
ErrorHandler = Callable[[BaseException, str], object]

# Out of descriptors or memory: the next accept would fail too, and a listener stays readable, so trying on would only spin.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# Seconds until accepting is tried again, if no connection ends before.
_PAUSE = 0.5


def await_serve(
    handler: Handler, *listeners: socket.socket, on_error: ErrorHandler | None = None, max_connections: int | None = None
) -> Await[None]:
    """Accept on `listeners` for ever, and run `handler(stream, address)` as a task for each connection.

    `handler`: a generator function, an `async def` or a plain function. The stream is closed after it. Its errors stay its own:
    they go to `on_error(error, where)`, by default with their traceback to stderr. Out of descriptors, accepting pauses until a
    connection ends or half a second is over; that is reported once. With `max_connections`, further clients wait in the
    listener's queue. It ends only by an error of a listener, or when it is cancelled: then its connections are cancelled too, and
    waited for. The listeners stay the caller's.
    """
    if not listeners:
        raise ValueError("await_serve() needs at least one listener")
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {type(handler).__name__}")
    if max_connections is not None and checked_size(max_connections, "max_connections") < 1:
        raise ValueError("max_connections must be at least 1")
    return _await_serve(_Server(handler, on_error or _print_error, max_connections), listeners)


@waitable
def _await_serve(server: _Server, listeners: tuple[socket.socket, ...]) -> Generator[Any, Any, None]:
    server.begin(listeners)
    try:
        yield from server.await_failure()
    finally:
        yield from server.await_end()


def _print_error(error: BaseException, where: str) -> None:
    print(f"error in {where}:", file=sys.stderr)
    traceback.print_exception(error)


class _Server:
    """The accepting tasks and the connections of one `await_serve`."""

    def __init__(self, handler: Handler, on_error: ErrorHandler, most: int | None) -> None:
        self._handler = handler
        self._on_error = on_error
        self._most = most
        self._connections: dict[Task[Any], None] = {}
        self._acceptors: dict[Task[Any], None] = {}
        self._failure: BaseException | None = None
        self._failed: OneShotResume | None = None
        # Accepting tasks that stand still until a connection ends: at the limit, or out of descriptors.
        self._paused: list[OneShotResume] = []

    def begin(self, listeners: tuple[socket.socket, ...]) -> None:
        """Start a task for each listener."""
        for listener in listeners:
            acceptor = start_task(self._accept, (listener,), self._acceptor_ended, "accepting")
            if not acceptor.done:
                self._acceptors[acceptor] = None

    def await_failure(self) -> Generator[Any, Any, None]:
        """Wait until a listener fails, and raise its error."""
        if self._failure is None:
            yield from await_callback(self._note_serving)
        assert self._failure is not None
        raise self._failure

    def _note_serving(self, resume: OneShotResume) -> None:
        self._failed = resume

    def _acceptor_ended(self, task: Task[Any]) -> None:
        self._acceptors.pop(task, None)
        if not task.cancelled and self._failure is None:
            self._failure = task.error
            if self._failed is not None:
                self._failed()

    def await_end(self) -> Generator[Any, Any, None]:
        """Cancel all and wait until all have ended. Their errors were reported when they did."""
        tasks = [*self._acceptors, *self._connections]
        for task in tasks:
            task.cancel("the server ends")
        for task in tasks:
            with suppress(Exception):
                yield from task.await_result()

    # Accepting

    def _accept(self, listener: socket.socket) -> Generator[Any, Any, None]:
        me = current_task()
        exhausted = False
        while True:
            while self._most is not None and len(self._connections) >= self._most:
                yield from self._await_an_end(None)
            try:
                connection, native = yield from await_native_accept(listener, me)
            except AcceptError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if not exhausted:
                    exhausted = True
                    self._on_error(error, f"accepting on {error.address}, which pauses until there is room")
                yield from self._await_an_end(_PAUSE)
            else:
                exhausted = False
                self._start(connection, SocketAddress.from_native(listener.family, native))

    def _start(self, connection: socket.socket, address: SocketAddress) -> None:
        stream = Stream(connection)
        # The handler is the task itself, and its end closes the stream: a task around it would cost each wake-up two frames more.
        task = start_task(self._handler, (stream, address), partial(self._connection_ended, stream, address), None)
        if not task.done:
            self._connections[task] = None

    def _connection_ended(self, stream: Stream, address: SocketAddress, task: Task[Any]) -> None:
        self._connections.pop(task, None)
        where = f"the connection from {str(address) or 'a client without a name'}"
        try:
            stream.close()
        except SocketError as unsent:
            self._on_error(unsent, where)
        paused, self._paused = self._paused, []
        for resume in paused:
            resume()
        error = task.error
        if error is not None and not task.cancelled and not isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._on_error(error, where)

    def _await_an_end(self, seconds: float | None) -> Generator[Any, Any, None]:
        """Until a connection ends, or `seconds` are over."""
        loop = current_task().loop
        timeout = None

        def start(resume: OneShotResume) -> None:
            nonlocal timeout
            self._paused.append(resume)
            if seconds is not None:
                timeout = loop.timeout_post(seconds, resume, repeat=False)

        try:
            yield from await_callback(start)
        finally:
            if timeout is not None:
                loop.timeout_remove(timeout)
