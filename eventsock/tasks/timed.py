"""Tasks that keep since when they wait, for those who look into a hung program.

Knows the driver and the loop's clock. A clock call for each switch is not for everybody: debug mode asks for it, and `dump_on`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .task import Task

__all__ = ["TimedTask", "kinds"]

T = TypeVar("T")


class TimedTask(Task[T]):
    """A task that knows since when it waits, whatever it waits for."""

    __slots__ = ("_since",)

    _since: float

    def start(self, waitable: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """As every task's, and notes the time."""
        super().start(waitable, args)
        self._since = self.loop.time()

    def _wake(self, value: object = None) -> None:
        super()._wake(value)
        self._since = self.loop.time()

    @property
    def waits_since(self) -> float | None:
        """When its wait began, in the loop's seconds."""
        return self._since


class _Kinds:
    """Which class a loop out of debug mode makes its tasks of."""

    usual: type[Task[Any]] = Task


kinds = _Kinds()
