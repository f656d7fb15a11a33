"""Serving: a task for each connection, whose errors are its own.

Knows accepting, streams and task groups' way of owning errors. It must not know what a connection is about.
"""

from __future__ import annotations

import errno
import socket
import sys
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any

from ..basic.addresses import SocketAddress
from ..basic.arguments import checked_size
from ..errors import AcceptError, SocketError
from ..loop.checks import checked_seconds
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
# Seconds without exhaustion after which it is reported again: a full server whose places are taken at once reports it once.
_QUIET = 5.0


def await_serve(
    handler: Handler,
    *listeners: socket.socket,
    on_error: ErrorHandler | None = None,
    max_connections: int | None = None,
    grace: float = 0.0,
) -> Await[None]:
    """Accept on `listeners` for ever, and run `handler(stream, address)` as a task for each connection.

    `handler`: a generator function, an `async def` or a plain function. The stream is closed after it; what a gathering one still
    holds is written first. Its errors stay its own: they go to `on_error(error, where)`, by default with their traceback to stderr;
    `where` names the client's address. Out of descriptors, accepting pauses until a connection ends or half a second is over; that
    is reported once. With `max_connections`, further clients wait in the listener's queue (one of each listener may wait accepted).

    It ends only by an error of a listener or of `on_error`, or when it is cancelled. Accepting then stops at once; the connections
    have `grace` seconds to finish, are cancelled too, and waited for. The listeners stay the caller's. SystemExit and
    KeyboardInterrupt of a handler leave the loop. `ValueError`, `TypeError`: bad arguments.
    """
    if not listeners:
        raise ValueError("await_serve() needs at least one listener")
    for listener in listeners:
        if not isinstance(listener, socket.socket):
            raise TypeError(f"each listener must be a socket, not {type(listener).__name__}")
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {type(handler).__name__}")
    if on_error is not None and not callable(on_error):
        raise TypeError(f"on_error must be callable, not {type(on_error).__name__}")
    if max_connections is not None and checked_size(max_connections, "max_connections") < 1:
        raise ValueError("max_connections must be at least 1")
    checked_seconds(grace, "grace")
    return _await_serve(_Server(handler, on_error or _print_error, max_connections), listeners, grace)


@waitable
def _await_serve(server: _Server, listeners: tuple[socket.socket, ...], grace: float) -> Generator[Any, Any, None]:
    server.begin(listeners)
    try:
        yield from server.await_failure()
    except GeneratorExit:
        raise  # the loop ends, and closes every task itself: nothing can be awaited any more
    except BaseException:
        yield from server.await_end(grace)
        raise


def _print_error(error: BaseException, where: str) -> None:
    print(f"error in {where}:", file=sys.stderr)
    traceback.print_exception(error)


