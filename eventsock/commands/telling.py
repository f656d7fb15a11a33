"""What a command says: a line on standard output, a complaint on standard error.

Knows the process's two outputs, and that whoever reads them may have gone: a server serves on.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["complain", "tell"]


def tell(what: object) -> None:
    """A line on standard output, at once."""
    _put(f"{what}", sys.stdout)


def complain(command: str, what: object) -> None:
    """A line on standard error that names the command."""
    _put(f"eventsock {command}: {what}", sys.stderr)


def _put(line: str, output: TextIO) -> None:
    try:
        print(line, file=output, flush=True)
    except BrokenPipeError:
        # What could not be written is kept, and would be an error at the latest when the interpreter ends. From here on it goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output.fileno())
        os.close(nowhere)
