"""Every example runs: each file of examples/ has a driver here, as a user would use it, with nothing installed.

Knows the examples from outside, as programs. A file without a driver fails.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import subprocess
from collections.abc import Callable

import pytest

from programs import ROOT, StartProgram

_EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
_PORTLESS = {"fan_in.py", "parallel_map.py", "port_check.py"}
_DRIVERS: dict[str, list[str]] = {}
# What needs a host is driven beside the other tests of hosts; servers that have clients everywhere have a file of their own.
_ELSEWHERE = "".join((ROOT / "tests" / file).read_text() for file in ("embed/test_embed_examples.py", "test_example_servers.py"))

Driver = Callable[..., None]


def drives(*files: str) -> Callable[[Driver], Driver]:
    """Marks a test as one that runs these files."""

    def register(driver: Driver) -> Driver:
        for file in files:
            _DRIVERS.setdefault(file, []).append(driver.__name__)
        return driver

    return register


def test_every_example_is_driven() -> None:
    assert sorted({*_DRIVERS, *(file for file in _EXAMPLES if f'{file}"' in _ELSEWHERE)}) == _EXAMPLES


@pytest.mark.parametrize("file", _EXAMPLES)
def test_example_explains_itself(start_program: StartProgram, file: str) -> None:
    program = start_program(f"examples/{file}", "--help", cwd=ROOT, env={})
    output, errors = program.communicate()
    assert (program.returncode, errors) == (0, "")
    assert "usage: " in output
    assert ("--port PORT" in output) is (file not in _PORTLESS)


GREETING = "Hello.  Please send some text and I will echo it back\nEnter an empty line to finish\n"


@pytest.fixture
def server(start_program: StartProgram) -> subprocess.Popen[str]:
    return start_program("examples/echo_server.py", "--port", "0")


def _port_of(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("listening on [::1]:")
    return line.rstrip().rpartition(":")[2]


def _end(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = program.communicate()
    return program.returncode, output, errors


@drives("echo_server.py", "echo_client.py")
def test_conversations_at_once(start_program: StartProgram, server: subprocess.Popen[str]) -> None:
    client = start_program("examples/echo_client.py", "--port", _port_of(server), "--clients", "3", "good day", "grüß Gott")
    status, output, errors = _end(client)
    assert (status, errors) == (0, "")
    expected = [
        line
        for number in (1, 2, 3)
        for line in (
            f"client {number} is greeted: {GREETING.splitlines()[0]}",
            f"client {number} hears: echo: good day",
            f"client {number} hears: echo: grüß Gott",
        )
    ]
    assert sorted(output.splitlines()) == sorted(expected)
    status, output, errors = _end(server)
    assert (status, errors) == (0, "")
    assert output.count("has come") == 3
    assert output.endswith("the last client has left\n")


@drives("echo_server.py", "blocking_client.py")
def test_blocking_conversation(start_program: StartProgram, server: subprocess.Popen[str]) -> None:
    client = start_program("examples/blocking_client.py", "--host", "::1", "--port", _port_of(server))
    output, errors = client.communicate("one\ntwo\n\nnever sent\n")
    assert (client.returncode, output, errors) == (0, f"{GREETING}echo: one\necho: two\n", "")
    assert _end(server)[0] == 0


@drives("blocking_client.py")
def test_blocking_client_sends_its_arguments_to_any_server(start_program: StartProgram) -> None:
    server = start_program("-m", "eventsock", "echo", "--port", "0")
    assert server.stdout is not None
    port = server.stdout.readline().rstrip().rpartition(":")[2]
    client = start_program("examples/blocking_client.py", "--port", port, "one", "two")
    assert _end(client) == (0, "one\ntwo\n", "")


def test_rude_client_harms_nobody(start_program: StartProgram, server: subprocess.Popen[str]) -> None:
    port = int(_port_of(server))
    with socket.create_connection(("::1", port)) as polite, polite.makefile("rw") as words:
        assert words.readline() + words.readline() == GREETING
        with socket.create_connection(("::1", port)) as rude, rude.makefile("r") as ignored:
            ignored.readline()
            ignored.readline()
            rude.send(b"half a line")
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        words.write("still there?\n")
        words.flush()
        assert words.readline() == "echo: still there?\n"
    status, output, errors = _end(server)
    assert (status, errors) == (0, "")
    assert "left without a word: Connection reset by peer" in output


def test_server_ends_on_interrupt(server: subprocess.Popen[str]) -> None:
    _port_of(server)
    server.send_signal(signal.SIGINT)
    assert _end(server) == (0, "", "")


@pytest.mark.parametrize("file", ["echo_client.py", "blocking_client.py"])
def test_client_of_nobody_says_so(start_program: StartProgram, refused_port: int, file: str) -> None:
    client = start_program(f"examples/{file}", "--host", "127.0.0.1", "--port", str(refused_port))
    status, output, errors = _end(client)
    assert (status, output) == (1, "")
    assert errors.count("\n") == 1
    assert f"127.0.0.1:{refused_port}: Connection refused" in errors


def test_server_on_a_taken_port_says_so(start_program: StartProgram, tcp_listener: socket.socket) -> None:
    port = tcp_listener.getsockname()[1]
    status, output, errors = _end(start_program("examples/echo_server.py", "--host", "127.0.0.1", "--port", str(port)))
    assert (status, output) == (1, "")
    assert errors == f"echo_server: [Errno 98] cannot listen on 127.0.0.1:{port}: Address already in use\n"


@drives("parallel_map.py")
@pytest.mark.parametrize("workers", ["1", "2", "9"])
def test_ports_are_tried_in_parallel_and_told_in_order(start_program: StartProgram, refused_port: int, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        open_ = f"127.0.0.1:{listener.getsockname()[1]}"
        closed = f"127.0.0.1:{refused_port}"
        targets = [closed, open_, closed, open_, open_]
        status, output, errors = _end(start_program("examples/parallel_map.py", "--workers", workers, *targets))
    assert (status, errors) == (0, "")
    assert output.splitlines() == [f"{target}: {'open' if target is open_ else 'Connection refused'}" for target in targets]


@drives("fan_in.py")
def test_lines_of_all_commands_are_merged(start_program: StartProgram) -> None:
    first = "echo one; echo two; exec >&-; exit 3"
    second = "echo three; exit 4"
    status, output, errors = _end(start_program("examples/fan_in.py", first, second, "true"))
    assert (status, errors) == (3, "")
    assert sorted(output.splitlines()) == ["1: one", "1: two", "2: three"]
    assert output.index("one") < output.index("two")


@drives("fan_out.py")
def test_input_goes_to_all_who_listen(start_program: StartProgram) -> None:
    program = start_program("examples/fan_out.py", "--port", "0")
    assert program.stdin is not None
    assert program.stdout is not None
    port = int(program.stdout.readline().rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
        heard = [stack.enter_context(client.makefile("rb")) for client in clients]
        for client in clients:
            _await_news(client, program)
        clients[0].shutdown(socket.SHUT_WR)
        assert heard[0].read().strip(b"?\n") == b"", "who closes is not served any more"
        program.stdin.write("hello\n")
        program.stdin.close()
        assert [each.read().lstrip(b"?\n") for each in heard[1:]] == [b"hello\n", b"hello\n"]
    assert program.wait() == 0
    assert program.stderr is not None
    assert program.stderr.read() == ""


def _await_news(client: socket.socket, program: subprocess.Popen[str]) -> None:
    """Speak until the client hears it: only then it is known to listen."""
    assert program.stdin is not None
    client.settimeout(0.02)
    while True:
        program.stdin.write("?\n")
        program.stdin.flush()
        try:
            client.recv(100, socket.MSG_PEEK)
        except TimeoutError:
            continue
        client.settimeout(30)
        return
