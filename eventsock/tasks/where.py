"""Where a task stands: the chain of generators from its body to the innermost one, and the text that tells it.

Knows what Python shows of generators, coroutines and frames. It must not know how tasks run: it is given a body, and reads.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from threading import get_ident
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["awaiting", "caller_of", "is_running", "place", "public_name", "report"]

_PACKAGE = __name__.partition(".")[0]

# What stands between two links of a chain and shows neither: only the garbage collector knows what they hold.
_OPAQUE = {"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"}


def caller_of(frame: FrameType | None) -> str | None:
    """File and line of the first frame outside this package, for saying where something was made."""
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return None if frame is None else place(frame.f_code, frame.f_lineno)


def place(code: CodeType, line: int | None) -> str:
    """`file:line`."""
    return f"{code.co_filename}:{line}"


def is_running(body: object) -> bool:
    """Whether a generator or coroutine is on the stack right now."""
    running = getattr(body, "gi_running", None)
    return bool(getattr(body, "cr_running", False) if running is None else running)


def awaiting(body: object, gives_turn: bool) -> str | None:
    """The `await_…` procedure of this package that a suspended body stands in, or None."""
    for frame in _links(body):
        if frame.f_code.co_name.lstrip("_").startswith("await_") and _is_ours(frame):
            return f"{public_name(frame.f_code.co_qualname)}()"
    return "await_yield()" if gives_turn else None


def public_name(name: str) -> str:
    """The qualified name of the procedure that users call; some of ours are its inner half."""
    head, dot, tail = name.rpartition(".")
    return head + dot + tail.lstrip("_")


def report(task: Driver) -> str:
    """Several lines: what the task waits for and for how long, where it was started, and each link of its chain."""
    lines = [f"{task} {_state(task)}"]
    if task.origin is not None:
        lines.append(f"  started at {task.origin}")
    body = task.body
    frames = _stack(task) if is_running(body) else _links(body)
    lines += [f"  {frame.f_code.co_qualname} at {place(frame.f_code, frame.f_lineno)}" for frame in frames]
    return "\n".join(lines)


def _state(task: Driver) -> str:
    wait = task.waits_for
    if task.done:
        return "has ended"
    if wait is None:
        return "is running"
    since = task.waits_since
    lasted = "" if since is None else f", for {max(0.0, task.loop.time() - since):.3f} s"
    return f"waits for {wait}{_peer(wait)}{lasted}"


def _peer(wait: object) -> str:
    """Who is at the other end of the descriptor that is waited for, if it is a connected socket."""
    reference = getattr(getattr(wait, "descriptor", None), "file", None)
    file: Any = reference() if callable(reference) else None
    if not hasattr(file, "getpeername"):
        return ""
    from ..basic.addresses import SocketAddress

    try:
        peer = str(SocketAddress.from_native(file.family, file.getpeername()))
    except (OSError, ValueError, TypeError):
        return ""  # not connected, or gone meanwhile
    return f" ({peer})" if peer else ""


def _links(body: Any) -> Iterator[FrameType]:
    """The frames of a suspended body, the outermost first."""
    while body is not None:
        kind = type(body)
        if kind is GeneratorType:
            frame, body = body.gi_frame, body.gi_yieldfrom
        elif kind is CoroutineType:
            frame, body = body.cr_frame, body.cr_await
        elif kind is AsyncGeneratorType:
            frame, body = body.ag_frame, body.ag_await
        else:
            frame, body = None, _held(body)
        if frame is not None and frame.f_code.co_qualname != "_Watched.__await__":  # debug mode's own
            yield frame


def _held(opaque: object) -> object:
    if type(opaque).__name__ not in _OPAQUE:
        return None
    links = (each for each in gc.get_referents(opaque) if isinstance(each, (GeneratorType, CoroutineType, AsyncGeneratorType)))
    return next(links, None)


def _stack(task: Driver) -> list[FrameType]:
    """The frames of a running body, the outermost first: those its thread has on top of it."""
    body: Any = task.body
    bottom = body.cr_frame if type(body) is CoroutineType else getattr(body, "gi_frame", None)
    frame = sys._current_frames().get(task.loop.thread or get_ident())
    frames: list[FrameType] = []
    while frame is not None:
        if frames or not _is_ours(frame):
            frames.append(frame)
        if frame is bottom:
            return frames[::-1]
        frame = frame.f_back
    return []


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE
