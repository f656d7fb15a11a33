"""Where the checkout is, and the type of the fixture that starts programs in it.

Apart from conftest.py, because test directories have a file of that name each, and only one of them could be imported.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

StartProgram = Callable[..., "subprocess.Popen[str]"]
