"""Unix listeners and their paths: what is replaced, what is never touched, and what is removed at close."""

from __future__ import annotations

import errno
import os
import pathlib
import pwd
import socket
import stat
import subprocess
import sys
import threading
from typing import Any

import pytest

from eventsock.basic import ListenError, connect_to_unix_host, listen_on_unix_socket, socket_name


def _inode(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def _leave_stale(path: str, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(path)


def test_listens_and_removes_its_path_at_close(unix_path: str) -> None:
    listener = listen_on_unix_socket(unix_path)
    assert isinstance(listener, socket.socket)
    assert listener.getblocking()
    assert not listener.get_inheritable()
    with connect_to_unix_host(unix_path):
        pass
    listener.close()
    assert not os.path.lexists(unix_path)
    listener.close()


@pytest.mark.parametrize("convert", [str, os.fsencode, pathlib.Path])
def test_path_in_each_form(unix_path: str, convert: Any) -> None:
    with listen_on_unix_socket(convert(unix_path)) as listener:
        assert str(socket_name(listener)) == unix_path
    assert not os.path.lexists(unix_path)


def test_relative_path_is_removed_from_another_directory(unix_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.path.dirname(unix_path))
    with listen_on_unix_socket("socket"):
        monkeypatch.chdir("/")
    assert not os.path.lexists(unix_path)


def test_stale_socket_is_replaced(unix_path: str) -> None:
    _leave_stale(unix_path)
    with listen_on_unix_socket(unix_path), connect_to_unix_host(unix_path):
        pass


def test_stale_datagram_socket_is_replaced(unix_path: str) -> None:
    _leave_stale(unix_path, socket.SOCK_DGRAM)
    listen_on_unix_socket(unix_path).close()


def test_stale_socket_is_an_error_if_asked(unix_path: str) -> None:
    _leave_stale(unix_path)
    before = _inode(unix_path)
    with pytest.raises(ListenError) as caught:
        listen_on_unix_socket(unix_path, 5, True)
    assert caught.value.errno == errno.EADDRINUSE
    assert _inode(unix_path) == before


@pytest.mark.parametrize("error_on_existing", [False, True])
def test_live_server_keeps_its_path(unix_path: str, error_on_existing: bool) -> None:
    with listen_on_unix_socket(unix_path) as listener:
        with pytest.raises(ListenError, match=f"cannot listen on {unix_path}") as caught:
            listen_on_unix_socket(unix_path, error_on_existing=error_on_existing)
        assert caught.value.errno == errno.EADDRINUSE
        connect_to_unix_host(unix_path).close()
        listener.accept()[0].close()


def test_live_server_with_a_full_queue_keeps_its_path(unix_path: str) -> None:
    clients: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(unix_path)
        listener.listen(0)
        while not clients or not clients[-1].connect_ex(unix_path):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
        with pytest.raises(ListenError, match="a server is listening there"):
            listen_on_unix_socket(unix_path)
        for client in clients:
            client.close()
    assert os.path.lexists(unix_path)


def test_live_datagram_server_keeps_its_path(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(unix_path)
        with pytest.raises(ListenError, match="a server is listening there"):
            listen_on_unix_socket(unix_path)
        assert os.path.lexists(unix_path)


def _make_file(path: str) -> None:
    pathlib.Path(path).write_text("precious")


def _make_link(path: str) -> None:
    _leave_stale(path + ".target")
    os.symlink(path + ".target", path)


@pytest.mark.parametrize("make", [_make_file, os.mkdir, os.mkfifo, _make_link, lambda path: os.symlink("/nonexistent", path)])
def test_what_is_not_a_socket_is_left_alone(unix_path: str, make: Any) -> None:
    make(unix_path)
    before = _inode(unix_path)
    with pytest.raises(ListenError, match=f"cannot listen on {unix_path}: there is a file that is not a socket") as caught:
        listen_on_unix_socket(unix_path)
    assert caught.value.errno == errno.EADDRINUSE
    assert _inode(unix_path) == before
    if make is _make_file:
        assert pathlib.Path(unix_path).read_text() == "precious"


def test_path_that_somebody_else_has_taken_over_is_not_removed(unix_path: str) -> None:
    listener = listen_on_unix_socket(unix_path)
    os.unlink(unix_path)
    with listen_on_unix_socket(unix_path):
        listener.close()
        assert os.path.lexists(unix_path)
        connect_to_unix_host(unix_path).close()


def test_path_that_is_gone_is_no_matter(unix_path: str) -> None:
    with listen_on_unix_socket(unix_path):
        os.unlink(unix_path)


def test_detached_descriptor_keeps_its_path(unix_path: str) -> None:
    listener = listen_on_unix_socket(unix_path)
    with socket.socket(fileno=listener.detach()):
        listener.close()
        assert os.path.lexists(unix_path)


def test_copy_does_not_own_the_path(unix_path: str) -> None:
    with listen_on_unix_socket(unix_path) as listener:
        listener.dup().close()
        assert os.path.lexists(unix_path)


def test_accepted_connection_does_not_own_the_path(unix_path: str) -> None:
    with listen_on_unix_socket(unix_path) as listener:
        with connect_to_unix_host(unix_path), listener.accept()[0] as accepted:
            assert type(accepted) is socket.socket
        assert os.path.lexists(unix_path)


def test_child_process_does_not_remove_the_path(unix_path: str) -> None:
    with listen_on_unix_socket(unix_path) as listener:
        child = os.fork()
        if child == 0:
            listener.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert os.path.lexists(unix_path)
        connect_to_unix_host(unix_path).close()


# Mode and owner


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
def test_mode_does_not_depend_on_the_umask(unix_path: str, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        with listen_on_unix_socket(unix_path, mode=mode):
            assert _mode(unix_path) == mode
    finally:
        os.umask(before)


def test_mode_and_owner_are_set_before_anybody_can_connect(unix_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    listen = socket.socket.listen

    def looking(sock: socket.socket, backlog: int) -> None:
        seen.append((_mode(unix_path), os.stat(unix_path).st_uid))
        with pytest.raises(ConnectionRefusedError):
            connect_to_unix_host(unix_path)
        listen(sock, backlog)

    monkeypatch.setattr(socket.socket, "listen", looking)
    with listen_on_unix_socket(unix_path, mode=0o640, owner=os.getuid()):
        pass
    assert seen == [(0o640, os.getuid())]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_owner_by_number_and_by_name(unix_path: str) -> None:
    somebody = next(entry for entry in pwd.getpwall() if entry.pw_uid)
    for owner in (somebody.pw_uid, somebody.pw_name, (somebody.pw_name, somebody.pw_gid), (somebody.pw_uid, "root")):
        with listen_on_unix_socket(unix_path, owner=owner):
            found = os.stat(unix_path)
            assert found.st_uid == somebody.pw_uid
            assert found.st_gid == (somebody.pw_gid if owner == (somebody.pw_name, somebody.pw_gid) else 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_mode_keeps_others_out(unix_path: str) -> None:
    os.chmod(os.path.dirname(unix_path), 0o755)
    program = "import os, socket, sys; os.setuid(65534); sys.exit(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"
    with listen_on_unix_socket(unix_path, mode=0o600):
        assert subprocess.run([sys.executable, "-c", program, unix_path], check=False).returncode == errno.EACCES
    with listen_on_unix_socket(unix_path, mode=0o666):
        assert subprocess.run([sys.executable, "-c", program, unix_path], check=False).returncode == 0


@pytest.mark.parametrize(("mode", "error"), [(-1, ValueError), (0o10000, ValueError), ("600", TypeError), (True, TypeError)])
def test_mode_that_is_none(unix_path: str, mode: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="mode must be"):
        listen_on_unix_socket(unix_path, mode=mode)
    assert not os.path.lexists(unix_path)


@pytest.mark.parametrize(
    ("owner", "error"),
    [
        ("no such user", ValueError),
        (-2, ValueError),
        ((0, -7), ValueError),
        ((0, "no such group"), ValueError),
        (1.5, TypeError),
        ((0, None), TypeError),
    ],
)
def test_owner_that_is_none(unix_path: str, owner: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="owner"):
        listen_on_unix_socket(unix_path, owner=owner)
    assert not os.path.lexists(unix_path)


def test_failure_after_bind_leaves_no_path(unix_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(ListenError, match=f"cannot listen on {unix_path}: Operation not permitted") as caught:
        listen_on_unix_socket(unix_path, owner=os.getuid())
    assert isinstance(caught.value, PermissionError)
    assert not os.path.lexists(unix_path)


# Abstract names


def test_abstract_name() -> None:
    name = f"\0eventsock-{os.getpid()}"
    with listen_on_unix_socket(name) as listener:
        assert listener.getsockname() == name.encode()
        connect_to_unix_host(name).close()
        with pytest.raises(ListenError) as caught:
            listen_on_unix_socket(name)
        assert caught.value.errno == errno.EADDRINUSE
    listen_on_unix_socket(name).close()


def test_abstract_name_has_no_mode_and_no_owner() -> None:
    with pytest.raises(ValueError, match="abstract name has no mode"):
        listen_on_unix_socket("\0x", mode=0o600)
    with pytest.raises(ValueError, match="abstract name has no mode"):
        listen_on_unix_socket("\0x", owner=0)


# What is refused


@pytest.mark.parametrize("path", ["", "a\0b", b"a\0b"])
def test_path_that_is_none(path: Any) -> None:
    with pytest.raises(ValueError, match="pathname"):
        listen_on_unix_socket(path)


def test_path_that_is_too_long(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / ("x" * 108))
    with pytest.raises(ListenError, match="a Unix path may have 107 bytes") as caught:
        listen_on_unix_socket(path)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert isinstance(caught.value, ValueError)


def test_directory_that_is_missing(unix_path: str) -> None:
    with pytest.raises(ListenError, match="No such file or directory") as caught:
        listen_on_unix_socket(unix_path + "/deeper")
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("backlog", [1.5, "5", None, True])
def test_backlog_of_another_type(unix_path: str, backlog: Any) -> None:
    _leave_stale(unix_path)
    with pytest.raises(TypeError, match="backlog must be an int"):
        listen_on_unix_socket(unix_path, backlog)
    assert os.path.lexists(unix_path)


def test_no_descriptor_left(unix_path: str, no_descriptors: Any) -> None:
    with no_descriptors(), pytest.raises(ListenError) as caught:
        listen_on_unix_socket(unix_path)
    assert caught.value.errno == errno.EMFILE
    _leave_stale(unix_path)
    with no_descriptors(), pytest.raises(ListenError) as probing:
        listen_on_unix_socket(unix_path)
    assert probing.value.errno == errno.EMFILE
    assert os.path.lexists(unix_path)


def test_server_of_which_nothing_can_be_told_is_left_alone(unix_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _leave_stale(unix_path)
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EACCES)
    with pytest.raises(ListenError, match="cannot be told whether a server listens") as caught:
        listen_on_unix_socket(unix_path)
    assert caught.value.errno == errno.EADDRINUSE
    assert os.path.lexists(unix_path)


def test_socket_that_vanishes_while_it_is_probed(unix_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _leave_stale(unix_path)

    def vanish(*_: object) -> int:
        os.unlink(unix_path)
        return errno.ENOENT

    monkeypatch.setattr(socket.socket, "connect_ex", vanish)
    listen_on_unix_socket(unix_path).close()


def test_clients_are_served(unix_path: str) -> None:
    with listen_on_unix_socket(unix_path, 1) as listener:
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with connect_to_unix_host(unix_path) as client:
            assert client.recv(1) == b""
        thread.join()
