"""`python3 -m eventsock relay`: bytes, ends and resets go through it in both directions, between TCP and Unix sockets.

Knows the command from outside: its output, its exit status, its sockets. Both ends of each pair are plain sockets of this process.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from programs import StartProgram

_RESET = struct.pack("ii", 1, 0)


def _address(sock: socket.socket) -> str:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return str(name)
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _connect(address: str) -> socket.socket:
    if "/" in address:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(address)
        return client
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def _all_of(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@dataclass
class Relayed:
    """A relay that runs, where it listens, and the listener it relays to."""

    program: subprocess.Popen[str]
    address: str
    target: socket.socket
    things: ExitStack = field(default_factory=ExitStack)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client, and the target's end of its connection."""
        client = self.things.enter_context(_connect(self.address))
        self.target.settimeout(10)
        server = self.things.enter_context(self.target.accept()[0])
        server.settimeout(10)
        return client, server

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.program.send_signal(number)
        output, errors = self.program.communicate()
        return self.program.returncode, output, errors


StartRelay = Callable[..., Relayed]


@pytest.fixture
def start_relay(start_program: StartProgram) -> Iterator[StartRelay]:
    with ExitStack() as things:

        def start(listen: str, target: socket.socket, *options: str) -> Relayed:
            program = start_program("-m", "eventsock", "relay", listen, _address(target), *options)
            assert program.stdout is not None
            line = program.stdout.readline()
            assert line.startswith("listening on "), program.communicate()
            return Relayed(program, line.removeprefix("listening on ").rstrip("\n"), target, things)

        yield start


@pytest.fixture
def unix_listener(unix_path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{unix_path}-target")
        listener.listen()
        yield listener


@pytest.mark.parametrize("target", ["tcp_listener", "unix_listener"])
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", ":0", "localhost:0", "unix:", ""])
def test_bytes_go_both_ways(request: pytest.FixtureRequest, start_relay: StartRelay, unix_path: str, listen: str, target: str) -> None:
    if listen in ("unix:", ""):
        listen += unix_path
    relayed = start_relay(listen, request.getfixturevalue(target))
    client, server = relayed.pair()
    client.sendall(b"a question")
    assert server.recv(100) == b"a question"
    server.sendall(b"an answer")
    assert client.recv(100) == b"an answer"
    assert relayed.stop() == (0, "", "")
    assert not os.path.exists(unix_path)


def test_target_by_name_and_on_this_machine(start_program: StartProgram, tcp_listener: socket.socket) -> None:
    port = tcp_listener.getsockname()[1]
    for target in (f"localhost:{port}", f":{port}"):
        program = start_program("-m", "eventsock", "relay", ":0", target)
        assert program.stdout is not None
        client = _connect(program.stdout.readline().removeprefix("listening on ").rstrip("\n"))
        with client, tcp_listener.accept()[0] as server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"


def test_much_goes_through_both_ways_at_once(start_relay: StartRelay, tcp_listener: socket.socket) -> None:
    client, server = start_relay(":0", tcp_listener).pair()
    much = os.urandom(1 << 20) * 20  # without a newline, as it happens: nothing here looks for one
    received: dict[str, bytes] = {}

    def send(sock: socket.socket) -> None:
        sock.sendall(much)
        sock.shutdown(socket.SHUT_WR)

    def receive(name: str, sock: socket.socket) -> None:
        received[name] = hashlib.sha256(_all_of(sock)).digest()

    threads = [Thread(target=send, args=(sock,)) for sock in (client, server)]
    threads += [Thread(target=receive, args=(name, sock)) for name, sock in (("client", client), ("server", server))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert received == dict.fromkeys(("client", "server"), hashlib.sha256(much).digest())


@pytest.mark.parametrize("target", ["tcp_listener", "unix_listener"])
@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_is_handed_on(request: pytest.FixtureRequest, start_relay: StartRelay, first: str, target: str) -> None:
    ends = start_relay(":0", request.getfixturevalue(target)).pair()
    one, other = ends if first == "client" else reversed(ends)
    one.sendall(b"all I have to say")
    one.shutdown(socket.SHUT_WR)
    assert _all_of(other) == b"all I have to say"
    for _ in range(3):  # the other direction is as open as before
        other.sendall(b"more")
        assert one.recv(100) == b"more"
    other.shutdown(socket.SHUT_WR)
    assert one.recv(1) == b""


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_ends_its_own_pair_only(start_relay: StartRelay, tcp_listener: socket.socket, who: str) -> None:
    relayed = start_relay(":0", tcp_listener)
    polite, its_server = relayed.pair()
    ends = relayed.pair()
    rude, other = ends if who == "client" else reversed(ends)
    rude.sendall(b"half a word")
    assert other.recv(100) == b"half a word"
    _reset(rude)
    with pytest.raises(ConnectionResetError):  # and not an end, after which all would seem complete
        other.recv(1)
    polite.sendall(b"still there?")
    assert its_server.recv(100) == b"still there?"
    assert relayed.stop() == (0, "", "")


def test_answer_of_a_target_that_stopped_listening_arrives(start_relay: StartRelay, unix_listener: socket.socket) -> None:
    client, server = start_relay(":0", unix_listener).pair()
    server.shutdown(socket.SHUT_RD)  # from now on writing to it fails
    client.sendall(b"a long story")
    server.sendall(b"enough")
    assert client.recv(100) == b"enough"
    server.sendall(b", thank you")
    server.shutdown(socket.SHUT_WR)
    assert _all_of(client) == b", thank you"


def test_client_that_leaves_at_once(start_relay: StartRelay, tcp_listener: socket.socket) -> None:
    relayed = start_relay(":0", tcp_listener)
    _connect(relayed.address).close()
    tcp_listener.settimeout(10)
    with tcp_listener.accept()[0] as abandoned:
        assert abandoned.recv(1) == b""
    client, server = relayed.pair()
    client.sendall(b"next")
    assert server.recv(100) == b"next"


def test_refusing_target_costs_the_client_its_connection(start_program: StartProgram, refused_port: int) -> None:
    program = start_program("-m", "eventsock", "relay", ":0", f"127.0.0.1:{refused_port}")
    assert program.stdout is not None
    address = program.stdout.readline().removeprefix("listening on ").rstrip("\n")
    names = []
    for _ in range(2):
        with _connect(address) as client:
            names.append(_address(client))
            assert client.recv(1) == b""
    program.send_signal(signal.SIGTERM)
    output, errors = program.communicate()
    reason = f"[Errno {errno.ECONNREFUSED}] cannot connect to 127.0.0.1:{refused_port}: Connection refused"
    assert (program.returncode, output) == (0, "")
    assert errors == "".join(f"eventsock relay: {name} is turned away: {reason}\n" for name in names)


def test_verbose_tells_of_each_pair(start_relay: StartRelay, tcp_listener: socket.socket) -> None:
    relayed = start_relay(":0", tcp_listener, "-v")
    client, server = relayed.pair()
    name = _address(client)
    client.sendall(b"123")
    assert server.recv(100) == b"123"
    for sock in (server, client):
        sock.shutdown(socket.SHUT_WR)
    assert client.recv(1) == server.recv(1) == b""
    rude, server = relayed.pair()
    rude_name = _address(rude)
    _reset(rude)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    # The lines may be behind what the sockets tell, so they are awaited.
    assert relayed.program.stdout is not None
    assert [relayed.program.stdout.readline() for _ in range(4)] == [
        f"connection from {name} to {_address(tcp_listener)}\n",
        f"end of {name}: 3 bytes there, 0 bytes back: both have ended\n",
        f"connection from {rude_name} to {_address(tcp_listener)}\n",
        f"end of {rude_name}: 0 bytes there, 0 bytes back: Connection reset by peer\n",
    ]
    assert relayed.stop() == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_in_the_midst_of_pairs(start_relay: StartRelay, tcp_listener: socket.socket, number: int) -> None:
    relayed = start_relay(":0", tcp_listener)
    client, server = relayed.pair()
    assert relayed.stop(number) == (0, "", "")
    assert client.recv(1) == server.recv(1) == b""


def test_out_of_descriptors_it_says_so_once_and_goes_on(start_program: StartProgram, tcp_listener: socket.socket) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))"
    program = start_program(
        "-c", f"{limit}; from eventsock.__main__ import main; main(sys.argv[1:])", "relay", ":0", _address(tcp_listener)
    )
    assert program.stdout is not None
    address = program.stdout.readline().removeprefix("listening on ").rstrip("\n")
    with ExitStack() as things:
        for _ in range(20):
            things.enter_context(_connect(address))
        assert program.stderr is not None
        assert "Too many open files" in program.stderr.readline()
    tcp_listener.settimeout(10)
    with _connect(address) as client:
        client.sendall(b"patience")
        while True:
            with tcp_listener.accept()[0] as server:
                if server.recv(100) == b"patience":
                    break
    program.send_signal(signal.SIGTERM)
    _, errors = program.communicate()
    assert all(line.startswith("eventsock relay: ") and "Too many open files" in line for line in errors.splitlines())


