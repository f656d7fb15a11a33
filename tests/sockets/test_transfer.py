"""Transfers on bare sockets: the twins of the blocking verbs, one user for each direction, and datagrams."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventsock import (
    BusyError,
    LoopStateError,
    SocketError,
    Stream,
    TaskCancelled,
    a_sync,
    await_receive,
    await_receive_from,
    await_receive_from_into,
    await_receive_into,
    await_send,
    await_send_all,
    await_send_to,
    await_yield,
    run,
)
from eventsock.basic import SocketAddress, SocketOptions, inet_address, socket_name, unix_address
from programs import ROOT
from stream_kit import Steps, Wait, both_ways, digest, most_in_a_turn, narrow, pattern, reset, told

Said = Callable[[Wait], Callable[[], Any]]
Pair = tuple[socket.socket, socket.socket]


@contextlib.contextmanager
def udp(family: int = socket.AF_INET, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        yield sock


def name_of(sock: socket.socket) -> SocketAddress:
    name = socket_name(sock)
    assert name is not None
    return name


@both_ways
@pytest.mark.parametrize(
    ("verb", "result"),
    [
        (lambda s: await_receive(s, 3), b"one"),
        (lambda s: await_receive(s, 100, socket.MSG_PEEK), b"one two"),
        (lambda s: await_receive(s, 0), b""),
        (lambda s: await_receive_into(s, bytearray(3)), 3),
        (lambda s: await_receive_into(s, bytearray(9), 2, 4), 2),
        (lambda s: await_receive_into(s, bytearray(0)), 0),
        (lambda s: await_receive_from(s, 7), (b"one two", SocketAddress(socket.AF_UNIX, ""))),
        (lambda s: await_receive_from_into(s, bytearray(100)), (7, SocketAddress(socket.AF_UNIX, ""))),
        (lambda s: await_send(s, b"xyz"), 3),
        (lambda s: await_send(s, memoryview(b"xyz"), 1), 2),
        (lambda s: await_send_all(s, b"xyz", 1, 2), None),
        (lambda s: await_send_all(s, b"xyz", send_size=1), None),
    ],
)
def test_each_verb(said: Said, socket_pair: Pair, verb: Callable[[socket.socket], Any], result: object) -> None:
    left, right = socket_pair
    right.sendall(b"one two")
    assert run(said(lambda: verb(left))) == result
    assert result in (b"", 0) or left.gettimeout() == 0


@both_ways
def test_send_to(said: Said) -> None:
    with udp() as one, udp() as other:
        assert run(said(lambda: await_send_to(one, b"datagram", name_of(other), 4))) == 4
        assert run(said(lambda: await_receive_from(other, 100))) == (b"gram", name_of(one))


def test_into_a_buffer(socket_pair: Pair) -> None:
    left, right = socket_pair
    buffer = bytearray(b"........")

    def body() -> Steps:
        waiting = a_sync(await_receive_into, left, buffer, 2, 5)
        yield from await_yield()
        right.sendall(b"abcdef")
        return (yield from waiting.await_result())

    assert run(body) == 3
    assert buffer == b"..abc..."


def wrong(value: object) -> Any:
    """What the type checker would not let pass."""
    return value


@pytest.mark.parametrize(
    "call",
    [
        lambda s: await_receive(s, -1),
        lambda s: await_receive(s, wrong("1")),
        lambda s: await_receive(s, 1, wrong("flags")),
        lambda s: await_receive_into(s, b"read only"),
        lambda s: await_receive_into(s, bytearray(3), 2, 1),
        lambda s: await_receive_from(s, wrong(2.5)),
        lambda s: await_send(s, wrong("text")),
        lambda s: await_send(s, b"x", 2),
        lambda s: await_send_to(s, b"x", wrong(("127.0.0.1", 80))),
        lambda s: await_send_all(s, b"x", send_size=0),
        lambda s: await_send_all(s, b"x", send_size=-1),
    ],
)
def test_fault_71_arguments_are_refused_before_any_call(socket_pair: Pair, call: Callable[[socket.socket], Any]) -> None:
    def body() -> Steps:
        with pytest.raises((TypeError, ValueError)):
            yield from call(socket_pair[0])
        assert socket_pair[0].gettimeout() is None

    run(body)


def test_fault_67_a_huge_size(socket_pair: Pair) -> None:
    socket_pair[1].sendall(b"few")
    assert run(lambda: await_receive(socket_pair[0], 1 << 40)) == b"few"


def test_outside_a_task_is_an_error(socket_pair: Pair) -> None:
    with pytest.raises(LoopStateError, match="outside a task"):
        await_receive(socket_pair[0], 1).send(None)


def test_any_object_with_a_descriptor(socket_pair: Pair) -> None:
    left, right = socket_pair

    class Holder:
        def fileno(self) -> int:
            return left.fileno()

    def body() -> Steps:
        for sock in (Holder(), left.fileno()):
            yield from await_send_all(sock, b"to you")
            assert right.recv(100) == b"to you"
            waiting = a_sync(await_receive, sock, 100)
            yield from await_yield()
            right.sendall(b"to me")
            assert (yield from waiting.await_result()) == b"to me"
            with pytest.raises(BusyError):
                yield from busy(sock)
        assert left.fileno() >= 0

    def busy(sock: Any) -> Steps:
        waiting = a_sync(await_receive, left, 100)
        try:
            yield from await_receive(sock, 100)
        finally:
            waiting.cancel()
            yield from await_yield()
            yield from await_yield()

    run(body)
    left.send(b"still open")


@pytest.mark.parametrize("sock", [None, "x", True, -1, 9999])
def test_what_is_no_socket_is_refused(sock: Any) -> None:
    def body() -> Steps:
        with pytest.raises((TypeError, SocketError)):
            yield from await_receive(sock, 1)

    run(body)


def test_a_pipe_is_no_socket() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(SocketError):
            run(lambda: await_receive(reader, 1))
    finally:
        os.close(reader)
        os.close(writer)


# One user


def test_fault_28_the_second_user_is_refused_before_anything_is_done(socket_pair: Pair) -> None:
    left, right = socket_pair

    def body() -> Steps:
        first = a_sync(await_receive, left, 1, name="first")
        right.sendall(b"ab")
        for make in (lambda: await_receive(left, 1), lambda: await_receive_into(left, bytearray(1)), lambda: await_receive_from(left, 1)):
            with pytest.raises(BusyError, match="'first'"):
                yield from make()
        yield from await_send_all(left, b"the other direction is free")
        return (yield from first.await_result())

    assert run(body) == b"a"


def test_a_transfer_holds_its_direction_for_the_whole_call(socket_pair: Pair) -> None:
    left, right = socket_pair
    narrow(left)

    def body() -> Steps:
        sending = a_sync(await_send_all, left, pattern(100_000))
        for _ in range(5):
            yield from await_yield()
            with pytest.raises(BusyError):
                yield from await_send(left, b"x")
            right.recv(1000)
        sending.cancel()
        with pytest.raises(TaskCancelled):
            yield from sending.await_result()
        yield from await_yield()

    run(body)


def test_a_stream_and_a_bare_transfer_do_not_mix(socket_pair: Pair) -> None:
    left, right = socket_pair
    with Stream(left) as stream:

        def body() -> Steps:
            reading = a_sync(stream.await_getline)
            with pytest.raises(BusyError):
                yield from await_receive(left, 1)
            right.sendall(b"line\n")
            return (yield from reading.await_result())

        assert run(body) == b"line"


# Streams of bytes


def test_fault_60_send_all_sends_all(socket_pair: Pair) -> None:
    left, right = socket_pair
    narrow(left)
    data = pattern(1_000_000)

    def receive() -> Steps:
        parts = []
        while part := (yield from await_receive(right, 50_000)):
            parts.append(part)
        return b"".join(parts)

    def body() -> Steps:
        receiving = a_sync(receive)
        yield from await_send_all(left, data)
        left.shutdown(socket.SHUT_WR)
        return (yield from receiving.await_result())

    assert digest(run(body)) == digest(data)


def test_what_ends_a_send_says_what_went_out(socket_pair: Pair) -> None:
    left, right = socket_pair

    def body() -> Steps:
        sending = a_sync(told(lambda: await_send_all(left, b"x" * 1_000_000), SocketError))
        yield from await_yield()
        right.close()
        error = yield from sending.await_result()
        assert 0 < error.sent < 1_000_000

    run(body)


def test_fault_57_a_broken_pipe_is_an_error_and_no_signal() -> None:
    program = """
