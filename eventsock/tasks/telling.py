"""Telling a body an error where it waits for an answer.

Knows how a driver's steps are replaced for once. It must not know why the error is told.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

from .outcome import attempt
from .waitable import Await

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Thrower", "wrong_yield"]


class Thrower:
    """Stands in for a driver's steps once: instead of going on, its body is told `error`, or (None) its next strike."""

    __slots__ = ("_driver", "_error", "_steps")

    def __init__(self, driver: Driver, error: BaseException | None) -> None:
        self._driver = driver
        self._steps = driver.steps
        self._error = error

    def __next__(self) -> Any:
        driver, steps, error = self._driver, self._steps, self._error
        driver.steps = steps
        if error is None:
            if not driver.strikes:
                return next(steps)
            error = driver.strikes.pop(0)
        try:
            return steps.throw(error)
        finally:
            # A frame that the error's trace leads to must hold neither the error nor the task, which may end with it.
            del error, self._error, driver, self

    def send(self, value: object) -> Any:
        """The error comes instead of the value."""
        return self.__next__()


def wrong_yield(token: object) -> TypeError:
    """What a task is told that has yielded something which nobody answers."""
    if token is None:
        return TypeError("a bare yield (a raw await) works in generator tasks only; in an async def use `await await_callback(start)`")
    kind = type(token).__name__
    if isinstance(token, (Generator, Coroutine, Await)):
        return TypeError(f"a task yielded a {kind}: write `yield from …` instead of `yield …`")
    good, shown = attempt(repr, token)
    cure = "write `yield from await_…(…)`, or a bare `yield` and resume()"
    return TypeError(f"a task yielded {f'{shown} ({kind})' if good else f'a {kind}'}, which nothing answers: {cure}")
