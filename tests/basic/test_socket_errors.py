"""`SocketError` and its kin as values: which built-in class each is too, and that a copy, or one from another process, is the same."""

from __future__ import annotations

import copy
import errno
import pickle
import socket
from collections.abc import Callable
from typing import TypeVar

import pytest

from eventsock.basic import inet_address
from eventsock.errors import AcceptError, ConnectError, ListenError, ResolveError, SocketError, UnsupportedOptionError

_CLASSES = [SocketError, ConnectError, ListenError, AcceptError, ResolveError, UnsupportedOptionError]

E = TypeVar("E", bound=SocketError)


def _pickled(error: E) -> E:
    return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", _CLASSES)
@pytest.mark.parametrize(
    ("code", "builtin"),
    [
        (errno.ECONNREFUSED, ConnectionRefusedError),
        (errno.ECONNRESET, ConnectionResetError),
        (errno.ECONNABORTED, ConnectionAbortedError),
        (errno.EPIPE, BrokenPipeError),
        (errno.ETIMEDOUT, TimeoutError),
        (errno.EAGAIN, BlockingIOError),
        (errno.EACCES, PermissionError),
        (errno.EPERM, PermissionError),
        (errno.ENOENT, FileNotFoundError),
    ],
)
def test_built_in_class_of_the_errno_catches_it_too(kind: type[SocketError], code: int, builtin: type[OSError]) -> None:
    error = kind(code)
    assert isinstance(error, kind)
    assert isinstance(error, builtin)
    assert (error.errno, type(error).__name__) == (code, kind.__name__)


@pytest.mark.parametrize("kind", _CLASSES)
def test_errno_without_a_class_of_its_own(kind: type[SocketError]) -> None:
    assert type(kind(errno.EADDRINUSE)) is kind


@pytest.mark.parametrize("duplicate", [_pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize(
    "error",
    [
        SocketError(errno.EADDRINUSE),
        ListenError(errno.EACCES, "a text", address=inet_address("127.0.0.1", 80)),
        ConnectError.refused(errno.ENAMETOOLONG, "too long", address="a path"),
        ConnectError.unresolved(ResolveError(socket.EAI_NONAME, "unknown", address="a name")),
        ResolveError(errno.ETIMEDOUT, "slow", address="a name"),
    ],
    ids=str,
)
def test_duplicate_is_the_same(duplicate: Callable[[SocketError], SocketError], error: SocketError) -> None:
    error.sent, error.partial = 3, b"abc"
    made = duplicate(error)
    assert type(made) is type(error)
    assert (made.errno, made.strerror, made.address, made.sent, made.partial) == (error.errno, error.strerror, error.address, 3, b"abc")
    assert str(made) == str(error)


def test_attempts_cross_too() -> None:
    error = ConnectError(errno.ECONNREFUSED)
    error.attempts = (ConnectError(errno.ETIMEDOUT, address="one"), error)
    made = _pickled(error)
    assert [type(each) for each in made.attempts] == [type(each) for each in error.attempts]
    assert made.attempts[1] is made


@pytest.mark.parametrize("name", ["ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ENETDOWN"])
def test_transient(name: str) -> None:
    assert ConnectError(getattr(errno, name)).transient
    assert SocketError(getattr(errno, name)).transient


@pytest.mark.parametrize("name", ["EACCES", "EINVAL", "EBADF", "EADDRINUSE", "EMFILE"])
def test_not_transient(name: str) -> None:
    assert not ConnectError(getattr(errno, name)).transient


def test_look_up_may_be_tried_again() -> None:
    assert ResolveError(socket.EAI_AGAIN).transient
    assert not ResolveError(socket.EAI_NONAME).transient
