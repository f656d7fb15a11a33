"""In which order, and when, to try the addresses of a host: RFC 8305, "Happy Eyeballs Version 2".

Pure: `now` is an argument and nothing is connected here, so that the blocking verbs and a loop can run the same race.
"""

from __future__ import annotations

from collections import deque
from itertools import chain, zip_longest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .resolve import AddressInfo

# Seconds between the starts of two attempts: the "Connection Attempt Delay" that RFC 8305, section 5, recommends.
ATTEMPT_DELAY = 0.25


def interleaved(infos: Iterable[AddressInfo]) -> list[AddressInfo]:
    """The addresses with their families taking turns, in the family order of the resolver (RFC 8305, section 4)."""
    families: dict[int, list[AddressInfo]] = {}
    for info in infos:
        families.setdefault(info.family, []).append(info)
    return [info for info in chain.from_iterable(zip_longest(*families.values())) if info is not None]


class Race:
    """Says when the attempt to which address begins. Times are of any clock; the caller tells each failure."""

    __slots__ = ("_delay", "_next", "_waiting")

    def __init__(self, infos: Iterable[AddressInfo], delay: float = ATTEMPT_DELAY) -> None:
        self._waiting = deque(interleaved(infos))
        self._delay = delay
        self._next = float("-inf")

    def due(self, now: float) -> AddressInfo | None:
        """The address to try now, or None. Call it until it gives None."""
        if not self._waiting or now < self._next:
            return None
        self._next = now + self._delay
        return self._waiting.popleft()

    def failed(self) -> None:
        """An attempt failed: the next one need not wait."""
        self._next = float("-inf")

    def wake(self) -> float | None:
        """When `due` has the next address, if no attempt fails before; None when all attempts have begun."""
        return self._next if self._waiting else None