import signal, socket
from eventsock import SocketError, await_send, await_send_all, run
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
left, right = socket.socketpair()
right.close()
def body():
    for send in (await_send, await_send_all):
        try:
            yield from send(left, b"x")
        except SocketError as error:
            print(error.errno)
run(body)
left.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "32\n32\n", "")


def test_fault_56_a_reset_wakes_a_receiver(tcp_pair: Pair) -> None:
    client, server = tcp_pair

    def body() -> Steps:
        receiving = a_sync(told(lambda: await_receive(server, 10), ConnectionResetError))
        yield from await_yield()
        reset(client)
        return (yield from receiving.await_result())

    error = run(body)
    assert isinstance(error, SocketError)


def test_fault_25_bare_transfers_starve_nobody(socket_pair: Pair) -> None:
    left, right = socket_pair

    def spin(count: Callable[[], None]) -> Steps:
        while True:
            yield from await_send_all(left, b"x")
            yield from await_receive(right, 10)
            count()

    assert 0 < most_in_a_turn(spin) <= 51  # an operation each, and the one that was begun before


def test_a_turn_is_given_away_before_an_operation_and_never_after_one_that_succeeded(socket_pair: Pair) -> None:
    """So whoever is ended there has lost nothing."""
    left, right = socket_pair
    data = bytes(range(200))
    left.send(data)
    got = bytearray()

    def reads() -> Steps:
        while True:
            got.extend((yield from await_receive(right, 1)))

    def body() -> Steps:
        task = a_sync(reads)
        assert 0 < len(got) < len(data)
        task.cancel()
        with pytest.raises(TaskCancelled):
            yield from task.await_result()

    run(body)
    assert got + right.recv(1000) == data


