"""The build backend: that of setuptools, with mypyc beside it when `EVENTSOCK_COMPILE=1` asks for the compiled build.

Knows only what must be there before a build begins. What is compiled, and how, is in `setup.py`.
"""

from __future__ import annotations

import os
from typing import Any

from setuptools.build_meta import *  # noqa: F403 - all other hooks are setuptools' own


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """What a wheel needs beside `requires`, by PEP 517. Setuptools would run `setup.py` to find out, which needs what is asked for."""
    return ["mypy[mypyc]>=2.4"] if os.environ.get("EVENTSOCK_COMPILE", "") not in ("", "0") else []


get_requires_for_build_editable = get_requires_for_build_wheel