class _Server:
    """The accepting tasks and the connections of one `await_serve`."""

    def __init__(self, handler: Handler, on_error: ErrorHandler, most: int | None) -> None:
        self._handler = handler
        self._on_error = on_error
        self._most = most
        self._connections: dict[Task[Any], Stream] = {}
        self._starting: Stream
        self._acceptors: dict[Task[Any], None] = {}
        self._failure: BaseException | None = None
        self._failed: OneShotResume | None = None
        # Those who stand still until a connection ends: at the limit, out of descriptors, or to let them finish.
        self._paused: dict[OneShotResume, None] = {}
        self._quiet_until = float("-inf")
        # Bound once, and not for each connection, which keeps it for as long as it lives.
        self._owner = self._ended

    def begin(self, listeners: tuple[socket.socket, ...]) -> None:
        """Start a task for each listener."""
        for listener in listeners:
            acceptor = start_task(self._accept, (listener,), self._acceptor_ended, "accepting")
            if not acceptor.done:
                self._acceptors[acceptor] = None

    def await_failure(self) -> Generator[Any, Any, None]:
        """Wait until a listener or `on_error` fails, and raise its error."""
        if self._failure is None:
            yield from await_callback(self._note_serving)
        self._raise_failure()

    def _note_serving(self, resume: OneShotResume) -> None:
        self._failed = resume

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        if self._failed is not None:
            self._failed()

    def _acceptor_ended(self, task: Task[Any]) -> None:
        self._acceptors.pop(task, None)
        if task.error is not None and not task.cancelled:
            self._fail(task.error)

    def _report(self, error: BaseException, where: str) -> None:
        try:
            self._on_error(error, where)
        except BaseException as broken:
            self._fail(broken)

    # Ending

    def await_end(self, grace: float) -> Generator[Any, Any, None]:
        """Accept no more, wait `grace` seconds for the connections, cancel them, and wait until all have ended."""
        try:
            yield from _await_cancelled(self._acceptors)
            yield from self._await_connections(grace)
        finally:
            yield from _await_cancelled(self._connections)
        self._raise_failure()  # what has come since

    def _await_connections(self, grace: float) -> Generator[Any, Any, None]:
        loop = current_task().loop
        deadline = loop.time() + grace
        while self._connections and (left := deadline - loop.time()) > 0:
            yield from self._await_an_end(left)

    # Accepting

    def _accept(self, listener: socket.socket) -> Generator[Any, Any, None]:
        me, family, limited = current_task(), listener.family, self._most is not None
        while True:
            if limited:
                yield from self._await_room()
            try:
                connection, native = yield from await_native_accept(listener, me)
            except AcceptError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._note_exhaustion(error, me.loop.time())
                yield from self._await_an_end(_PAUSE)
                continue
            if limited and self._is_full:  # by another listener, meanwhile
                try:
                    yield from self._await_room()
                except BaseException:
                    connection.close()
                    raise
            self._start(connection, SocketAddress.from_kernel(family, native))

    @property
    def _is_full(self) -> bool:
        return self._most is not None and len(self._connections) >= self._most

    def _await_room(self) -> Generator[Any, Any, None]:
        while self._is_full:
            yield from self._await_an_end(None)

    def _note_exhaustion(self, error: AcceptError, now: float) -> None:
        quiet, self._quiet_until = now < self._quiet_until, now + _QUIET
        if not quiet:
            self._report(error, f"accepting on {error.address}, which pauses until there is room")

    def _start(self, connection: socket.socket, address: SocketAddress) -> None:
        try:
            stream = Stream(connection, peer=address)
        except BaseException:
            connection.close()
            raise
        # What the client says is hardly here yet, and a receive that fails costs more than the look of the next poll.
        stream._drained = True
        # The handler is the task itself, and its end closes the stream: a task around it would cost each wake-up two frames more.
        self._run(stream, self._handler, (stream, address))

    def _run(self, stream: Stream, waitable: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._starting = stream  # until the task is known, which may have ended by then
        task = start_task(waitable, args, self._owner, None)
        if not task.done:
            self._connections[task] = stream

    def _ended(self, task: Task[Any]) -> None:
        stream = self._connections.pop(task, self._starting)
        if stream.unwritten and task.error is None:
            self._run(stream, stream.await_close, ())
            return
        unsent = _closed(stream)
        if self._paused:
            paused, self._paused = self._paused, {}
            for resume in paused:
                resume()
        error = task.error
        if error is None and unsent is None:
            return
        where = f"the connection from {str(stream.peer) or 'a client without a name'}"
        if unsent is not None:
            self._report(unsent, where)
        if error is not None and not task.cancelled:
            self._answer_for(error, where, task)

    def _answer_for(self, error: BaseException, where: str, task: Task[Any]) -> None:
        if not isinstance(error, (KeyboardInterrupt, SystemExit)):
            self._report(error, where)
        elif not task.loop.in_turn:  # otherwise it leaves the loop by itself
            self._fail(error)

    def _await_an_end(self, seconds: float | None) -> Generator[Any, Any, None]:
        """Until a connection ends, or `seconds` are over."""
        loop = current_task().loop
        resume: OneShotResume | None = None
        timeout = None

        def start(given: OneShotResume) -> None:
            nonlocal resume, timeout
            resume = given
            self._paused[resume] = None
            if seconds is not None:
                timeout = loop.timeout_post(seconds, resume, repeat=False)

        try:
            yield from await_callback(start)
        finally:
            if resume is not None:
                self._paused.pop(resume, None)
            if timeout is not None:
                loop.timeout_remove(timeout)


def _await_cancelled(tasks: Iterable[Task[Any]]) -> Generator[Any, Any, None]:
    """Cancel all and wait until all have ended. Their errors were reported when they did."""
    ending = list(tasks)
    for task in ending:
        task.cancel("the server ends")
    for task in ending:
        with suppress(Exception):
            yield from task.await_result()


def _closed(stream: Stream) -> SocketError | None:
    """Close it; the error of what it had still to send."""
    try:
        stream.close()
    except SocketError as unsent:
        return unsent
    return None
