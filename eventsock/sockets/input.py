"""The receiving half of a stream.

Knows the splitter and one side of the descriptor. The way of one byte: the loop wakes the task in `_await_unit`, which receives it,
feeds the splitter and takes the unit out. It must not know how bytes are sent, only that held ones go out before a wait.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

from ..basic.arguments import checked_size
from ..loop.current import here
from ..tasks.task import BUDGET, SUSPENDED, TURN
from ..tasks.waitable import Await, waitable
from .bound import Bound
from .reading import Reading
from .splitter import CHUNK, MORE, More, Splitter

__all__ = ["Input"]

T = TypeVar("T")

_LINE: Any = Splitter.line
# What was received is what is given: the splitter need not see it.
_SOME: Any = Splitter.some


class Input(Bound, Reading[bytes]):
    """The reading verbs of a stream."""

    __slots__ = ()

    @waitable
    def _await_unit(self, take: Callable[[Splitter], T | More]) -> Generator[Any, Any, T]:
        """Receive until `take` can be satisfied by what is held. Every reading verb is this one with another `take`."""
        side = (self._ready or self._bind()).read
        if here.loop is not self._loop or (task := self._loop.current) is None or task.waits_for is not None:  # type: ignore[union-attr]
            raise self._misused()
        if side.holder is not None or side.watch is not None:
            raise side.busy(task)
        source = self._input
        # First the bytes that came, then what `take` has made of them: a local more would be eight bytes for each task that waits.
        got: Any
        if (source.data or source.ended) and task.eager < BUDGET:
            task.eager += 1
            got = take(source)
            if got is not MORE:
                return got  # type: ignore[no-any-return]
        side.holder = task
        try:
            if task.eager >= BUDGET:
                yield TURN
                if source.data or source.ended:
                    got = take(source)
                    if got is not MORE:
                        return got  # type: ignore[no-any-return]
            while True:
                if self._drained:
                    if self._gathered is not None and self._gathered.pieces and not self._let_go():
                        yield from self._await_written(task)
                    side.arm(task)
                    task.waits_for = side
                    if self._idle is None:
                        yield SUSPENDED
                    else:
                        yield from self._idle.await_(task.loop, self._expire)
                else:
                    if task.eager >= BUDGET:
                        yield TURN
                    task.eager += 1
                try:
                    got = self._source.recv(source.want)
                except BlockingIOError:
                    if self._drained:
                        side.woken_in_vain()
                    self._drained = True
                    continue
                except OSError as error:
                    raise self._broken_reading(error) from None
                # A short read has emptied the socket: the next receive would only fail, so it waits first.
                self._drained = len(got) < source.want
                if got:
                    if take is _SOME and source.begun is None and source.follower is None:
                        return got  # type: ignore[no-any-return]
                    source.feed(got)
                else:
                    source.end()
                got = take(source)
                if got is not MORE:
                    return got  # type: ignore[no-any-return]
        finally:
            side.holder = None

    def await_getline(self) -> Await[bytes | None]:
        """The next line without its end (LF; a CR before it stays); the text before the end of input is a line; then None.

        Does not suspend if the line is there. `LineTooLong`: once, with the first `limit` bytes in `.partial`; the next call skips
        the rest of that line, any other verb goes on in it. `SocketError`: once; what had come before it can still be read, and then
        `StreamClosed` is raised, as it is after `close`. `BusyError`: another task reads. Origin: chez-a-sync `await-getline!`.
        """
        return self._await_unit(_LINE)

    def await_getblock(self, size: int) -> Await[bytes | None]:
        """`size` bytes, fewer only before the end of input, then None; nothing, at once, if `size` is 0. Errors as `await_getline`.

        Origin: chez-a-sync `await-getblock!`.
        """
        if not checked_size(size, "size"):
            return self._await_nothing()
        return self._await_unit(lambda held: held.block(size))

    @waitable
    def _await_nothing(self) -> Generator[Any, Any, bytes]:
        self._user()
        return b""
        yield

    def await_getsome(self, max: int = CHUNK) -> Await[bytes]:
        """What is there, at least one byte and at most `max`; `b""` at the end of input. Errors as `await_getline`."""
        if max == CHUNK:
            return self._await_unit(_SOME)
        if checked_size(max, "max") < 1:
            raise ValueError("max must be at least 1 byte")
        return self._await_unit(lambda held: held.some(max))

    def await_getuntil(self, delimiter: bytes) -> Await[bytes]:
        """Everything up to the next `delimiter`, with it.

        `IncompleteRead`: the end came first; `.partial` is what was left. `LineTooLong`: not within `limit` bytes, of which `.partial`
        has the first ones; the next call goes on behind them. Other errors as `await_getline`.
        """
        if not isinstance(delimiter, bytes):
            raise TypeError(f"delimiter must be bytes, not {type(delimiter).__name__}")
        if not delimiter:
            raise ValueError("delimiter must not be empty")
        return self._await_unit(lambda held: held.until(delimiter))

    def await_getall(self) -> Await[bytes]:
        """Everything up to the end of input, however much that is. Errors as `await_getline`."""
        return self._await_unit(Splitter.everything)

    def __anext__(self) -> Await[bytes]:
        return self._await_unit(_next_line)


def _next_line(held: Splitter) -> bytes | More:
    line: bytes | More | None = held.line()
    if line is None:
        raise StopAsyncIteration
    return line
