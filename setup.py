"""The compiled build: `EVENTSOCK_COMPILE=1 pip install .`; without that word nothing is compiled. All else is in pyproject.toml."""

from __future__ import annotations

import os
from typing import Any

from setuptools import setup

# What calls back and what is called for each event. Not what is awaited: that must be Python's own generators, whose frames `where()`
# shows and `await` takes. Nor `EventLoop` and `Task`, which users hold by weak references and derive from; their bases are here.
COMPILED = [
    "eventsock/loop/book.py",
    "eventsock/loop/descriptors.py",
    "eventsock/loop/engine.py",
    "eventsock/loop/late.py",
    "eventsock/loop/timers.py",
    "eventsock/loop/verbs.py",
    "eventsock/loop/waker.py",
    "eventsock/sockets/linebreaks.py",
    "eventsock/sockets/splitter.py",
    "eventsock/tasks/alone.py",
    "eventsock/tasks/current.py",
    "eventsock/tasks/driver.py",
    "eventsock/tasks/outcome.py",
    "eventsock/tasks/sleep.py",
    "eventsock/tasks/states.py",
]


def extensions() -> list[Any]:
    if os.environ.get("EVENTSOCK_COMPILE", "") in ("", "0"):
        return []
    from mypyc.build import mypycify

    # Without the project's configuration, which says the opposite of the variable.
    words = ["--config-file=", "--python-version=3.11", "--ignore-missing-imports", "--always-true=COMPILING"]
    return mypycify([*words, *COMPILED], group_name="eventsock")


setup(ext_modules=extensions())
