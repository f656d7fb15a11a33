"""Serving: whose errors are whose, what pauses accepting, and how a server ends."""

from __future__ import annotations

import errno
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from eventsock import (
    AcceptError,
    EventLoop,
    Stream,
    Task,
    TaskCancelled,
    a_sync,
    await_accept,
    await_connect_to_ipv4_host,
    await_serve,
    await_sleep,
    await_yield,
    run,
)
from eventsock.basic import SocketAddress, listen_on_ipv4_socket, listen_on_unix_socket
from loop_kit import Clock, until

Steps = Generator[Any, Any, Any]
Reports = list[tuple[BaseException, str]]


def _echo(stream: Stream, address: SocketAddress) -> Steps:
    while data := (yield from stream.await_getsome()):
        yield from stream.await_put_bytes(data)


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def _await_client(listener: socket.socket) -> Steps:
    return Stream((yield from await_connect_to_ipv4_host("127.0.0.1", _port(listener))))


def _await_answer(listener: socket.socket, word: bytes = b"hello") -> Steps:
    """What the server answers to `word` until it, or the client, has no more to say."""
    with (yield from _await_client(listener)) as client:
        yield from client.await_put_bytes(word)
        return (yield from client.await_getsome())


def _await_until(condition: Callable[[], object]) -> Steps:
    while not condition():
        yield from await_sleep(0.001)


def _await_stopped(server: Task[Any]) -> Steps:
    server.cancel()
    with pytest.raises(TaskCancelled):
        yield from server.await_result()


def _serving(handler: Callable[..., Any], client: Callable[[socket.socket], Steps], **options: Any) -> Reports:
    """Serve by `handler` while `client(listener)` runs; what was reported."""
    reports: Reports = []

    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0, 1024) as listener:
            options.setdefault("on_error", lambda error, where: reports.append((error, where)))
            server = a_sync(lambda: await_serve(handler, listener, **options))
            yield from client(listener)
            yield from _await_stopped(server)

    run(main)
    return reports


# Handlers


async def _async_echo(stream: Stream, address: SocketAddress) -> None:
    while data := await stream.await_getsome():
        await stream.await_put_bytes(data)


def _plain(stream: Stream, address: SocketAddress) -> None:
    assert stream.socket is not None
    stream.socket.send(b"hello")


def _closes_itself(stream: Stream, address: SocketAddress) -> Steps:
    with stream:
        yield from stream.await_put_bytes((yield from stream.await_getsome()))


@pytest.mark.parametrize("handler", [_echo, _async_echo, _plain, _closes_itself])
def test_every_kind_of_handler(handler: Any) -> None:
    def client(listener: socket.socket) -> Steps:
        assert (yield from _await_answer(listener)) == b"hello"

    assert _serving(handler, client) == []


def test_the_stream_is_closed_after_the_handler_and_the_address_is_the_clients() -> None:
    streams: list[Stream] = []
    addresses: list[SocketAddress] = []

    def handler(stream: Stream, address: SocketAddress) -> None:
        streams.append(stream)
        addresses.append(address)

    def client(listener: socket.socket) -> Steps:
        with (yield from _await_client(listener)) as stream:
            assert (yield from stream.await_getsome()) == b""
            assert [address.native for address in addresses] == [stream.socket.getsockname()]

    assert _serving(handler, client) == []
    assert [stream.closed for stream in streams] == [True]


def test_several_listeners(tmp_path: Any) -> None:
    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0) as one, listen_on_ipv4_socket(True, 0) as two, listen_on_unix_socket(tmp_path / "u") as three:
            server = a_sync(await_serve, _echo, one, two, three)
            for listener in (one, two):
                assert (yield from _await_answer(listener)) == b"hello"
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(tmp_path / "u"))
                with Stream(sock) as client:
                    yield from client.await_put_bytes(b"x")
                    assert (yield from client.await_getsome()) == b"x"
            yield from _await_stopped(server)
            assert min(one.fileno(), two.fileno(), three.fileno()) > 0

    run(main)


def test_500_clients_at_once() -> None:
    def client(listener: socket.socket) -> Steps:
        tasks = [a_sync(_await_answer, listener, b"%d" % number) for number in range(500)]
        for number, task in enumerate(tasks):
            assert (yield from task.await_result()) == b"%d" % number

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[0] < 2000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    try:
        assert _serving(_echo, client) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# Errors of connections


