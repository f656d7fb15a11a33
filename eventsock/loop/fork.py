"""Loops in a forked child: the parent's selector is shared with it, so there each loop lets go of everything and refuses.

Knows which loops there are. What letting go means is the loop's own affair.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["known", "remember"]


class _Forkable(Protocol):
    def forked(self) -> None: ...


_alive: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def remember(loop: _Forkable) -> None:
    """Call `loop.forked()` in every child that is forked while `loop` exists."""
    _alive.add(loop)


def known() -> list[_Forkable]:
    """Every loop that exists, for reports."""
    return list(_alive)


def _in_child() -> None:
    for loop in known():
        loop.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
