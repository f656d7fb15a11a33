"""Where the checkout is, the type of the fixture that starts programs in it, and what they had to complain of.

Apart from conftest.py, because test directories have a file of that name each, and only one of them could be imported.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

StartProgram = Callable[..., "subprocess.Popen[str]"]


def complaints(errors: str) -> str:
    """What a program wrote to stderr, without the callbacks that asyncio names in development mode because the machine was busy."""
    return re.sub(r"^Executing <.* took [0-9.]+ seconds\n", "", errors, flags=re.MULTILINE)