def test_fault_36_an_error_ends_its_own_connection_and_is_reported_once() -> None:
    def handler(stream: Stream, address: SocketAddress) -> Steps:
        word = yield from stream.await_getsome()
        if word == b"boom":
            raise ValueError(f"from {address}")
        yield from stream.await_put_bytes(word)

    def client(listener: socket.socket) -> Steps:
        with (yield from _await_client(listener)) as early:
            assert (yield from _await_answer(listener, b"boom")) == b""
            assert (yield from _await_answer(listener)) == b"hello"
            yield from early.await_put_bytes(b"still there")
            assert (yield from early.await_getsome()) == b"still there"

    [(error, where)] = _serving(handler, client)
    assert type(error) is ValueError
    assert where == f"the connection from {str(error)[5:]}"
    assert any(frame.name == "handler" for frame in _frames(error))


def _frames(error: BaseException) -> Any:
    return traceback.extract_tb(error.__traceback__)


@pytest.mark.parametrize("plain", [False, True])
def test_fault_36_an_error_in_the_first_step_too(plain: bool) -> None:
    def crash(stream: Stream, address: SocketAddress) -> None:
        raise ValueError("at once")

    async def crash_async(stream: Stream, address: SocketAddress) -> None:
        raise ValueError("at once")

    def client(listener: socket.socket) -> Steps:
        for _ in range(3):
            assert (yield from _await_answer(listener)) == b""

    reports = _serving(crash if plain else crash_async, client)
    assert [str(error) for error, _ in reports] == ["at once"] * 3


def test_fault_36_by_default_the_error_goes_to_stderr_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    def crash(stream: Stream, address: SocketAddress) -> None:
        raise ValueError("at once")

    def client(listener: socket.socket) -> Steps:
        assert (yield from _await_answer(listener)) == b""

    _serving(crash, client, on_error=None)
    told = capsys.readouterr().err
    assert "error in the connection from 127.0.0.1:" in told
    assert "in crash" in told
    assert told.count("ValueError: at once") == 1


def test_fault_35_a_client_gone_before_it_is_accepted_is_its_own_affair() -> None:
    def client(listener: socket.socket) -> Steps:
        for _ in range(100):
            with socket.create_connection(listener.getsockname()) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert (yield from _await_answer(listener)) == b"hello"

    for error, where in _serving(_echo, client):
        assert isinstance(error, ConnectionError)
        assert where.startswith("the connection from 127.0.0.1:")


def test_an_on_error_that_raises_ends_the_server_with_its_error() -> None:
    def crash(stream: Stream, address: SocketAddress) -> None:
        raise ValueError("the handler's")

    def on_error(error: BaseException, where: str) -> None:
        raise RuntimeError("the reporter's")

    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0) as listener, socket.create_connection(listener.getsockname()):
            yield from await_serve(crash, listener, on_error=on_error)

    with pytest.raises(RuntimeError, match="the reporter's"):
        run(main)


@pytest.mark.parametrize(
    ("error", "first"), [(SystemExit, False), (SystemExit, True), (KeyboardInterrupt, False), (KeyboardInterrupt, True)]
)
def test_fault_37_an_exit_in_a_handler_leaves_the_loop(error: type[BaseException], first: bool) -> None:
    ended: list[str] = []

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        if not first:
            yield from stream.await_getsome()
        raise error(7)
        yield

    def main(listener: socket.socket) -> Steps:
        try:
            yield from await_serve(handler, listener, on_error=lambda *report: ended.append("reported"))
        finally:
            ended.append("server")

    with listen_on_ipv4_socket(True, 0) as listener, socket.create_connection(listener.getsockname()) as client:
        client.send(b"x")
        with pytest.raises(error) as caught:
            run(main, listener)
    assert caught.value.args == (7,)
    assert ended == ["server"]


def test_fault_37_also_before_the_loop_runs() -> None:
    def handler(stream: Stream, address: SocketAddress) -> None:
        raise SystemExit(7)

    with (
        listen_on_ipv4_socket(True, 0) as listener,
        socket.create_connection(listener.getsockname()),
        EventLoop() as loop,
    ):
        server = a_sync(await_serve, handler, listener, loop=loop)
        with pytest.raises(SystemExit):
            loop.run()
        assert server.done


# Out of descriptors, and limits


