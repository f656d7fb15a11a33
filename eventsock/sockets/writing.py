"""Getting bytes out of a task: whole call by whole call, each call first tried at once.

Knows a channel, one side of its descriptor and tasks. It must not know streams' reading half or any framing.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

from ..errors import SocketError
from ..loop.descriptors import Side
from ..tasks.task import SUSPENDED, Task

__all__ = ["NO_SIGNAL", "WriterLine", "await_rest"]

# A peer that is gone must be an error here, never a SIGPIPE that kills a process which had it reset to its default (send(2)).
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class WriterLine:
    """Tasks that wait until those before them have written. Whoever ends hands the side to the next, so nobody slips in between."""

    __slots__ = ("_side", "_tasks")

    def __init__(self, side: Side) -> None:
        self._side = side
        self._tasks: deque[Task[Any]] = deque()

    def await_turn(self, task: Task[Any]) -> Generator[Any, Any, None]:
        """Stand in line; on return `task` holds the side."""
        self._tasks.append(task)
        task.waits_for = _Place(self._tasks, task, self._side)
        yield SUSPENDED

    def next(self) -> None:
        """Hand the side to the next in line, or leave it to whoever comes."""
        if self._tasks:
            task = self._side.holder = self._tasks.popleft()
            task.loop.soon(task.wake)
        else:
            self._side.holder = None

    def dismiss(self, error: Callable[[], BaseException]) -> None:
        """The channel is closed: tell all."""
        while self._tasks:
            task = self._tasks.popleft()
            task.loop.soon(lambda task=task: task.fail(error()))  # type: ignore[misc]


class _Place:
    """A place in a line of writers."""

    __slots__ = ("_line", "_side", "_task")

    def __init__(self, line: deque[Task[Any]], task: Task[Any], side: Side) -> None:
        self._line = line
        self._task = task
        self._side = side

    def withdraw(self) -> bool:
        if self._task not in self._line:
            return False
        self._line.remove(self._task)
        return True

    def __str__(self) -> str:
        return f"its turn to write to descriptor {self._side.descriptor.fd}"


def await_rest(
    send: Callable[[memoryview, int], int], data: memoryview, sent: int, side: Side, task: Task[Any]
) -> Generator[Any, Any, int]:
    """Send `data` from `sent` on, waiting for room as often as it takes; gives what was sent in all. The caller holds the side.

    A failure or a cancellation says in `.sent` how many bytes went out.
    """
    total = len(data)
    try:
        while sent < total:
            side.arm(task)
            task.waits_for = side
            yield SUSPENDED
            try:
                sent += send(data[sent:], NO_SIGNAL)
            except BlockingIOError:
                side.woken_in_vain()
            except OSError as error:
                if isinstance(error, SocketError):
                    raise
                raise SocketError.of(error) from None
    except BaseException as error:
        error.sent = sent  # type: ignore[attr-defined]
        raise
    finally:
        data.release()
    return sent