def _fail(start_program: StartProgram, *arguments: str) -> str:
    program = start_program("-m", "eventsock", "relay", *arguments)
    output, errors = program.communicate()
    assert (program.returncode, output) == (1, "")
    assert errors.count("\n") == 1
    return errors.rstrip("\n")


def test_port_in_use(start_program: StartProgram, tcp_listener: socket.socket) -> None:
    address = _address(tcp_listener)
    assert _fail(start_program, address, ":80") == f"eventsock relay: [Errno 98] cannot listen on {address}: Address already in use"


def test_file_at_the_unix_path_is_kept(start_program: StartProgram, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    assert f"cannot listen on {precious}: " in _fail(start_program, str(precious), ":80")
    assert precious.read_text() == "keep me"


@pytest.mark.parametrize(
    "bad", ["", "8000", "localhost", "::1:80", "[::1]", "localhost:http", ":65536", ":-1", "localhost:٣", "unix:", "[]:1", "[host]:1"]
)
@pytest.mark.parametrize("place", ["listen", "target"])
def test_what_is_no_address_is_named(start_program: StartProgram, bad: str, place: str) -> None:
    arguments = [bad, ":80"] if place == "listen" else [":0", bad]
    assert _fail(start_program, "--", *arguments).startswith(f"eventsock relay: {bad!r} is no address")


def test_target_needs_a_port(start_program: StartProgram) -> None:
    assert "cannot connect to localhost:0: " in _fail(start_program, ":0", "localhost:0")


def test_target_path_that_cannot_be(start_program: StartProgram) -> None:
    path = "/" + "x" * 108
    assert path in _fail(start_program, ":0", path)


def test_unknown_host_to_listen_on(start_program: StartProgram) -> None:
    assert "cannot resolve nobody.invalid:80: " in _fail(start_program, "nobody.invalid:80", ":80")
