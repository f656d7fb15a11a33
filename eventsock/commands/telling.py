"""What a command says: a line on standard output, a complaint on standard error.

Knows the process's two outputs, and that whoever reads them may have gone: a server serves on.
"""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["complain", "tell"]


def tell(what: object) -> None:
    """A line on standard output, at once."""
    with suppress(BrokenPipeError):
        print(what, flush=True)


def complain(command: str, what: object) -> None:
    """A line on standard error that names the command."""
    with suppress(BrokenPipeError):
        print(f"eventsock {command}: {what}", file=sys.stderr, flush=True)