def test_fault_29_out_of_descriptors_accepting_pauses_and_recovers() -> None:
    program = textwrap.dedent("""
        import resource, sys
        from eventsock import await_serve, run
        from eventsock.basic import listen_on_ipv4_socket

        def echo(stream, address):
            while data := (yield from stream.await_getsome()):
                yield from stream.await_put_bytes(data)

        def told(error, where):
            print(type(error).__name__, error.errno, where, file=sys.stderr, flush=True)

        listener = listen_on_ipv4_socket(True, 0, 256)
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        print(listener.getsockname()[1], flush=True)
        run(lambda: await_serve(echo, listener, on_error=told))
    """)
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    clients: list[socket.socket] = []
    try:
        assert server.stdout is not None
        address = ("127.0.0.1", int(server.stdout.readline()))
        clients += [socket.create_connection(address, 5) for _ in range(80)]
        cpu = _cpu_seconds(server.pid)
        began = time.monotonic()
        while time.monotonic() < began + 1.5:
            clients[0].send(b"x")
            assert clients[0].recv(1) == b"x"  # old clients are served
            time.sleep(0.05)
        assert _cpu_seconds(server.pid) - cpu < 0.15
        for client in clients[:60]:
            client.close()
        clients[-1].send(b"y")
        clients[-1].settimeout(1.0)
        assert clients[-1].recv(1) == b"y"  # and the others as soon as there is room
    finally:
        for client in clients:
            client.close()
        server.send_signal(signal.SIGKILL)
        _, told = server.communicate()
    assert told.splitlines() == [f"AcceptError 24 accepting on 127.0.0.1:{address[1]}, which pauses until there is room"]


class _Exhausted(socket.socket):
    """A listener that has no descriptor for its next client while `code` is not 0."""

    code = 0
    tries = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.code:
            raise OSError(self.code, "scripted")
        return super().accept()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("end", ["a connection ends", "half a second is over"])
def test_faults_29_and_31_the_pause_ends_with_a_connection_or_in_time(code: int, end: str) -> None:
    clock = Clock()
    reports: Reports = []
    with ExitStack() as things:
        listener = things.enter_context(_Exhausted())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        loop = things.enter_context(EventLoop(clock=clock))
        server = a_sync(lambda: await_serve(_echo, listener, on_error=lambda *report: reports.append(report)), loop=loop)
        first = things.enter_context(socket.create_connection(listener.getsockname()))
        until(loop, lambda: loop.statistics().tasks == 3)
        listener.code = code
        second = things.enter_context(socket.create_connection(listener.getsockname()))
        second.send(b"x")
        until(loop, lambda: reports)
        tries = listener.tries
        for _ in range(20):
            loop.step()
        assert listener.tries == tries
        assert [(type(error), error.errno) for error, _ in reports if isinstance(error, AcceptError)] == [(AcceptError, code)]
        listener.code = 0
        if end == "a connection ends":
            first.close()
        else:
            clock.advance(0.5)
        until(loop, lambda: _has_input(second))
        assert second.recv(1) == b"x"
        server.cancel()
        until(loop, lambda: server.done)


def _has_input(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_fault_38_no_more_connections_than_the_limit_and_each_gets_its_turn() -> None:
    alive = 0
    most = 0

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        try:
            word = yield from stream.await_getsome()
            yield from await_yield()
            if word == b"7":
                raise ValueError("frees its place too")
            yield from stream.await_put_bytes(word)
        finally:
            alive -= 1

    def client(listener: socket.socket) -> Steps:
        tasks = [a_sync(_await_answer, listener, b"%d" % number) for number in range(50)]
        for number, task in enumerate(tasks):
            assert (yield from task.await_result()) == (b"" if number == 7 else b"%d" % number)

    assert [str(error) for error, _ in _serving(handler, client, max_connections=10)] == ["frees its place too"]
    assert most == 10


def test_fault_38_an_error_frees_its_place() -> None:
    def handler(stream: Stream, address: SocketAddress) -> Steps:
        word = yield from stream.await_getsome()
        if word == b"boom":
            raise ValueError("boom")
        yield from stream.await_put_bytes(word)

    def client(listener: socket.socket) -> Steps:
        assert (yield from _await_answer(listener, b"boom")) == b""
        assert (yield from _await_answer(listener)) == b"hello"

    assert [str(error) for error, _ in _serving(handler, client, max_connections=1)] == ["boom"]


def test_fault_38_the_limit_holds_for_all_listeners_together() -> None:
    alive = 0
    most = 0

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        yield from await_sleep(0.001)
        yield from stream.await_put_bytes(b"x")
        alive -= 1

    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0) as one, listen_on_ipv4_socket(True, 0) as two:
            server = a_sync(lambda: await_serve(handler, one, two, max_connections=1))
            yield from await_yield()
            tasks = [a_sync(_await_answer, listener) for _ in range(10) for listener in (one, two)]
            for task in tasks:
                assert (yield from task.await_result()) == b"x"
            yield from _await_stopped(server)

    run(main)
    assert most == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((_echo,), {}, ValueError),
        ((_echo, 5), {}, TypeError),
        ((None, "listener"), {}, TypeError),
        ((_echo, "listener"), {"max_connections": 0}, ValueError),
        ((_echo, "listener"), {"max_connections": 1.5}, TypeError),
        ((_echo, "listener"), {"on_error": 5}, TypeError),
        ((_echo, "listener"), {"grace": float("nan")}, ValueError),
        ((_echo, "listener"), {"grace": "5"}, TypeError),
    ],
)
def test_bad_arguments(arguments: Any, options: Any, error: type[Exception]) -> None:
    with listen_on_ipv4_socket(True, 0) as listener:
        given: Any = [listener if each == "listener" else each for each in arguments]
        with pytest.raises(error):
            await_serve(*given, **options)


