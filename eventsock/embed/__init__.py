"""A guest in any house: one small adapter per host. Knows the adapters' names; loads one, and so its host, when it is first asked for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import asyncio as asyncio
    from . import glib as glib
    from . import ipython as ipython
    from . import pygame as pygame
    from . import qt as qt
    from . import thread as thread
    from . import tk as tk
    from . import trio as trio
    from .guest import Guest as Guest
    from .guest import milliseconds as milliseconds
    from .thread import LoopThread as LoopThread

_HOSTS = ("asyncio", "glib", "ipython", "pygame", "qt", "thread", "tk", "trio")
_HOME = {"Guest": "guest", "milliseconds": "guest", "LoopThread": "thread"}

__all__ = ["Guest", "LoopThread", "asyncio", "glib", "ipython", "milliseconds", "pygame", "qt", "thread", "tk", "trio"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _HOSTS:
            return import_module(f"{__name__}.{name}")
        if name in _HOME:
            return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; the hosts are {', '.join(_HOSTS)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
