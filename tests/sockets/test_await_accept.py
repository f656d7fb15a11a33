"""Accepting in tasks: what it gives, who is served first, which errors are invisible, and what ends the wait."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections.abc import Generator
from typing import Any

import pytest

from eventsock import (
    AcceptError,
    BusyError,
    EventLoop,
    Task,
    TaskCancelled,
    a_sync,
    await_accept,
    await_accept_ipv4_connection,
    await_accept_ipv6_connection,
    await_accept_unix_connection,
    await_receive,
    await_sleep,
    await_yield,
    run,
)
from eventsock.basic import (
    SocketAddress,
    connect_to_unix_host,
    inet_address,
    listen_on_ipv4_socket,
    listen_on_ipv6_socket,
    listen_on_unix_socket,
)
from eventsock.testing.sweep import cancel_sweep

Steps = Generator[Any, Any, Any]


def _client(listener: socket.socket) -> socket.socket:
    client = socket.socket(listener.family)
    client.connect(listener.getsockname())
    return client


class _Scripted(socket.socket):
    """A listener whose accept fails with each of `errors` first."""

    errors: list[int]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise OSError(self.errors.pop(), "scripted")
        return super().accept()


def _scripted(*errors: int) -> _Scripted:
    listener = _Scripted()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.errors = list(errors)
    return listener


# What it gives


def test_a_connection_and_its_address() -> None:
    with listen_on_ipv4_socket(True, 0) as listener, _client(listener) as client:
        sock, address = run(await_accept, listener)
        with sock:
            assert address == inet_address(*client.getsockname())
            assert type(sock) is socket.socket
            assert sock.gettimeout() == 0.0
            assert not sock.get_inheritable()
            assert listener.gettimeout() == 0.0
            client.send(b"x")
            assert sock.recv(1) == b"x"


def test_ipv6_and_unix_clients(tmp_path: Any) -> None:
    with listen_on_ipv6_socket(True, 0) as listener, _client(listener) as client:
        sock, address = run(await_accept_ipv6_connection, listener)
        with sock:
            assert address == SocketAddress.from_native(socket.AF_INET6, client.getsockname())
    with listen_on_unix_socket(tmp_path / "u") as listener, connect_to_unix_host(tmp_path / "u"):
        sock, address = run(await_accept_unix_connection, listener)
        with sock:
            assert (address.family, address.path) == (socket.AF_UNIX, "")


def test_works_in_an_async_def() -> None:
    async def main(listener: socket.socket) -> int:
        sock, _ = await await_accept_ipv4_connection(listener)
        with sock:
            return sock.fileno()

    with listen_on_ipv4_socket(True, 0) as listener, _client(listener):
        assert run(main, listener) > 2


@pytest.mark.parametrize("accept", [await_accept_ipv6_connection, await_accept_unix_connection])
def test_another_family_is_refused(accept: Any) -> None:
    with listen_on_ipv4_socket(True, 0) as listener, pytest.raises(ValueError, match="AF_INET"):
        run(accept, listener)


@pytest.mark.parametrize("dress", [socket.socket.fileno, lambda listener: _Thing(listener)])
def test_takes_numbers_and_objects_with_a_number(dress: Any) -> None:
    def main(file: Any) -> Steps:
        task = a_sync(await_accept_ipv4_connection, file)  # waits
        with _client(listener) as client:
            sock, address = yield from task.await_result()
            with sock:
                assert address.native == client.getsockname()
                assert (sock.type, sock.gettimeout()) == (socket.SOCK_STREAM, 0.0)

    with listen_on_ipv4_socket(True, 0) as listener:
        run(main, dress(listener))
        assert listener.fileno() > 0


class _Thing:
    def __init__(self, sock: socket.socket) -> None:
        self.fileno = sock.fileno


def test_does_not_suspend_if_a_connection_waits() -> None:
    def main() -> Steps:
        task = a_sync(await_accept, listener)
        assert task.done
        task.result()[0].close()
        yield from await_yield()

    with listen_on_ipv4_socket(True, 0) as listener, _client(listener):
        run(main)


def test_makes_a_blocking_listener_non_blocking_and_waits() -> None:
    def main() -> Steps:
        task = a_sync(await_accept, listener)
        yield from await_sleep(0.01)
        assert not task.done
        with _client(listener):
            (yield from task.await_result())[0].close()

    with listen_on_ipv4_socket(True, 0) as listener:
        listener.settimeout(5)
        run(main)
        assert listener.gettimeout() == 0.0


# Several in line


def _accept_and_note(listener: socket.socket, name: str, seen: list[str]) -> Steps:
    sock, _ = yield from await_accept(listener)
    sock.close()
    seen.append(name)


def _in_line(listener: socket.socket, names: str, cancelled: str, clients: int) -> list[str]:
    """Who is served, in order, if all of `names` wait and `cancelled` are then cancelled."""
    seen: list[str] = []

    def main() -> Steps:
        tasks = {name: a_sync(_accept_and_note, listener, name, seen) for name in names}
        for name in cancelled:
            tasks[name].cancel()
        for name in cancelled:
            with pytest.raises(TaskCancelled):
                yield from tasks[name].await_result()
        made = [_client(listener) for _ in range(clients)]
        for name in names:
            if name not in cancelled:
                yield from tasks[name].await_result()
        for client in made:
            client.close()

    run(main)
    return seen


@pytest.mark.parametrize(("cancelled", "served"), [("", "abc"), ("a", "bc"), ("b", "ac"), ("c", "ab"), ("ac", "b")])
def test_first_come_first_served_whoever_leaves(cancelled: str, served: str) -> None:
    with listen_on_ipv4_socket(True, 0) as listener:
        assert "".join(_in_line(listener, "abc", cancelled, len(served))) == served


def test_who_accepts_again_goes_to_the_end() -> None:
    seen: list[str] = []

    def twice(listener: socket.socket, name: str) -> Steps:
        for _ in range(2):
            yield from _accept_and_note(listener, name, seen)

    def main() -> Steps:
        tasks = [a_sync(twice, listener, name) for name in "ab"]
        clients = [_client(listener) for _ in range(4)]
        for task in tasks:
            yield from task.await_result()
        for client in clients:
            client.close()

    with listen_on_ipv4_socket(True, 0) as listener:
        run(main)
    assert seen == ["a", "b", "a", "b"]


def test_a_task_that_gave_its_turn_away_does_not_jump_the_line() -> None:
    seen: list[str] = []

    def greedy(listener: socket.socket) -> Steps:
        for _ in range(100):  # its budget
            (yield from await_accept(listener))[0].close()
        yield from _accept_and_note(listener, "greedy", seen)

    def main() -> Steps:
        clients = [_client(listener) for _ in range(100)]
        first = a_sync(greedy, listener)
        second = a_sync(_accept_and_note, listener, "second", seen)
        clients += [_client(listener) for _ in range(2)]
        for task in (first, second):
            yield from task.await_result()
        for client in clients:
            client.close()

    with listen_on_ipv4_socket(True, 0, 256) as listener:
        run(main)
    assert seen == ["second", "greedy"]


def test_fault_34_a_flood_is_accepted_in_batches_and_starves_nobody() -> None:
    batches: list[int] = []

    def main() -> Steps:
        accepted = 0

        def accept() -> Steps:
            nonlocal accepted
            while True:
                (yield from await_accept(listener))[0].close()
                accepted += 1

        clients = [_client(listener) for _ in range(350)]
        task: Task[Any] = a_sync(accept)
        while accepted < 350:
            batches.append(accepted)
            yield from await_yield()
        task.cancel()
        for client in clients:
            client.close()

    with listen_on_ipv4_socket(True, 0, 1024) as listener:
        run(main)
    assert max(later - earlier for earlier, later in itertools.pairwise(batches)) <= 100


# Errors


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EINTR])
def test_faults_32_and_33_errors_of_one_connection_are_invisible(code: int) -> None:
    with _scripted(*[code] * 50) as listener, _client(listener):
        sock, _ = run(await_accept, listener)
        sock.close()
        assert not listener.errors


def test_fault_32_a_lasting_error_does_not_hold_the_loop_up() -> None:
    def main() -> Steps:
        task = a_sync(await_accept, listener)
        yield from await_sleep(0.01)  # comes back although each accept fails
        assert not task.done
        listener.errors.clear()
        (yield from task.await_result())[0].close()

    with _scripted(*[errno.ENETDOWN] * 10**6) as listener, _client(listener):
        run(main)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_fault_31_out_of_resources_is_an_accept_error(code: int) -> None:
    with _scripted(code) as listener, _client(listener):
        with pytest.raises(AcceptError) as caught:
            run(await_accept, listener)
        assert caught.value.errno == code
        assert str(caught.value.address) == f"127.0.0.1:{listener.getsockname()[1]}"
        run(await_accept, listener)[0].close()  # the connection is not lost


def test_what_does_not_listen_is_an_accept_error() -> None:
    with socket.socket() as sock, pytest.raises(AcceptError) as caught:
        run(await_accept, sock)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(AcceptError) as closed:
        run(await_accept, sock)
    assert closed.value.errno == errno.EBADF


def test_fault_35_a_client_that_is_gone_gives_its_address_or_nothing() -> None:
    def main() -> Steps:
        for _ in range(20):
            with _client(listener) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with _client(listener) as alive:
            for _ in range(21):
                sock, address = yield from await_accept(listener)
                sock.close()
                if address.native == alive.getsockname():
                    return

    with listen_on_ipv4_socket(True, 0) as listener:
        run(main)


def test_fault_39_forgetting_the_listener_wakes_all_who_wait() -> None:
    errors: list[AcceptError] = []

    def accept() -> Steps:
        try:
            yield from await_accept(listener)
        except AcceptError as error:
            errors.append(error)

    def main() -> Steps:
        tasks: list[Task[Any]] = [a_sync(accept) for _ in range(3)]
        tasks[0].loop.forget(listener)
        port = listener.getsockname()[1]
        listener.close()
        for task in tasks:
            yield from task.await_result()
        assert [error.errno for error in errors] == [errno.EBADF] * 3
        assert len(set(map(id, errors))) == 3  # each has a trace of its own
        listen_on_ipv4_socket(True, port).close()  # the port is free at once

    listener = listen_on_ipv4_socket(True, 0)
    run(main)


def test_fault_39_clients_in_the_queue_of_a_closed_listener_are_reset() -> None:
    listener = listen_on_ipv4_socket(True, 0)
    with _client(listener) as client:
        with EventLoop() as loop:
            loop.forget(listener)
            listener.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_watch_or_a_reader_is_busy() -> None:
    def main() -> Steps:
        loop = Task.current().loop  # type: ignore[union-attr]
        loop.add_read_watch(listener, lambda status: None)
        with pytest.raises(BusyError):
            yield from await_accept(listener)
        loop.remove_read_watch(listener)
        task = a_sync(await_accept, listener)
        with pytest.raises(BusyError):
            loop.add_read_watch(listener, lambda status: None)
        with pytest.raises(BusyError):
            yield from await_receive(listener, 1)
        task.cancel()
        yield from await_yield()

    with listen_on_ipv4_socket(True, 0) as listener:
        run(main)


def test_the_loop_ends_while_tasks_are_in_line() -> None:
    with listen_on_ipv4_socket(True, 0) as listener:
        with EventLoop() as loop:
            tasks = [a_sync(await_accept, listener, loop=loop) for _ in range(3)]
            loop.post(loop.quit)
            loop.run()
            assert all(task.done for task in tasks)
        with _client(listener):
            run(await_accept, listener)[0].close()


def test_cancelled_at_every_moment_it_leaves_nothing() -> None:
    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0) as listener, socket.socket() as client:
            client.setblocking(False)
            task = Task.current()
            assert task is not None
            task.loop.post(lambda: client.connect_ex(listener.getsockname()))
            sock, _ = yield from await_accept(listener)
            with sock:
                yield from await_yield()

    assert cancel_sweep(main) >= 2


def test_an_accepted_socket_is_closed_on_exec() -> None:
    with listen_on_ipv4_socket(True, 0) as listener, _client(listener):
        sock, _ = run(await_accept, listener)
        with sock:
            assert not os.get_inheritable(sock.fileno())
