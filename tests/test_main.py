"""`python3 -m eventsock`: what its users see and what their programs see; it runs from a checkout with nothing installed.

Knows the command line from outside: its output, its exit status, its sockets.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from programs import ROOT, StartProgram


def _echo(start_program: StartProgram, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    """The server and the address that it says it listens on."""
    server = start_program("-m", "eventsock", "echo", *arguments)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("listening on "), server.communicate()
    return server, line.removeprefix("listening on ").rstrip("\n")


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=10)


def _exchange(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    answer = b""
    while len(answer) < len(data) and (more := client.recv(65536)):
        answer += more
    return answer


def _stop(server: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    server.send_signal(number)
    output, errors = server.communicate()
    return server.returncode, output, errors


def _fail(start_program: StartProgram, *arguments: str) -> str:
    """What a command that cannot begin says, in one line."""
    program = start_program("-m", "eventsock", *arguments)
    output, errors = program.communicate()
    assert (program.returncode, output) == (1, "")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_server_cleanly(start_program: StartProgram, number: int) -> None:
    server, address = _echo(start_program, "--port", "0")
    with _connect(address) as client:
        assert _exchange(client, b"x") == b"x"
        assert _stop(server, number) == (0, "", "")
        assert client.recv(1) == b""


def test_default_port_is_8000(start_program: StartProgram) -> None:
    program = start_program("-m", "eventsock", "echo", "--help")
    output, _ = program.communicate()
    assert program.returncode == 0
    assert "default: 127.0.0.1" in output
    assert "default: 8000" in output


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_what_comes_in_goes_back(start_program: StartProgram, host: str) -> None:
    _, address = _echo(start_program, "--host", host, "--port", "0")
    with _connect(address) as client:
        for data in (b"hello", b"no line end", bytes(range(256)) * 4000):
            assert _exchange(client, data) == data
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_clients_at_once(start_program: StartProgram) -> None:
    _, address = _echo(start_program, "--port", "0")
    with _connect(address) as first, _connect(address) as second:
        assert _exchange(second, b"second") == b"second"
        assert _exchange(first, b"first") == b"first"


def test_bash_is_served(start_program: StartProgram) -> None:
    _, address = _echo(start_program, "--port", "0")
    script = f"exec 3<>/dev/tcp/{address.replace(':', '/')}; echo hello >&3; head -n 1 <&3"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout == "hello\n"


def test_reset_harms_nobody(start_program: StartProgram) -> None:
    server, address = _echo(start_program, "--port", "0")
    with _connect(address) as polite:
        with _connect(address) as rude:
            assert _exchange(rude, b"rude") == b"rude"
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert _exchange(polite, b"polite") == b"polite"
        assert _stop(server) == (0, "", "")


def test_verbose_prints_one_line_for_each_connection(start_program: StartProgram) -> None:
    server, address = _echo(start_program, "--port", "0", "-v")
    names = []
    for _ in range(2):
        with _connect(address) as client:
            assert _exchange(client, b"x") == b"x"
            names.append("{}:{}".format(*client.getsockname()))
    assert _stop(server) == (0, "".join(f"connection from {name}\n" for name in names), "")


def test_unix_socket(start_program: StartProgram, unix_path: str) -> None:
    server, address = _echo(start_program, "--unix", unix_path, "--verbose")
    assert address == unix_path
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(unix_path)
        assert _exchange(client, b"hello") == b"hello"
    assert _stop(server) == (0, "connection from a client without a name\n", "")
    assert not os.path.exists(unix_path)


def test_port_in_use(start_program: StartProgram, tcp_listener: socket.socket) -> None:
    port = tcp_listener.getsockname()[1]
    assert _fail(start_program, "echo", "--port", str(port)) == (
        f"eventsock echo: [Errno 98] cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


@pytest.mark.parametrize("port", ["65536", "-1", "http", "80.5", "", "٣", "9" * 5000])
def test_bad_port(start_program: StartProgram, port: str) -> None:
    expected = f"eventsock echo: cannot listen on 127.0.0.1:{port}: a port is a number from 0 to 65535\n"
    assert _fail(start_program, "echo", f"--port={port}") == expected


def test_unknown_host(start_program: StartProgram) -> None:
    assert "cannot resolve nobody.invalid:8000: " in _fail(start_program, "echo", "--host", "nobody.invalid")


def test_host_that_is_none_is_told_in_one_line(start_program: StartProgram) -> None:
    assert r"cannot resolve a\nb:8000: " in _fail(start_program, "echo", "--host", "a\nb")
    assert "cannot listen on :8000: there is no host" in _fail(start_program, "echo", "--host", "")


def test_address_of_another_machine(start_program: StartProgram) -> None:
    said = _fail(start_program, "echo", "--host", "192.0.2.1", "--port", "0")
    assert "cannot listen on 192.0.2.1: Cannot assign requested address" in said


def test_file_at_the_unix_path_is_kept(start_program: StartProgram, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    assert f"cannot listen on {precious}: " in _fail(start_program, "echo", "--unix", str(precious))
    assert precious.read_text() == "keep me"


def test_unix_path_that_is_too_long(start_program: StartProgram, tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 108))
    assert path in _fail(start_program, "echo", "--unix", path)


def test_500_clients_and_60_descriptors(start_program: StartProgram) -> None:
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))"
    server = start_program("-c", f"{limit}; from eventsock.__main__ import main; main(sys.argv[1:])", "echo", "--port", "0")
    assert server.stdout is not None
    address = server.stdout.readline().removeprefix("listening on ").rstrip("\n")
    host, _, port = address.rpartition(":")
    with ExitStack() as things:
        clients = [things.enter_context(socket.socket()) for _ in range(500)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex((host, int(port)))
        clients[0].settimeout(10)
        assert _exchange(clients[0], b"served") == b"served"
        assert server.stderr is not None
        assert server.stderr.readline() == (
            f"eventsock echo: accepting on {address}, which pauses until there is room: "
            f"[Errno 24] cannot accept a connection on {address}: Too many open files\n"
        )
        assert _exchange(clients[0], b"still served") == b"still served"
    with _connect(address) as late:
        assert _exchange(late, b"there is room") == b"there is room"
    assert _stop(server) == (0, "", "")


def test_20_megabytes_and_a_client_that_never_reads(start_program: StartProgram) -> None:
    server, address = _echo(start_program, "--port", "0")
    with _connect(address) as deaf, _connect(address) as client:
        deaf.settimeout(0.1)
        with pytest.raises(TimeoutError):
            deaf.sendall(b"x" * 50_000_000)
        sending = threading.Thread(target=client.sendall, args=[b"y" * 20_000_000])
        sending.start()
        came = 0
        while came < 20_000_000:
            came += len(client.recv(1 << 20))
        sending.join()
        with open(f"/proc/{server.pid}/status") as status:
            [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
        assert peak < 60_000  # KiB, most of which is the interpreter
        assert _exchange(client, b"others go on") == b"others go on"
    assert _stop(server) == (0, "", "")


def test_output_that_nobody_reads_any_more_is_no_reason_to_end(start_program: StartProgram) -> None:
    server, address = _echo(start_program, "--port", "0", "-v")
    assert server.stdout is not None
    server.stdout.close()
    for _ in range(3):
        with _connect(address) as client:
            assert _exchange(client, b"hello") == b"hello"
    server.send_signal(signal.SIGTERM)
    assert (server.wait(), server.stderr.read() if server.stderr else None) == (0, "")


def test_interrupt_amid_a_look_up(start_program: StartProgram) -> None:
    program = """
import socket, sys
def getaddrinfo(*_):
    print("asked", flush=True)
    signal.pause()
socket.getaddrinfo = getaddrinfo
import signal
from eventsock.__main__ import main
sys.exit(main(["echo", "--host", "slow.example"]))
"""
    server = start_program("-c", program)
    assert server.stdout is not None
    assert server.stdout.readline() == "asked\n"
    assert _stop(server, signal.SIGINT) == (130, "", "")


def test_no_command_and_unknown_command(start_program: StartProgram) -> None:
    for arguments in ((), ("brew",)):
        program = start_program("-m", "eventsock", *arguments)
        _, errors = program.communicate()
        assert program.returncode == 2
        assert "usage: eventsock" in errors


def test_runs_from_a_checkout_with_nothing_installed(start_program: StartProgram) -> None:
    isolated = ["-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); from eventsock.__main__ import main; main(['--version'])"]
    program = start_program(*isolated, executable=sys.executable)
    output, errors = program.communicate()
    assert (output.startswith("eventsock "), errors) == (True, "")
