"""Waiting for the end of what the peer sends, which nobody wants any more.

Knows a channel, one side of its descriptor, and time. It must not know streams.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..tasks.task import BUDGET, SUSPENDED, TURN, Task
from .splitter import CHUNK

if TYPE_CHECKING:
    from ..loop.descriptors import Side
    from .files import Channel

__all__ = ["await_peer_end"]


def await_peer_end(channel: Channel, side: Side, task: Task[Any], seconds: float) -> Generator[Any, Any, bool]:
    """Receive and drop, for `seconds` at the most. True: the peer has ended; False: it has reset, or the time is over. `BusyError`."""
    over = False

    def end() -> None:
        nonlocal over
        over = True
        if side.withdraw():
            task.loop.soon(task.wake)

    side.hold(task)
    timeout = task.loop.timeout_post(seconds, end, repeat=False)
    try:
        while not over:
            if task.eager >= BUDGET:
                yield TURN
            task.eager += 1
            try:
                if not channel.recv(CHUNK):
                    return True
            except BlockingIOError:
                side.arm(task)
                task.waits_for = side
                yield SUSPENDED
            except OSError:
                return False
        return False
    finally:
        task.loop.timeout_remove(timeout)
        side.holder = None
