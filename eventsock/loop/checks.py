"""Arguments checked before anything is done with them, and things named in messages.

Knows values only: no loop, no descriptor, no clock. Each check names the argument that it refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from math import copysign, inf

__all__ = ["attach", "checked_callable", "checked_seconds", "name_of"]


def checked_seconds(seconds: float, name: str = "seconds") -> float:
    """`seconds` as a float. `TypeError`: neither `int` nor `float`; `ValueError`: NaN."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be an int or a float, not {type(seconds).__name__}")
    try:
        value = float(seconds)
    except OverflowError:  # an int that no float can hold is as good as no end
        value = copysign(inf, seconds > 0 or -1)
    if value != value:
        raise ValueError(f"{name} must be a number, not NaN")
    return value


def checked_callable(name: str, value: object) -> None:
    """`TypeError` unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")


def name_of(action: Callable[..., object] | object) -> str:
    """What a message calls `action`. Never raises: it serves those who report an error already."""
    try:
        name = getattr(action, "__qualname__", None)
        if name is None and (inner := getattr(action, "func", None)) is not None:  # a functools.partial
            name = getattr(inner, "__qualname__", None)
        return str(repr(action) if name is None else name)
    except Exception:
        return type(action).__name__


def attach(error: BaseException, note: str) -> None:
    """Add `note` to `error`, once: the same object may escape again and again."""
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
