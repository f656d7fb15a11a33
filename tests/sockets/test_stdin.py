"""Standard input as a stream: each kind of it, in a program of its own; and that no mode of it is changed."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import time
from pathlib import Path

from programs import StartProgram

_PROGRAM = """
import fcntl, sys, termios, threading, os
from eventsock import TextStream, open_stdin, run

def modes():
    return fcntl.fcntl(0, fcntl.F_GETFL), termios.tcgetattr(0) if os.isatty(0) else None

def body():
    before = modes()
    with TextStream(open_stdin()) as stream:
        assert modes() == before
        while (line := (yield from stream.await_getline())) is not None:
            print("line", line, flush=True)
            if line == "stop":
                break
    assert modes() == before
    os.fstat(0)

run(body)
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(5)
        assert not thread.is_alive()
print("end")
"""


def output_of(program: subprocess.Popen[str], given: str | None = None) -> str:
    output, errors = program.communicate(given, timeout=30)
    assert errors == ""
    return output


def test_a_pipe(start_program: StartProgram) -> None:
    program = start_program("-c", _PROGRAM)
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("one\n")
    program.stdin.flush()
    assert program.stdout.readline() == "line one\n"
    assert output_of(program, "two") == "line two\nend\n"


def test_a_file_and_its_end(start_program: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 100 + "\n" + "y" * 100_000 + "\nlast")
    with open(tmp_path / "file") as file:
        lines = output_of(start_program("-c", _PROGRAM.replace("open_stdin()", "open_stdin(limit=200_000)"), stdin=file)).splitlines()
    assert [len(line) for line in lines] == [105, 100_005, 9, 3]


def test_a_file_that_is_left_early(start_program: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("stop\n" + "x\n" * 10_000_000)
    with open(tmp_path / "file") as file:
        assert output_of(start_program("-c", _PROGRAM, stdin=file)) == "line stop\nend\n"


def test_nothing(start_program: StartProgram) -> None:
    assert output_of(start_program("-c", _PROGRAM, stdin=subprocess.DEVNULL)) == "end\n"


def test_a_socket(start_program: StartProgram) -> None:
    near, far = socket.socketpair()
    with near:
        program = start_program("-c", _PROGRAM, stdin=far)
        far.close()
        near.sendall(b"by socket\n")
        near.shutdown(socket.SHUT_WR)
        assert output_of(program) == "line by socket\nend\n"


def test_a_terminal(start_program: StartProgram) -> None:
    master, slave = pty.openpty()
    program = start_program("-c", _PROGRAM, stdin=slave)
    os.close(slave)
    os.write(master, b"typed\n")
    time.sleep(0.05)
    os.write(master, b"stop\n")
    assert output_of(program) == "line typed\nline stop\nend\n"
    os.close(master)


def test_a_closed_one(start_program: StartProgram) -> None:
    code = "from eventsock import open_stdin, run\nrun(open_stdin)"
    program = start_program("-c", code, stdin=None, preexec_fn=lambda: os.close(0))
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 1
    assert "standard input: Bad file descriptor" in errors


def test_what_cannot_be_read_says_why(start_program: StartProgram, tmp_path: Path) -> None:
    code = f"import os\nos.dup2(os.open({str(tmp_path)!r}, os.O_RDONLY), 0)\n" + _PROGRAM
    program = start_program("-c", code)
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 1
    assert "IsADirectoryError" in errors or "SocketError: [Errno 21]" in errors


def test_it_is_only_read(start_program: StartProgram) -> None:
    code = """
from eventsock import SocketError, open_stdin, run
def body():
    with open_stdin() as stream:
        try:
            yield from stream.await_put_bytes(b"x")
        except SocketError as error:
            print(error.errno, "only read" in str(error))
run(body)
"""
    assert output_of(start_program("-c", code)) == "9 True\n"
