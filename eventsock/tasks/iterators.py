"""Generators as procedures that are called for the next value.

Knows Python's generators and nothing of tasks or loops. Origin: chez-a-sync `(a-sync coroutines)`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from enum import Enum
from typing import Any, Final, TypeVar, Union

from ..errors import LoopStateError

__all__ = ["STOP_ITERATION", "make_coroutine", "make_iterator"]

Y = TypeVar("Y")
R = TypeVar("R")


class StopIterationType(Enum):
    """The type of `STOP_ITERATION`, which is its only value."""

    STOP_ITERATION = "STOP_ITERATION"

    def __repr__(self) -> str:
        return "STOP_ITERATION"


STOP_ITERATION: Final = StopIterationType.STOP_ITERATION
"""What an iterator of `make_iterator` gives when its procedure has ended."""


def make_iterator(proc: Callable[..., Iterator[Y]], *args: Any) -> Callable[..., Y | StopIterationType]:
    """A procedure that runs the generator function `proc(*args)` to its next `yield` at each call, and gives the yielded value.

    The argument of a call, if any, is what that `yield` then gives (the first call has none to give it to, and its argument is
    dropped). After the end, and after an error, it gives `STOP_ITERATION` for ever; what `proc` returns is dropped. An error leaves
    the call that is under way. `TypeError`: `proc` is no generator function. Origin: chez-a-sync `make-iterator`.
    """
    generator: Generator[Y, Any, Any] = _generator(proc, args)
    begun = False

    def iterate(value: object = None) -> Y | StopIterationType:
        nonlocal begun
        sent, begun = value if begun else None, True
        try:
            return generator.send(sent)
        except StopIteration:
            return STOP_ITERATION

    return iterate


# The value that came, and how to go on; at the end nothing goes on, and the value is the result.
Step = Union[tuple[Callable[..., "Step[Y, R]"], Y], tuple[None, R]]  # noqa: UP007 - a name in quotes has no `|`


def make_coroutine(proc: Callable[..., Generator[Y, Any, R]], *args: Any) -> Callable[..., Step[Y, R]]:
    """A procedure that runs the generator function `proc(*args)` to its first `yield` and gives `(continuation, value)`.

    Calling the continuation goes on to the next `yield`, with its argument as what the present one gives. At the end it is
    `(None, result)`. An error leaves the call that is under way. Each continuation can be called once: `LoopStateError` afterwards.
    `TypeError`: `proc` is no generator function. Origin: chez-a-sync `make-coroutine`.
    """
    generator = _generator(proc, args)
    taken = 0

    def step(number: int, value: object) -> Step[Y, R]:
        nonlocal taken
        if number != taken:
            raise LoopStateError(f"this continuation of {proc!r} was called before; call the one that came with the last value")
        taken += 1
        try:
            yielded = generator.send(value if number else None)
        except StopIteration as stop:
            return None, stop.value
        return (lambda value=None: step(number + 1, value)), yielded

    return lambda value=None: step(0, value)


def _generator(proc: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
    generator = proc(*args)
    if not isinstance(generator, Generator):
        raise TypeError(f"proc must be a generator function; {proc!r} gave {type(generator).__name__}")
    return generator
