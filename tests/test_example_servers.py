"""The example servers, each talked to by the programs that people have for it, and by rude clients.

Knows the examples from outside, as programs on 127.0.0.1. A tool that is not here is skipped, and the skip says how to get it.
"""

from __future__ import annotations

import shutil
import signal
import socket
import struct
import subprocess
from contextlib import ExitStack
from typing import IO

import pytest

from eventsock import Stream, TaskGroup, await_connect, await_sleep, run
from programs import StartProgram


def _start(start_program: StartProgram, file: str) -> tuple[subprocess.Popen[str], int]:
    """An example that listens, and its port."""
    program = start_program(f"examples/{file}", "--port", "0")
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line.startswith("listening on 127.0.0.1:"), program.communicate()
    return program, int(line.rpartition(":")[2])


def _end(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = program.communicate()
    return program.returncode, output, errors


def _interrupt(program: subprocess.Popen[str]) -> None:
    """Ctrl-C, after which nothing is to be complained of."""
    program.send_signal(signal.SIGINT)
    assert _end(program) == (0, "", "")


def _run_tool(package: str, tool: str, *arguments: str) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here: apt-get install {package}")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _say(port: int, data: bytes) -> bytes:
    """All that is answered to `data`, after which there is an end."""
    with _connect(port) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while more := client.recv(65536):
            answer += more
        return answer


def _reset(port: int, data: bytes) -> None:
    with _connect(port) as client:
        client.sendall(data)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("file", ["chat_server.py", "key_value_server.py", "http_server.py"])
def test_any_server_on_a_taken_port_says_so(start_program: StartProgram, tcp_listener: socket.socket, file: str) -> None:
    port = tcp_listener.getsockname()[1]
    status, output, errors = _end(start_program(f"examples/{file}", "--port", str(port)))
    assert (status, output) == (1, "")
    assert errors == f"{file[:-3]}: [Errno 98] cannot listen on 127.0.0.1:{port}: Address already in use\n"


class Visitor:
    """A visitor of the chat room."""

    def __init__(self, things: ExitStack, port: int, name: str) -> None:
        self.sock = things.enter_context(_connect(port))
        # Only to read: a text file that is written to forgets the lines it has read ahead (before Python 3.13).
        self._heard: IO[str] = things.enter_context(self.sock.makefile("r"))
        assert self.hears() == "What is your name?"
        self.says(name)

    def says(self, line: str) -> None:
        self.sock.sendall(f"{line}\n".encode())

    def resets(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._heard.close()
        self.sock.close()

    def hears(self) -> str:
        return self._heard.readline().rstrip("\n")


def test_chat(start_program: StartProgram) -> None:
    server, port = _start(start_program, "chat_server.py")
    with ExitStack() as things:
        ada = Visitor(things, port, "Ada")
        assert ada.hears() == "* Welcome. Here are: Ada"
        bob = Visitor(things, port, "Ada")
        assert bob.hears() == "There is a Ada here already. What is your name?"
        bob.says("Bob the Great")
        assert bob.hears() == "A name is 1 to 20 letters and digits. What is your name?"
        bob.says("Bob\r")  # a terminal's end of line
        assert (bob.hears(), ada.hears()) == ("* Welcome. Here are: Ada, Bob", "* Bob has come")
        bob.says("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}ezi \x1b[2J")
        assert ada.hears() == bob.hears() == "Bob: gr\N{LATIN SMALL LETTER U WITH DIAERESIS}ezi [2J"
        ada.says("/who")
        assert ada.hears() == "* Here are: Ada, Bob"
        bob.says("/quit")
        assert (bob.hears(), ada.hears()) == ("", "* Bob has left")
        _interrupt(server)


def test_chat_survives_its_guests(start_program: StartProgram) -> None:
    server, port = _start(start_program, "chat_server.py")
    with ExitStack() as things:
        ada = Visitor(things, port, "Ada")
        ada.hears()
        rude = Visitor(things, port, "Rude")
        assert ada.hears() == "* Rude has come"
        rude.hears()
        rude.sock.sendall(b"half a line")
        rude.resets()
        assert ada.hears() == "* Rude has left"
        ada.says("x" * 20_000_000)
        assert ada.hears().startswith("* That was too long; at most ")
        ada.says("still here")
        assert ada.hears() == "Ada: still here"
        deaf = Visitor(things, port, "Deaf")
        assert ada.hears() == "* Deaf has come"
        for _ in range(400):  # more than the kernel and the server hold for somebody who does not read
            ada.says("y" * 50_000)
            if (heard := ada.hears()) == "* Deaf has left":
                break
            assert heard == "Ada: " + "y" * 50_000
        else:
            pytest.fail("who does not read was kept")
        assert deaf.sock.recv(100)
        _interrupt(server)


# The room of the example, with so little room in the kernel that whoever does not read is found out soon.
_NARROW_ROOM = """
import socket, sys
sys.path.insert(0, "examples")
from chat_server import Room
from eventsock import await_serve, run
from eventsock.basic import listen_on_ipv4_socket

async def receive(stream, address):
    stream.gather = {gather}
    await room.receive(stream, address)

room = Room()
with listen_on_ipv4_socket(True, 0, 1024) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8000)
    print(listener.getsockname()[1], flush=True)
    try:
        run(lambda: await_serve(receive, listener, on_error=lambda error, where: None))
    except KeyboardInterrupt:
        pass
"""


@pytest.mark.parametrize("gather", [False, True])
def test_chat_in_a_crowd_no_line_is_lost_whoever_does_not_read_or_resets(start_program: StartProgram, gather: bool) -> None:
    guests, lines, talkers = 30, 100, ("Guest0", "Guest1", "Guest2")
    heard: dict[str, list[str]] = {f"Guest{i}": [] for i in range(guests)}
    streams: dict[str, Stream] = {}

    async def come(name: str, port: int, room_to_read: int | None = None) -> None:
        sock = socket.socket()
        if room_to_read is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_to_read)
        await await_connect(sock, ("127.0.0.1", port))
        streams[name] = Stream(sock)
        await streams[name].await_getline()
        await streams[name].await_put_string(f"{name}\n")
        while not (await streams[name].await_getline() or b"").startswith(b"* Welcome"):
            pass

    async def listen(name: str) -> None:
        missing = {"* Deaf has left", "* Rude has left", *(f"{talker}: {lines - 1}" for talker in talkers)}
        while missing:
            line = await streams[name].await_getline()
            assert line is not None, f"{name} was thrown out before {missing}"
            heard[name].append(line.decode())
            missing.discard(heard[name][-1])

    async def talk(name: str) -> None:
        for i in range(lines):
            await streams[name].await_put_string(f"{i}\n")

    async def main(port: int) -> None:
        for name in (*heard, "Rude"):
            await come(name, port)
        await come("Deaf", port, 1)
        async with TaskGroup() as group:
            for name in heard:
                group.a_sync(listen, name)
            for name in talkers:
                group.a_sync(talk, name)
            await await_sleep(0.02)
            streams["Rude"].abort()
            # What else it takes until Deaf's queue is full.
            while not all("* Deaf has left" in told for told in heard.values()):
                await streams["Guest3"].await_put_string("well\n" * 10)
                await await_sleep(0.005)
        for stream in streams.values():
            stream.close()

    server = start_program("-c", _NARROW_ROOM.format(gather=gather))
    assert server.stdout is not None
    run(main, int(server.stdout.readline()))
    for told in heard.values():
        assert [told.count(f"* {name} has left") for name in ("Deaf", "Rude")] == [1, 1]
        for talker in talkers:
            assert [line for line in told if line.startswith(f"{talker}:")] == [f"{talker}: {i}" for i in range(lines)]
    _interrupt(server)


def test_redis_cli(start_program: StartProgram) -> None:
    server, port = _start(start_program, "key_value_server.py")

    def cli(*words: str) -> str:
        return _run_tool("redis-tools", "redis-cli", "-p", str(port), *words).rstrip("\n")

    said = [cli(*line.split()) for line in ("ping", "echo hello", "set a b", "get a", "get nothing", "incr n", "incr n", "incr a")]
    assert said == ["PONG", "hello", "OK", "b", "", "1", "2", "ERR value is not an integer or out of range"]
    assert [cli(*line.split()) for line in ("exists a a n x", "del a n x", "exists a", "brew")] == [
        *("3", "2", "0"),
        "ERR unknown command 'brew'",
    ]
    _interrupt(server)


@pytest.mark.parametrize("pipelined", ["1", "16"])
def test_redis_benchmark(start_program: StartProgram, pipelined: str) -> None:
    server, port = _start(start_program, "key_value_server.py")
    said = _run_tool(
        "redis-tools", "redis-benchmark", "-p", str(port), "-t", "ping,set,get", "-n", "1000", "-c", "10", "-P", pipelined, "--csv"
    )
    assert [line.split(",")[0].strip('"') for line in said.splitlines()][-4:] == ["PING_INLINE", "PING_MBULK", "SET", "GET"]
    _interrupt(server)


def test_key_value_protocol(start_program: StartProgram) -> None:
    server, port = _start(start_program, "key_value_server.py")
    exchanges = [
        (b"PING\r\n\r\nping hi\n", b"+PONG\r\n$2\r\nhi\r\n"),
        (b"*3\r\n$3\r\nSET\r\n$4\r\n\r\n\x00k\r\n$2\r\n\r\n\r\n" * 2, b"+OK\r\n+OK\r\n"),
        (b"*2\r\n$3\r\nget\r\n$4\r\n\r\n\x00k\r\n", b"$2\r\n\r\n\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"$0\r\n\r\n"),
        (
            b"set n 9223372036854775806\nincr n\nincr n\n",
            b"+OK\r\n:9223372036854775807\r\n-ERR value is not an integer or out of range\r\n",
        ),
        (b"get\nset a b c\n", b"".join(b"-ERR wrong number of arguments for '%b' command\r\n" % name for name in (b"get", b"set"))),
        (b"*1\r\n$6\r\nb\r\n-ok\r\n", b"-ERR unknown command 'b\\r\\n-ok'\r\n"),
        (b"config get save\nconfig set a\ncommand docs\n", b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n-ERR there is nothing to configure\r\n*0\r\n"),
        (b"*0\r\nquit\nping\n", b"+OK\r\n"),
    ]
    for said, answer in exchanges:
        assert _say(port, said) == answer
    _interrupt(server)


def test_key_value_server_survives_its_clients(start_program: StartProgram) -> None:
    server, port = _start(start_program, "key_value_server.py")
    with _connect(port) as polite:
        for half in (b"*3\r\n", b"*2\r\n$3\r\nGET\r\n$10\r\nabc", b"*1\r\n"):
            assert _say(port, half) == b""
            _reset(port, half)
        for garbage in (
            b"*x\r\n",
            b"*1\r\n+4\r\n",
            b"*99999\r\n",
            b"*1\r\n$99999999999\r\n",
            b"*1\r\n$16777217\r\n",
            b"*%b\r\n" % (b"9" * 5000),
        ):
            assert _say(port, garbage).startswith(b"-ERR Protocol error: ")
        assert _say(port, b"x" * 20_000_000) == b"-ERR Protocol error: too big inline request\r\n"
        polite.sendall(b"ping\n")
        assert polite.recv(100) == b"+PONG\r\n"
    _interrupt(server)


def test_curl(start_program: StartProgram) -> None:
    server, port = _start(start_program, "http_server.py")
    url = f"http://127.0.0.1:{port}"

    def curl(*arguments: str) -> str:
        return _run_tool("curl", "curl", "--silent", "--show-error", "--max-time", "10", *arguments)

    # Both over one connection: it is kept alive.
    said = curl("-w", "%{http_code} %{num_connects}\n", f"{url}/", f"{url}/?query")
    assert said == "<!doctype html><title>eventsock</title><h1>Hello, world</h1>\n200 1\n" + (
        "<!doctype html><title>eventsock</title><h1>Hello, world</h1>\n200 0\n"
    )
    assert curl("-w", "%{http_code}", f"{url}/nope") == "There is no such page.\n404"
    head = curl("--head", f"{url}/")
    assert head.startswith("HTTP/1.1 200 OK\n")
    assert "content-length: 61\n" in head
    assert curl("-w", "%{http_code}", "-d", "x" * 100_000, "-H", "Expect: 100-continue", f"{url}/").endswith("405")
    assert curl("--http1.0", f"{url}/").startswith("<!doctype html>")
    assert curl("-x", url, "http://elsewhere.example/").startswith("<!doctype html>")
    _interrupt(server)


def test_wrk(start_program: StartProgram) -> None:
    server, port = _start(start_program, "http_server.py")
    said = _run_tool("wrk", "wrk", "-t", "1", "-c", "10", "-d", "1s", f"http://127.0.0.1:{port}/")
    assert "Requests/sec:" in said
    assert "Non-2xx" not in said
    assert "Socket errors" not in said
    _interrupt(server)


def test_http_protocol(start_program: StartProgram) -> None:
    server, port = _start(start_program, "http_server.py")
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for said, statuses in [
        (get * 3, [200, 200, 200]),  # pipelined
        (b"HEAD /nope HTTP/1.1\r\nHost: x\r\n\r\n" + get, [404, 200]),
        (get.replace(b"Host: x", b"Host: x\r\nConnection: close") + get, [200]),
        (b"garbage\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\n\r\n", [400]),  # no Host
        (b"\x00\xff" * 1000, [400]),
        (b"GET / HT", [400]),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", [400]),
        (b"", []),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000_000, [431]),
    ]:
        answer = _say(port, said)
        assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == statuses, said[:100]
    _interrupt(server)


def test_http_server_survives_its_clients(start_program: StartProgram) -> None:
    server, port = _start(start_program, "http_server.py")
    with _connect(port) as polite:
        for half in (b"GET / HTTP/1.1\r\nHo", b"garbage\r\n\r\n", b""):
            _reset(port, half)
        polite.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert polite.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
        _interrupt(server)


def test_datagrams(start_program: StartProgram) -> None:
    server, port = _start(start_program, "udp_echo.py")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(10)
        for data in (b"", b"\xff" * 60_000):
            stranger.sendto(data, ("127.0.0.1", port))
            assert stranger.recv(65535) == data
    client = start_program("examples/udp_echo.py", "--port", str(port), "good day", "good night")
    assert _end(client) == (0, "good day\ngood night\n", "")
    _interrupt(server)


def test_datagrams_to_nobody(start_program: StartProgram) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        for each in (deaf, gone):
            each.bind(("127.0.0.1", 0))
        ports = [str(each.getsockname()[1]) for each in (deaf, gone)]
        gone.close()
        silent, refused = [start_program("examples/udp_echo.py", "--port", port, "hello?") for port in ports]
        status, output, errors = _end(refused)
        assert (status, output) == (1, "")
        assert "Connection refused" in errors
        assert _end(silent) == (1, "", "udp_echo: no answer in 3 tries\n")


def test_ports_are_checked(start_program: StartProgram, tcp_listener: socket.socket, refused_port: int) -> None:
    port = tcp_listener.getsockname()[1]
    status, output, errors = _end(start_program("examples/port_check.py", f"127.0.0.1:{port}"))
    assert (status, errors) == (0, "")
    assert output.startswith(f"127.0.0.1 port {port}: open: 127.0.0.1:{port} after ")
    status, output, errors = _end(start_program("examples/port_check.py", f"127.0.0.1:{port}", f"127.0.0.1:{refused_port}"))
    assert (status, errors) == (1, "")
    assert output.splitlines()[1] == f"127.0.0.1 port {refused_port}: Connection refused, it may be tried again later"
    status, _, errors = _end(start_program("examples/port_check.py", "nonsense"))
    assert status == 2
    assert "write HOST:PORT or [IPv6 address]:PORT, not 'nonsense'" in errors
