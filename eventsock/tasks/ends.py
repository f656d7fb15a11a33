"""How a task is told that its loop has ended.

Exceptions alone: a class with a built-in one among its bases cannot be compiled, so they stand apart from the driver that raises them.
"""

from __future__ import annotations

from ..errors import LoopStateError

__all__ = ["LoopEnded", "LoopEnds"]


class LoopEnded(LoopStateError):  # noqa: N818 - what has happened, as `LoopClosedError`'s kin say it
    """Raised at an await of a task that is being closed, because its loop has quit or was closed."""


class LoopEnds(BaseException):
    """Raised at the await of a task that is being closed, so that its `finally` blocks run.

    Not `GeneratorExit`: Python hands that to what a generator delegates to by closing it, and an await in a `finally` there would
    be "generator ignored GeneratorExit" where `LoopEnded` should be. Nor `Cancelled`, which a task may catch and go on.
    """
