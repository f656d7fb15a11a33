"""The command line: `python3 -m eventsock COMMAND`, or the console script `eventsock`.

Knows which commands there are and how they are asked for; must not know what any of them does.
"""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from . import __version__
from .commands import echo, relay

_COMMANDS = (echo, relay)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that `arguments` (default: those of the process) ask for, and returns the exit status."""
    parser = ArgumentParser(prog="eventsock", description="An event loop, tasks and sockets: small programs made with them.")
    parser.add_argument("--version", action="version", version=f"eventsock {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    chosen = parser.parse_args(arguments)
    try:
        status: int = chosen.run(chosen)
    except KeyboardInterrupt:  # before the command has taken the signals over, perhaps in a look-up
        return 128 + signal.SIGINT
    return status


if __name__ == "__main__":
    sys.exit(main())
