"""Sockets of all kinds are borrowed without being changed, and waits end when they should."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from eventsock.basic import SocketError, handles
from eventsock.basic.deadlines import Deadline
from eventsock.basic.handles import Borrowed, poll, wait_readable, wait_writable

_Pair = tuple[socket.socket, socket.socket]


class _Thing:
    """An object that has a descriptor and is no socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd


@pytest.fixture
def default_timeout() -> Iterator[None]:
    socket.setdefaulttimeout(7)
    yield
    socket.setdefaulttimeout(None)


def test_plain_socket_is_used_itself(socket_pair: _Pair) -> None:
    with Borrowed(socket_pair[0]) as s:
        assert s is socket_pair[0]


@pytest.mark.parametrize("blocking", [True, False])
def test_descriptor_is_borrowed_and_stays_as_it_is(socket_pair: _Pair, blocking: bool) -> None:
    fd = socket_pair[0].fileno()
    os.set_blocking(fd, blocking)
    for sock in (fd, _Thing(fd)):
        with Borrowed(sock) as s:
            assert s.fileno() == fd
            assert s.family == socket.AF_UNIX
            assert s.gettimeout() == 0.0
        assert os.get_blocking(fd) is blocking


def test_socket_with_a_time_limit_of_its_own_is_not_held_up_by_it(socket_pair: _Pair) -> None:
    socket_pair[0].settimeout(30)
    with Borrowed(socket_pair[0]) as s, pytest.raises(BlockingIOError):
        s.recv(1)
    assert socket_pair[0].gettimeout() == 30


@pytest.mark.usefixtures("default_timeout")
def test_default_timeout_does_not_reach_a_borrowed_descriptor() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(True)
        with Borrowed(left.fileno()) as s:
            assert s.gettimeout() == 0.0
        assert os.get_blocking(left.fileno())


@pytest.mark.parametrize("fd", [-1, 999_999, 2**40])
def test_descriptor_that_is_not_open(fd: int) -> None:
    with pytest.raises(SocketError) as caught:
        Borrowed(fd)
    assert caught.value.errno == errno.EBADF


def test_descriptor_that_is_no_socket() -> None:
    with open(os.devnull) as file, pytest.raises(SocketError) as caught:
        Borrowed(file)
    assert caught.value.errno == errno.ENOTSOCK


def test_tls_socket_is_refused_and_left_open(socket_pair: _Pair) -> None:
    tls = ssl.create_default_context().wrap_socket(socket_pair[0], server_hostname="x", do_handshake_on_connect=False)
    with tls:
        with pytest.raises(TypeError, match="TLS socket"):
            Borrowed(tls)
        assert socket.socket.getsockopt(tls, socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


def test_wait_ends_when_there_is_something(socket_pair: _Pair) -> None:
    left, right = socket_pair
    assert wait_writable(left, Deadline(5))
    assert not wait_readable(left, Deadline(0.01))
    right.send(b"x")
    assert wait_readable(left, Deadline(None))


def test_wait_without_time_does_not_look(socket_pair: _Pair) -> None:
    assert not wait_writable(socket_pair[0], Deadline(0))


def test_wait_is_not_shorter_than_asked(socket_pair: _Pair) -> None:
    began = time.monotonic()
    assert not wait_readable(socket_pair[0], Deadline(0.0205))
    assert time.monotonic() - began >= 0.0205


def test_hang_up_ends_a_wait(socket_pair: _Pair) -> None:
    socket_pair[1].close()
    assert wait_readable(socket_pair[0], Deadline(5))


def test_long_wait_is_made_of_shorter_ones(socket_pair: _Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_LONGEST_WAIT", 0.01)
    asked: list[float | None] = []

    def counted(fds: list[int], writing: bool, seconds: float | None) -> set[int]:
        asked.append(seconds)
        if len(asked) == 3:
            socket_pair[1].send(b"x")
        return poll(fds, writing, seconds)

    monkeypatch.setattr(handles, "poll", counted)
    assert wait_readable(socket_pair[0], Deadline(1e10))
    assert len(asked) == 3


def test_longest_deadline_does_not_overflow(socket_pair: _Pair) -> None:
    socket_pair[1].send(b"x")
    assert wait_readable(socket_pair[0], Deadline(1e11))


def test_signals_do_not_end_or_prolong_a_wait(socket_pair: _Pair) -> None:
    count = 0

    def handler(*_: object) -> None:
        nonlocal count
        count += 1

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
        began = time.monotonic()
        assert not wait_readable(socket_pair[0], Deadline(0.1))
        took = time.monotonic() - began
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert count > 3
    assert 0.1 <= took < 2


@pytest.mark.parametrize("fd", [-1, 999])
def test_poll_of_what_is_not_open(fd: int) -> None:
    with pytest.raises(SocketError) as caught:
        poll([fd], False, 0)
    assert caught.value.errno == errno.EBADF


def test_poll_names_those_that_are_ready(socket_pair: _Pair) -> None:
    left, right = socket_pair
    right.send(b"x")
    assert poll([left.fileno(), right.fileno()], False, 0) == {left.fileno()}
    assert poll([left.fileno(), right.fileno()], True, None) == {left.fileno(), right.fileno()}


def test_poll_on_a_platform_that_has_only_select(socket_pair: _Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll")
    socket_pair[1].send(b"x")
    assert poll([socket_pair[0].fileno()], False, 0) == {socket_pair[0].fileno()}
    assert poll([socket_pair[1].fileno()], False, 0) == set()
    assert poll([socket_pair[1].fileno()], True, None) == {socket_pair[1].fileno()}
