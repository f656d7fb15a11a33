"""What a signal handler has asked for while it interrupted another verb, and the loop is still to do.

Knows the queue of posts, and which direction such a post is about. It must not know how a watch is put.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from .descriptors import FileLike, number_of

__all__ = ["LateWatch", "late_watches"]


class LateWatch:
    """A post that has `put` put a watch, unless another verb for the same direction has overtaken it by then."""

    __slots__ = ("_put", "bit", "fd", "file", "overtaken", "proc")

    def __init__(self, put: Callable[[LateWatch], object], file: FileLike, bit: int, proc: Callable[[str], object]) -> None:
        self._put = put
        self.file = file
        self.fd = number_of(file)
        self.bit = bit
        self.proc = proc
        self.overtaken = False

    def __call__(self) -> None:
        self._put(self)


def late_watches(posts: deque[Callable[[], object]]) -> list[LateWatch]:
    """Those among `posts` that have not been overtaken."""
    while True:
        try:
            return [post for post in posts if isinstance(post, LateWatch) and not post.overtaken]
        except RuntimeError:  # another thread, or a handler, has posted meanwhile
            continue
