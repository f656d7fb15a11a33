"""The loops of the loop's tests: each test that asks for one is run for each kind."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from eventsock import EventLoop
from loop_kit import KINDS, MakeLoop


@pytest.fixture
def looks() -> None:
    """For a test of the looks at what was closed behind the loop's back: they come as soon as in life."""


@pytest.fixture(autouse=True)
def nothing_is_healed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all others they come so late that they end no sleep: a ring that was lost is a test that hangs, and not a second's delay."""
    if "looks" not in request.fixturenames:
        monkeypatch.setattr("eventsock.loop.engine._LOOK", 100.0)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which loop is meant."""
    name: str = request.param
    return name


@pytest.fixture
def has_epoll(kind: str) -> bool:
    """Whether the loop waits with epoll, which forgets a descriptor that is closed."""
    return kind in ("default", "debug", "own epoll", "standard epoll")


@pytest.fixture
def make_loop(kind: str) -> Iterator[MakeLoop]:
    """Makes loops of this kind with further options, and closes them after the test."""
    with contextlib.ExitStack() as loops:

        def make(**options: Any) -> EventLoop:
            return loops.enter_context(EventLoop(**{**KINDS[kind](), **options}))

        yield make


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets that do not block."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


@pytest.fixture
def loop(make_loop: MakeLoop) -> EventLoop:
    """One loop of this kind."""
    one: EventLoop = make_loop()
    return one
