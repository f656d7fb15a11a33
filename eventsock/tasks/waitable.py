"""What an `await_…` procedure returns: usable with `yield from` in a generator and with `await` in an `async def`.

Knows Python's generator protocol and nothing of tasks or loops. Whether a forgotten `yield from` is looked for is decided here,
once for the process, so that without it the procedures are bare generators and cost nothing more.
"""

from __future__ import annotations

import os
import sys
import types
import warnings
from collections.abc import Awaitable, Callable, Generator
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, ParamSpec, TypeVar

from ..errors import NotAwaited
from .where import caller_of, public_name

__all__ = ["Await", "awaited", "waitable"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DEBUG = sys.flags.dev_mode or os.environ.get("EVENTSOCK_DEBUG", "") not in ("", "0")


class Await(Generator[Any, Any, T_co], Awaitable[T_co]):
    """The type of what an `await_…` procedure returns: `yield from` it, or `await` it, once; either gives a `T`."""


def awaited(made: Awaitable[T]) -> Generator[Any, Any, T]:
    """Await it in a generator."""
    return (yield from made.__await__())


def waitable(function: Callable[P, Generator[Any, Any, T]]) -> Callable[P, Await[T]]:
    """Make what the generator function `function` returns usable with `yield from` and with `await`.

    `TypeError`: `function` is no generator function. Under `python -X dev` or `EVENTSOCK_DEBUG=1`, a call whose result is never
    run warns `NotAwaited`.
    """
    if not isgeneratorfunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"waitable() decorates a generator function; {name} contains no yield (an async def needs no decorator)")
    # With the mark of a coroutine it may be awaited, and may itself `yield from` a coroutine.
    made: Any = types.coroutine(function)
    return _watched(made) if DEBUG else made


def _watched(function: Callable[P, Generator[Any, Any, T]]) -> Callable[P, Await[T]]:
    name = public_name(function.__qualname__)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> _Watched[T]:
        return _Watched(function(*args, **kwargs), name, caller_of(sys._getframe(1)) or "?:0")

    return call


class _Watched(Await[T]):
    """A generator that says so if nobody ever runs it. A bare one is silent, worse than a coroutine."""

    __slots__ = ("_generator", "_name", "_place", "_run")

    def __init__(self, generator: Generator[Any, Any, T], name: str, place: str) -> None:
        self._run = False
        self._generator = generator
        self._name = name
        self._place = place

    def __iter__(self) -> Generator[Any, Any, T]:
        self._run = True
        return self._generator

    def __await__(self) -> Generator[Any, Any, T]:
        self._run = True
        return (yield from self._generator)  # not the generator itself: with the mark of a coroutine Python refuses it here

    def send(self, value: Any) -> Any:
        self._run = True
        return self._generator.send(value)

    def throw(self, *error: Any) -> Any:
        self._run = True
        return self._generator.throw(*error)

    def close(self) -> None:
        self._run = True
        self._generator.close()

    def __del__(self) -> None:
        if not self._run:
            text = f"{self._name}() was called and never run: write `yield from {self._name}(…)`, or `await` in an async def"
            file, _, line = self._place.rpartition(":")
            warnings.warn_explicit(text, NotAwaited, file, int(line))
