"""What a piece of work came to: a value or an error, as one thing that can be handed over.

Knows nothing of tasks or threads. Whoever did the work must not keep the error, nor raise it where nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Outcome", "attempt", "unwrap"]

# Whether it went well, and the value or the error.
Outcome = tuple[bool, Any]


def attempt(work: Callable[..., Any], *args: Any) -> Outcome:
    """Do `work(*args)`, whatever comes of it. The error's trace holds no frame that holds the error: that would be a cycle."""
    try:
        return True, work(*args)
    except BaseException as error:
        return False, error


def unwrap(outcome: Outcome, handler: Callable[[BaseException], Any] | None = None) -> Any:
    """The value, or the error raised, or given to `handler`, whose result it is then and in whose own error it is the context."""
    good, value = outcome
    if good:
        return value
    try:
        raise value
    except BaseException:
        if handler is None:
            raise
        return handler(value)
    finally:
        del value, outcome
