"""The reading verbs that are made of others: every line, some lines, blocks likewise, `async for`.

Knows `await_getline` and `await_getblock`, whatever they give; must not know bytes, text, buffers or descriptors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from ..basic.arguments import checked_size
from ..errors import LoopStateError
from ..tasks.waitable import Await, waitable

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Reading", "Stop"]

U = TypeVar("U", bytes, str)


class _Left(BaseException):
    """Carries the value of `stop(value)` out of the procedure that called it. No Exception: it must not be caught on its way."""


class Stop:
    """What `await_getsomelines` and `await_getsomeblocks` hand to their procedure: `stop(value)` leaves it and ends the call."""

    __slots__ = ("_open", "left", "value")

    def __init__(self) -> None:
        self._open = True
        self.left: _Left | None = None
        self.value: Any = None

    def __call__(self, value: object = None) -> NoReturn:
        """Leave the procedure; the `await_…` call gives `value`. `LoopStateError`: that call is over."""
        if not self._open:
            raise LoopStateError("stop() was called after the call that it ends was over")
        self.value = value
        self.left = _Left()
        raise self.left

    def end(self) -> None:
        """Nothing is left to be stopped."""
        self._open = False
        self.left = None


class Reading(Generic[U]):
    """The verbs that `Stream` and `TextStream` share, the one in `bytes`, the other in `str`.

    A `proc` is a plain function, or a generator function or `async def`, which is then waited for. Its exceptions leave the call;
    what was not given to it stays in the stream.
    """

    __slots__ = ()

    def await_getline(self) -> Await[U | None]:
        """The next line."""
        raise NotImplementedError

    def await_getblock(self, size: int) -> Await[U | None]:
        """The next block."""
        raise NotImplementedError

    def await_geteveryline(self, proc: Callable[[U], Any]) -> Await[None]:
        """Call `proc(line)` for each line up to the end of input. Errors as `await_getline`. Origin: chez-a-sync `await-geteveryline!`."""
        return _await_every(self.await_getline, proc)

    def await_getsomelines(self, proc: Callable[[U, Stop], Any]) -> Await[Any]:
        """As `await_geteveryline` with `proc(line, stop)`; `stop(value)` leaves `proc` at once and ends the call with that value.

        None if it comes to the end of input. The lines that follow stay in the stream. Origin: chez-a-sync `await-getsomelines!`.
        """
        return _await_some(self.await_getline, proc)

    def await_geteveryblock(self, size: int, proc: Callable[[U], Any]) -> Await[None]:
        """Call `proc(block)` for each block of `size` up to the end of input; the last one may be shorter.

        `ValueError`: a size below 1. Origin: chez-a-sync `await-geteveryblock!`.
        """
        _check_block_size(size)
        return _await_every(lambda: self.await_getblock(size), proc)

    def await_getsomeblocks(self, size: int, proc: Callable[[U, Stop], Any]) -> Await[Any]:
        """As `await_geteveryblock` with `proc(block, stop)`; `stop` as in `await_getsomelines`. Origin: `await-getsomeblocks!`."""
        _check_block_size(size)
        return _await_some(lambda: self.await_getblock(size), proc)

    def __aiter__(self) -> Self:
        return self


def _check_block_size(size: int) -> None:
    if checked_size(size, "size") < 1:
        raise ValueError("size must be at least 1: blocks of nothing would never come to an end")


@waitable
def _await_every(get: Callable[[], Await[U | None]], proc: Callable[[U], Any]) -> Generator[Any, Any, None]:
    while (unit := (yield from get())) is not None:
        made = proc(unit)
        if made is not None:
            yield from _await_made(made)


@waitable
def _await_some(get: Callable[[], Await[U | None]], proc: Callable[[U, Stop], Any]) -> Generator[Any, Any, Any]:
    stop = Stop()
    try:
        while (unit := (yield from get())) is not None:
            made = proc(unit, stop)
            if made is not None:
                yield from _await_made(made)
    except _Left as left:
        if left is not stop.left:
            raise
        return stop.value
    finally:
        stop.end()


def _await_made(made: object) -> Generator[Any, Any, None]:
    """Wait for what a `proc` returned, if that is to be waited for."""
    if isinstance(made, Generator):
        yield from made
    elif isinstance(made, Awaitable):
        yield from made.__await__()
