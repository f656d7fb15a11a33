"""How long a blocking call may wait: `timeouts(…)` for a block of code, `timeout=` for one call, and the deadline of a call.

Knows a clock and a context variable. Must not know sockets, or what is waited for.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from types import MappingProxyType

from .arguments import checked_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token
    from typing import Literal, TypeAlias

    TimeLimit: TypeAlias = "float | Surrounding | None"
    Verb = Literal["connect", "accept", "receive", "send"]
    Limits = Mapping[Verb, float | None]


class Surrounding:
    """The type of `SURROUNDING`, the default of each `timeout=`: the limit that the surrounding `timeouts(…)` sets."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SURROUNDING"


SURROUNDING = Surrounding()

# The parameters of the CHICKEN egg, with its defaults.
_OUTERMOST: Limits = MappingProxyType({"connect": None, "accept": None, "receive": 60.0, "send": 60.0})
_limits: ContextVar[Limits] = ContextVar("timeouts", default=_OUTERMOST)


class timeouts:  # noqa: N801 - used as a verb
    """`with timeouts(connect=5, receive=10): …` sets how many seconds a wait without progress may last in the block.

    A name not given keeps its surrounding value; None is no limit. Outside of any block: `connect=None, accept=None, receive=60.0,
    send=60.0`. The limit holds for each wait that makes no progress, anew after each byte; a `timeout=` argument replaces it for
    one call and limits the whole call. Belongs to the context: threads and tasks do not disturb each other. After the parameters
    of the CHICKEN egg (there in milliseconds). Raises `ValueError` or `TypeError` for what is no number of seconds; any thread.
    """

    __slots__ = ("_given", "_tokens")

    def __init__(
        self,
        *,
        connect: TimeLimit = SURROUNDING,
        accept: TimeLimit = SURROUNDING,
        receive: TimeLimit = SURROUNDING,
        send: TimeLimit = SURROUNDING,
    ) -> None:
        values: dict[Verb, TimeLimit] = {"connect": connect, "accept": accept, "receive": receive, "send": send}
        self._given: Limits = {verb: checked_seconds(value, verb) for verb, value in values.items() if not isinstance(value, Surrounding)}
        self._tokens: list[Token[Limits]] = []

    def __enter__(self) -> None:
        self._tokens.append(_limits.set({**_limits.get(), **self._given}))

    def __exit__(self, *_: object) -> None:
        _limits.reset(self._tokens.pop())


def surrounding_limit(verb: Verb) -> float | None:
    """The limit that holds here for a wait of `verb` without progress."""
    return _limits.get()[verb]


class Deadline:
    """How long a call may still wait: to one moment for the whole call or, if it `renews`, so many seconds after each step forward."""

    __slots__ = ("_end", "renews", "seconds")

    def __init__(self, seconds: float | None, *, renews: bool = False) -> None:
        self.seconds = seconds
        self.renews = renews
        self._end = None if seconds is None else monotonic() + seconds

    def left(self) -> float | None:
        """The seconds that are left, 0.0 when none are; None for no limit."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    def progressed(self) -> None:
        """Notes a step forward."""
        if self.renews and self.seconds is not None:
            self._end = monotonic() + self.seconds

    def share(self, parts: int) -> Deadline:
        """The deadline of one of `parts` tries that follow each other: an equal part of what is left, or the full time anew."""
        left = self.left()
        return Deadline(self.seconds if self.renews or left is None else left / parts)


def deadline_of(verb: Verb, timeout: TimeLimit) -> Deadline:
    """The deadline of a call that begins now, from its `timeout=` argument or from the surrounding block."""
    if isinstance(timeout, Surrounding):
        return Deadline(surrounding_limit(verb), renews=True)
    return Deadline(checked_seconds(timeout))