# Datagrams


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_datagrams_keep_their_borders_and_senders(family: int, host: str) -> None:
    with udp(family, host) as one, udp(family, host) as other:

        def collect() -> Steps:
            found = []
            for data in (b"first", b"", b"x" * 60_000):
                yield from await_send_to(one, data, name_of(other))
                received, sender = yield from await_receive_from(other, 65_536)
                found.append(received == data)
                assert sender == name_of(one)
                assert sender.packed == socket.inet_pton(family, host)
                assert sender.family == family
            return found

        assert run(collect) == [True, True, True]


def test_fault_73_an_empty_datagram_is_data() -> None:
    with udp() as one, udp() as other:

        def body() -> Steps:
            receiving = a_sync(await_receive_from, other, 10)
            yield from await_yield()
            yield from await_send_to(one, b"", name_of(other))
            yield from await_send_to(one, b"next", name_of(other))
            return (yield from receiving.await_result())[0], (yield from await_receive_from(other, 10))[0]

        assert run(body) == (b"", b"next")


def test_fault_73_a_datagram_that_is_too_long_is_an_error_with_its_beginning() -> None:
    with udp() as one, udp() as other:

        def body() -> Steps:
            for _ in range(4):
                yield from await_send_to(one, b"0123456789", name_of(other))
            with pytest.raises(SocketError, match="more than the 4 bytes") as caught:
                yield from await_receive_from(other, 4)
            assert (caught.value.errno, caught.value.partial, caught.value.address) == (90, b"0123", name_of(one))
            with pytest.raises(SocketError) as caught:
                yield from await_receive_from_into(other, bytearray(5))
            assert (caught.value.errno, caught.value.partial) == (90, b"01234")
            data, _ = yield from await_receive_from(other, 3, socket.MSG_PEEK)
            assert data == b"012"
            data, _ = yield from await_receive_from(other, 3, socket.MSG_TRUNC)
            assert data == b"012"
            data, _ = yield from await_receive_from(other, 10)
            return data

        assert run(body) == b"0123456789"


