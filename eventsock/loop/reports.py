"""What a loop tells of itself: numbers for a monitor, and a text for a reader.

Reads a loop and changes nothing; nobody in this room depends on it but the loop's own `statistics`, `dump` and `repr`.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import indent
from typing import TYPE_CHECKING, NamedTuple

from .checks import name_of

if TYPE_CHECKING:
    from .descriptors import Descriptor
    from .event_loop import EventLoop

__all__ = ["Statistics", "describe", "lines", "state_of"]


class Statistics(NamedTuple):
    """What a loop has done and holds, at one moment; `longest_callback` in seconds, measured by a loop in debug mode only."""

    watches: int
    waiting: int
    timeouts: int
    posts: int
    tasks: int
    turns: int
    longest_callback: float | None
    wake_ups: int
    selector_rebuilds: int


def state_of(loop: EventLoop) -> str:
    """One word for a message."""
    if loop.closed:
        return "closed"
    if loop.running:
        return "running"
    return "in a step" if loop.in_turn else "stepped" if loop.thread is not None else "idle"


def describe(loop: EventLoop) -> str:
    """For `repr`."""
    book = loop.book
    counts = [
        (book.watches, "watch", "watches"),
        (book.armed, "waiting", "waiting"),
        (len(loop.timers), "timeout", "timeouts"),
        (loop.pending_posts, "post", "posts"),
        (len(loop.residents), "task", "tasks"),
    ]
    held = ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count)
    return f"<EventLoop {state_of(loop)}: {held or 'empty'}>"


def lines(loop: EventLoop) -> Iterator[str]:
    """For `dump`: the loop, then what lives in it."""
    yield repr(loop)
    deadline = loop.timers.earliest
    if deadline is not None:
        yield f"  next timeout in {max(0.0, deadline - loop.time()):.3f} s"
    for descriptor in list(loop.book.table.values()):
        yield from _watches(descriptor)
    for resident in list(loop.residents):
        yield indent(resident.report(), "  ")


def _watches(descriptor: Descriptor) -> Iterator[str]:
    for side in descriptor.sides:
        if side.watch is not None:
            yield f"  watch on {side}: {name_of(side.watch.proc)}"
