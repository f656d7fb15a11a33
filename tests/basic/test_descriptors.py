"""The small verbs that answer True or False."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventsock.basic import close_fd, set_fd_blocking, set_fd_non_blocking, set_ignore_sigpipe, shutdown

_Pair = tuple[socket.socket, socket.socket]
_FORMS: list[Callable[[socket.socket], Any]] = [lambda sock: sock, lambda sock: sock.fileno(), lambda sock: _Thing(sock)]


class _Thing:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()


@pytest.mark.parametrize("of", _FORMS)
def test_blocking_and_not(socket_pair: _Pair, of: Callable[[socket.socket], Any]) -> None:
    sock = socket_pair[0]
    for _ in range(2):
        assert set_fd_non_blocking(of(sock)) is True
        assert os.get_blocking(sock.fileno()) is False
    for _ in range(2):
        assert set_fd_blocking(of(sock)) is True
        assert os.get_blocking(sock.fileno()) is True


def test_socket_knows_its_new_mode(socket_pair: _Pair) -> None:
    set_fd_non_blocking(socket_pair[0])
    assert socket_pair[0].gettimeout() == 0.0
    socket_pair[0].settimeout(7)
    set_fd_blocking(socket_pair[0])
    assert socket_pair[0].gettimeout() is None


def test_mode_of_what_is_no_socket() -> None:
    reader, writer = os.pipe()
    assert set_fd_non_blocking(reader)
    assert not os.get_blocking(reader)
    with open(os.devnull) as file:
        assert set_fd_blocking(file)
    assert not set_fd_blocking(file)
    assert close_fd(reader)
    assert close_fd(writer)


@pytest.mark.parametrize("verb", [set_fd_blocking, set_fd_non_blocking, close_fd, lambda fd: shutdown(fd, "rd")])
@pytest.mark.parametrize("fd", [-1, 999_999, 2**32, 2**70])
def test_what_is_not_open_is_false(verb: Callable[[Any], bool], fd: int) -> None:
    assert verb(fd) is False


@pytest.mark.parametrize("verb", [set_fd_blocking, set_fd_non_blocking, close_fd, lambda fd: shutdown(fd, "rd")])
def test_closed_socket_is_false(verb: Callable[[Any], bool], socket_pair: _Pair) -> None:
    socket_pair[0].close()
    assert verb(socket_pair[0]) is False


@pytest.mark.parametrize("verb", [set_fd_blocking, set_fd_non_blocking, close_fd, lambda fd: shutdown(fd, "rd")])
@pytest.mark.parametrize("fd", [True, "1", None, 1.0])
def test_what_is_no_descriptor(verb: Callable[[Any], bool], fd: Any) -> None:
    with pytest.raises(TypeError, match="must be a descriptor"):
        verb(fd)


@pytest.mark.parametrize("of", _FORMS)
@pytest.mark.parametrize(
    ("how", "can_read", "can_write"),
    [
        ("rd", False, True),
        ("wr", True, False),
        ("rdwr", False, False),
        (socket.SHUT_RD, False, True),
        (socket.SHUT_WR, True, False),
        (socket.SHUT_RDWR, False, False),
    ],
)
def test_shutdown(socket_pair: _Pair, of: Callable[[socket.socket], Any], how: str | int, can_read: bool, can_write: bool) -> None:
    left, right = socket_pair
    assert shutdown(of(left), how) is True
    for sock, writes in ((left, can_write), (right, can_read)):
        if writes:
            assert sock.send(b"x") == 1
        else:
            with pytest.raises(BrokenPipeError):
                sock.send(b"x")


def test_shutdown_that_the_kernel_refuses() -> None:
    with socket.socket() as unconnected, open(os.devnull) as file:
        assert shutdown(unconnected, "rdwr") is False
        assert shutdown(file, "rdwr") is False


@pytest.mark.parametrize("how", ["read", "", "RD", 3, -1, True, None, 1.0, b"rd"])
def test_other_directions(socket_pair: _Pair, how: Any) -> None:
    with pytest.raises(ValueError, match="how must be"):
        shutdown(socket_pair[0], how)
    assert socket_pair[0].send(b"x") == 1


def test_close_a_number() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    assert close_fd(fd) is True
    assert close_fd(fd) is False


def test_object_learns_that_it_is_closed(socket_pair: _Pair) -> None:
    assert close_fd(socket_pair[0]) is True
    assert socket_pair[0].fileno() == -1
    assert close_fd(socket_pair[0]) is False
    file = open(os.devnull)  # noqa: SIM115 - it is what is closed
    assert close_fd(file)
    assert file.closed
    assert not close_fd(file)


def test_object_that_cannot_close_itself() -> None:
    fd = socket.socket().detach()

    class Number:
        def fileno(self) -> int:
            return fd

    assert close_fd(Number()) is True
    assert close_fd(Number()) is False


# SIGPIPE


@pytest.fixture
def deadly_sigpipe() -> Iterator[None]:
    """A process that a SIGPIPE would end."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGPIPE, before)


@pytest.mark.usefixtures("deadly_sigpipe")
def test_ignore_sigpipe() -> None:
    assert set_ignore_sigpipe() is True
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)


@pytest.mark.usefixtures("deadly_sigpipe")
def test_ignore_sigpipe_outside_of_the_main_thread() -> None:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(set_ignore_sigpipe()))
    thread.start()
    thread.join()
    assert answers == [False]
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL


def test_platform_without_sigpipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGPIPE")
    assert set_ignore_sigpipe() is False
