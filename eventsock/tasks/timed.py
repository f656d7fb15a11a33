"""Tasks that keep since when they wait, for those who look into a hung program.

Knows the driver and the loop's clock. A clock call for each switch is not for everybody: debug mode asks for it, and `dump_on`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..loop.event_loop import EventLoop
from .task import Task

__all__ = ["TimedTask", "kinds"]

T = TypeVar("T")


class TimedTask(Task[T]):
    """A task that knows since when it waits, whatever it waits for."""

    __slots__ = ("_origin", "_since")

    _since: float

    def __init__(self, origin: str | None = None) -> None:
        self._origin = origin

    def start(
        self,
        loop: EventLoop,
        name: str,
        owner: Callable[[Any], object] | None,
        waitable: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        """As every task's, and notes the time."""
        super().start(loop, name, owner, waitable, args)
        self._since = self.loop.time()

    def wake(self, value: object = None) -> None:
        """As every task's, and notes the time."""
        super().wake(value)
        self._since = self.loop.time()

    @property
    def origin(self) -> str | None:
        """File and line where it was started, in debug mode."""
        return self._origin

    @property
    def waits_since(self) -> float | None:
        """When its wait began, in the loop's seconds."""
        return self._since


class _Kinds:
    """Which class a loop out of debug mode makes its tasks of."""

    usual: type[Task[Any]] = Task


kinds = _Kinds()