def test_fault_73_errors_of_datagrams_leave_the_socket_usable(refused_port: int) -> None:
    with udp() as one, udp() as other:

        def body() -> Steps:
            with pytest.raises(SocketError) as caught:
                yield from await_send_to(one, b"x" * 70_000, name_of(other))
            assert caught.value.errno == 90
            one.connect(("127.0.0.1", refused_port))
            yield from await_send(one, b"to nobody")
            with pytest.raises(ConnectionRefusedError):
                yield from await_receive(one, 10)
            one.connect(other.getsockname())
            yield from await_send(one, b"to somebody")
            data, sender = yield from await_receive_from(other, 100)
            other.connect(one.getsockname())
            yield from await_send_all(other, b"abcdef", send_size=2)
            parts = []
            for _ in range(3):
                part, peer = yield from await_receive_from(one, 100)
                assert peer == name_of(other)
                parts.append(part)
            return data, sender, parts

        assert run(body) == (b"to somebody", name_of(one), [b"ab", b"cd", b"ef"])


def test_fault_73_a_full_interface_is_told_to_the_sender_and_the_socket_stays_usable() -> None:
    class Full(socket.socket):
        full = True

        def sendto(self, *args: Any) -> int:
            if self.full:
                raise OSError(errno.ENOBUFS, "No buffer space available")
            return super().sendto(*args)

    with udp() as other, Full(socket.AF_INET, socket.SOCK_DGRAM) as one:

        def body() -> Steps:
            waiting = a_sync(await_receive_from, one, 10)
            with pytest.raises(SocketError) as caught:
                yield from await_send_to(one, b"x", name_of(other))
            assert caught.value.errno == errno.ENOBUFS
            one.full = False
            yield from await_send_to(one, b"y", name_of(other))
            data, sender = yield from await_receive_from(other, 10)
            yield from await_send_to(other, data, sender)
            return (yield from waiting.await_result())

        assert run(body) == (b"y", name_of(other))


def test_datagrams_between_paths(unix_path: str) -> None:
    name = f"\0eventsock test {os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(unix_path)

        def body() -> Steps:
            yield from await_send_to(one, b"unnamed", unix_address(unix_path))
            data, sender = yield from await_receive_from(other, 100)
            assert (data, sender.path) == (b"unnamed", "")
            one.bind(name)
            yield from await_send_to(one, b"named", unix_address(unix_path))
            return (yield from await_receive_from(other, 100))

        data, sender = run(body)
        assert (data, sender.path) == (b"named", name)


def test_a_full_queue_is_waited_for(unix_path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(unix_path)

        def send() -> Steps:
            for i in range(1000):
                yield from await_send_to(one, b"%d" % i, unix_address(unix_path))

        def body() -> Steps:
            sending = a_sync(send)
            found = []
            for _ in range(1000):
                data, _ = yield from await_receive_from(other, 10)
                found.append(int(data))
            yield from sending.await_result()
            return found

        assert run(body) == list(range(1000))


def test_multicast() -> None:
    group = "224.0.0.251"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, udp() as sender:
        receiver.bind((group, 0))
        options = SocketOptions(receiver)
        try:
            options.ip_add_membership = (group, "127.0.0.1")
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, struct.pack("b", 1))
            sender.sendto(b"", (group, 9))
        except OSError as error:
            pytest.skip(f"no multicast on this machine's loopback interface: {error}")

        def body() -> Steps:
            yield from await_send_to(sender, b"to the group", inet_address(group, receiver.getsockname()[1]))
            return (yield from await_receive_from(receiver, 100))

        assert run(body) == (b"to the group", name_of(sender))
        options.ip_drop_membership = (group, "127.0.0.1")


def test_fault_135_many_small_datagrams() -> None:
    with udp() as one, udp() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        name = name_of(other)

        def body() -> Steps:
            for i in range(5000):
                yield from await_send_to(one, b"%d" % i, name)
                data, _ = yield from await_receive_from(other, 16)
                assert data == b"%d" % i

        run(body)