# The end


def test_a_cancelled_server_ends_its_connections_with_their_finally_blocks() -> None:
    seen: list[str] = []

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        seen.append("began")
        try:
            yield from stream.await_getsome()
        finally:
            yield from stream.await_put_bytes(b"bye")
            yield from await_sleep(0.001)
            seen.append("ended")

    def client(listener: socket.socket) -> Steps:
        for _ in range(3):
            clients.append(socket.create_connection(listener.getsockname()))
        yield from _await_until(lambda: len(seen) == 3)

    clients: list[socket.socket] = []
    assert _serving(handler, client) == []
    assert seen == ["began"] * 3 + ["ended"] * 3
    for sock in clients:
        with sock:
            assert (sock.recv(9), sock.recv(9)) == (b"bye", b"")


def test_an_error_while_the_server_ends_is_reported() -> None:
    def handler(stream: Stream, address: SocketAddress) -> Steps:
        try:
            yield from stream.await_getsome()
        finally:
            raise ValueError("on the way out")

    def client(listener: socket.socket) -> Steps:
        clients.append(socket.create_connection(listener.getsockname()))
        yield from await_sleep(0.01)

    clients: list[socket.socket] = []
    assert [str(error) for error, _ in _serving(handler, client)] == ["on the way out"]
    clients[0].close()


@pytest.mark.parametrize(("seconds", "state"), [(0.01, "finished"), (60, "cut off")])
def test_fault_44_connections_may_finish_within_the_grace(seconds: float, state: str) -> None:
    seen: list[str] = []

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        seen.append("began")
        try:
            yield from await_sleep(seconds)
            seen.append("finished")
        except BaseException:
            seen.append("cut off")
            raise

    def client(listener: socket.socket) -> Steps:
        for _ in range(3):
            clients.append(socket.create_connection(listener.getsockname()))
        yield from _await_until(lambda: len(seen) == 3)

    clients: list[socket.socket] = []
    assert _serving(handler, client, grace=0.1) == []
    assert seen == ["began"] * 3 + [state] * 3
    for sock in clients:
        sock.close()


def test_fault_44_a_second_cancellation_ends_the_grace() -> None:
    def main() -> Steps:
        with listen_on_ipv4_socket(True, 0) as listener, socket.create_connection(listener.getsockname()) as sock:
            server = a_sync(lambda: await_serve(_echo, listener, grace=60))
            yield from await_sleep(0.01)
            server.cancel()
            yield from await_sleep(0.01)
            assert not server.done
            with socket.create_connection(listener.getsockname()) as late:
                late.send(b"x")
                sock.send(b"x")
                yield from await_sleep(0.01)
                assert sock.recv(1) == b"x"  # it is still served
                assert not _has_input(late)  # and is the last one that was accepted
                yield from _await_stopped(server)
                assert sock.recv(1) == b""

    run(main)


def test_fault_39_a_listener_that_is_closed_ends_the_server_with_an_error() -> None:
    ended: list[str] = []

    def handler(stream: Stream, address: SocketAddress) -> Steps:
        try:
            yield from stream.await_getsome()
        finally:
            ended.append("connection")

    def main() -> Steps:
        def close_listener() -> None:
            assert task is not None
            task.loop.forget(listener)
            listener.close()

        listener = listen_on_ipv4_socket(True, 0)
        with listen_on_ipv4_socket(True, 0) as other, socket.create_connection(other.getsockname()):
            task = Task.current()
            assert task is not None
            task.loop.timeout_post(0.01, close_listener, repeat=False)
            with pytest.raises(AcceptError, match="closed"):
                yield from await_serve(handler, listener, other)
            with socket.create_connection(other.getsockname()) as sock:  # and has let go of the others
                connection, address = yield from await_accept(other)
                connection.close()
                assert address.native == sock.getsockname()

    run(main)
    assert ended == ["connection"]


def test_what_does_not_listen_ends_the_server() -> None:
    with socket.socket() as sock, pytest.raises(AcceptError):
        run(await_serve, _echo, sock)
