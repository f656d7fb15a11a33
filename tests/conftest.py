"""What every test is held to, and the few things that many tests need.

A test leaves the process as it found it: descriptors, threads, children, signal handlers, hooks, limits, loops.
Must not import the package at load time: a test of what an import loads would find it loaded. Tested itself in test_guard.py.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import hypothesis
import pytest

from programs import ROOT, StartProgram

# A shell that starts the tests in the background has them ignore Ctrl-C, which would be handed on to each program they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_FDS = "/proc/self/fd"
_LOOPS = "eventsock.loop.current"
_KNOWN = "eventsock.loop.fork"
_FAILURE = pytest.StashKey[BaseException]()

# A slow machine is no fault of the code, and what hangs is caught by the time limit of the test.
hypothesis.settings.register_profile("house", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("house")


def pytest_collection_finish() -> None:
    # Some resolver modules of the C library keep a descriptor open from their first look-up on.
    socket.getaddrinfo("localhost", None)
    # Each test ends with a full collection. Frozen, what pytest itself has made by now costs nothing there.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.excinfo is not None:
        item.stash[_FAILURE] = call.excinfo.value
    return (yield)


@pytest.fixture(autouse=True)
def leaves_no_trace(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that passed but did not put things back."""
    before = _Traces()
    yield
    failure = request.node.stash.get(_FAILURE, None)
    if failure is not None:
        _let_go(failure)
    else:
        request.node.funcargs.clear()  # the fixtures have ended, but pytest keeps what they gave until later
        gc.collect()
    complaints = before.compare()
    if complaints and failure is None:
        pytest.fail("\n".join(["the test left its traces:", *complaints]), pytrace=False)


class _Traces:
    """What a test can leave behind, taken before it."""

    def __init__(self) -> None:
        self.descriptors = _descriptors()
        self.threads = _threads()
        self.children = _has_children()
        self.loops = {id(loop) for loop in _loops()}
        self.switches = [read() for read, _ in _SWITCHES]

    def compare(self) -> list[str]:
        """One line for each thing that is not as it was. Handlers, hooks and limits are put back for the next test."""
        found = []
        for thread in _threads() - self.threads:
            thread.join(1.0)
            found += [f"thread {thread.name!r} still runs"] if thread.is_alive() else []
        now = _descriptors()
        found += [f"descriptor {fd} was left open: {what}" for fd, what in sorted(now.items() - self.descriptors.items())]
        found += [f"descriptor {fd} was closed: {what}" for fd, what in sorted(self.descriptors.items() - now.items())]
        if _has_children() > self.children:
            found.append("a child process was left behind")
        if any(id(loop) not in self.loops for loop in _loops()):
            gc.collect()  # a thread that has only just ended may have held it
        found += [f"{loop!r} is still held by somebody" for loop in _loops() if id(loop) not in self.loops]
        for (read, put_back), was in zip(_SWITCHES, self.switches, strict=True):
            if (value := read()) != was:
                found.append(f"{read.__name__} was {was!r} and is {value!r}")
                put_back(was)
        return found


def _descriptors() -> dict[int, str]:
    """The open descriptors and what each is: the number alone would not show that it was closed and given out again."""
    found = {}
    for name in os.listdir(_FDS) if os.path.isdir(_FDS) else ():
        with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor
            found[int(name)] = os.readlink(f"{_FDS}/{name}")
    return found


def _threads() -> set[threading.Thread]:
    """The threads that Python started; a dummy stands for one that pytest's own plug-ins started below `threading`."""
    return {thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)}


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _loops() -> list[Any]:
    """Every loop that somebody holds."""
    return sys.modules[_KNOWN].known() if _KNOWN in sys.modules else []


def signal_handlers() -> list[Any]:
    return [signal.getsignal(number) for number in range(1, signal.NSIG)]


def _restore_signal_handlers(handlers: list[Any]) -> None:
    for number, handler in enumerate(handlers, start=1):
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def wakeup_fd() -> int:
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def hooks() -> tuple[Any, ...]:
    return sys.excepthook, sys.unraisablehook, threading.excepthook, *sys.get_asyncgen_hooks()


def _restore_hooks(was: tuple[Any, ...]) -> None:
    sys.excepthook, sys.unraisablehook, threading.excepthook, *asyncgen_hooks = was
    sys.set_asyncgen_hooks(*asyncgen_hooks)


def descriptor_limit() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _restore_descriptor_limit(limit: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def default_event_loop() -> Any:
    return getattr(sys.modules.get(_LOOPS), "_default", None)


def _restore_default_event_loop(loop: Any) -> None:
    # There is no public way back to none, as for a program there is no need of one.
    vars(sys.modules[_LOOPS])["_default"] = loop


def loop_of_this_thread() -> Any:
    return getattr(getattr(sys.modules.get(_LOOPS), "here", None), "loop", None)


def _restore_loop_of_this_thread(loop: Any) -> None:
    sys.modules[_LOOPS].here.loop = loop


# How to read a switch of the process, and how to put it back.
_SWITCHES: list[tuple[Callable[[], Any], Callable[[Any], object]]] = [
    (signal_handlers, _restore_signal_handlers),
    (wakeup_fd, signal.set_wakeup_fd),
    (hooks, _restore_hooks),
    (descriptor_limit, _restore_descriptor_limit),
    (os.getcwd, os.chdir),
    (default_event_loop, _restore_default_event_loop),
    (loop_of_this_thread, _restore_loop_of_this_thread),
]


def _let_go(failure: BaseException) -> None:
    """Frees what the frames of a failed test hold: descriptors closed in the midst of a later test would be laid to its charge."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [failure]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        while waiting:
            error = waiting.pop()
            if error is None or id(error) in seen:
                continue
            seen.add(id(error))
            traceback.clear_frames(error.__traceback__)
            # Before 3.13 a frame keeps a copy of its locals for those who looked; another look brings the copy up to date.
            for frame, _ in traceback.walk_tb(error.__traceback__):
                _ = frame.f_locals
            waiting += [error.__cause__, error.__context__, *getattr(error, "exceptions", ())]
        gc.collect()


@pytest.fixture
def default_loop_put_back() -> Iterator[None]:
    """For a test that sets the default loop (and closes it itself): what was the default before is so again."""
    was = default_event_loop()
    yield
    _restore_default_event_loop(was)


@pytest.fixture
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected Unix stream sockets, blocking."""
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.fixture
def tcp_listener() -> Iterator[socket.socket]:
    """A blocking TCP listener on a free port of 127.0.0.1, made without the package."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def tcp_pair(tcp_listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected TCP sockets, blocking: the client's and the server's."""
    with socket.create_connection(tcp_listener.getsockname()) as client, tcp_listener.accept()[0] as server:
        yield client, server


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections, and that nobody else gets while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def unix_path() -> Iterator[str]:
    """A path for a Unix socket; pytest's own temporary paths can be longer than the 107 bytes that the kernel takes."""
    with tempfile.TemporaryDirectory(prefix="es-") as directory:
        yield f"{directory}/socket"


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Starts `python -X dev -W error ARGUMENTS` in the checkout, with pipes for text; killed and reaped if the test does not do it."""
    # Output is buffered, as it is for users, whatever it is for the tests themselves.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with contextlib.ExitStack() as programs:

        def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            command = [sys.executable, "-X", "dev", "-W", "error", *arguments]
            program: subprocess.Popen[str] = subprocess.Popen(command, **{"cwd": ROOT, "env": environment, **pipes, **options})
            programs.enter_context(program)
            programs.callback(program.kill)
            return program

        yield start
