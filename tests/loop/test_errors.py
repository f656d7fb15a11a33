"""What becomes of an exception that nobody catches."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from eventsock import EventLoop, a_sync, await_sleep
from loop_kit import MakeLoop, Noted, chain, until
from programs import StartProgram

Pair = tuple[socket.socket, socket.socket]


class OurError(Exception):
    """Raised by the callbacks here."""


def _raising(error: BaseException) -> Callable[..., Any]:
    def fails(*arguments: object) -> Any:
        raise error

    return fails


def _start(loop: EventLoop, origin: str, pair: Pair, error: BaseException) -> None:
    """Let `error` come out of a callback of one kind."""
    if origin == "post":
        loop.post(_raising(error))
    elif origin == "timeout":
        loop.timeout_post(0, _raising(error))
    elif origin == "read watch":
        pair[0].send(b"x")
        loop.add_read_watch(pair[1], _raising(error))
    elif origin == "write watch":
        loop.add_write_watch(pair[1], _raising(error))
    else:

        def fails() -> Generator[Any, Any, None]:
            yield from await_sleep(0)
            raise error

        a_sync(fails, loop=loop)


ORIGINS = ["post", "timeout", "read watch", "write watch", "task"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_exception_does_what_quit_does_and_is_raised_from_run(origin: str, loop: EventLoop, pair: Pair) -> None:
    noted = Noted()

    def holds() -> Generator[Any, Any, None]:
        try:
            yield from await_sleep(60)
        finally:
            noted.append("closed")

    a_sync(holds, loop=loop)
    loop.timeout_post(60, print)
    error = OurError("text")
    _start(loop, origin, pair, error)
    with pytest.raises(OurError) as caught:
        loop.run()
    assert caught.value is error
    assert any(note.startswith("escaped from") and "fails" in note for note in error.__notes__)
    assert noted == ["closed"]
    found = loop.statistics()
    assert (found.watches, found.timeouts, found.posts, found.tasks) == (0, 0, 0, 0)
    loop.post(noted.note("again"))
    loop.run()
    assert noted == ["closed", "again"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_step_raises_the_same_way(origin: str, loop: EventLoop, pair: Pair) -> None:
    loop.timeout_post(60, print)
    _start(loop, origin, pair, OurError("text"))
    with pytest.raises(OurError):
        until(loop, lambda: False)
    assert loop.statistics().timeouts == 0


@pytest.mark.parametrize("origin", ORIGINS)
def test_with_on_error_the_handler_gets_it_and_the_loop_goes_on(origin: str, make_loop: MakeLoop, pair: Pair) -> None:
    told: list[tuple[BaseException, str]] = []
    loop = make_loop(on_error=lambda error, where: told.append((error.with_traceback(None), where)))
    error = OurError("text")
    _start(loop, origin, pair, error)
    noted = Noted()
    loop.timeout_post(0.03, chain(noted.note("went on"), loop.quit), repeat=False)
    loop.run()
    assert noted == ["went on"]
    assert told[0][0] is error
    assert {"task": "task", "post": "post"}.get(origin, origin.split()[-1]) in told[0][1]
    assert "fails" in told[0][1]


def test_error_in_the_handler_leaves_run(make_loop: MakeLoop) -> None:
    def handler(error: BaseException, where: str) -> None:
        raise KeyError("in the handler")

    loop = make_loop(on_error=handler)
    loop.post(_raising(OurError("first")))
    loop.post(pytest.fail)
    with pytest.raises(KeyError) as caught:
        loop.run()
    assert isinstance(caught.value.__context__, OurError)


def test_on_error_can_be_set_later_and_taken_back(loop: EventLoop) -> None:
    told = Noted()
    loop.on_error = lambda error, where: told.append(str(error))
    loop.post(_raising(OurError("one")))
    loop.run()
    assert told == ["one"]
    loop.on_error = None
    loop.post(_raising(OurError("two")))
    with pytest.raises(OurError, match="two"):
        loop.run()
    with pytest.raises(TypeError, match="on_error must be callable"):
        loop.on_error = 5  # type: ignore[assignment]


@pytest.mark.parametrize("kind_of_error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("origin", ORIGINS)
def test_fault_89_keyboard_interrupt_and_system_exit_always_leave(
    origin: str, kind_of_error: type[BaseException], make_loop: MakeLoop, pair: Pair
) -> None:
    error = kind_of_error(3)
    loop = make_loop(on_error=lambda *told: pytest.fail(str(told)))
    _start(loop, origin, pair, error)
    with pytest.raises(kind_of_error) as caught:
        loop.run()
    assert caught.value is error
    noted = Noted()
    loop.post(noted.note("state is good"))
    loop.run()
    assert noted == ["state is good"]


class OwnError(BaseException):
    """Not an `Exception`."""


@pytest.mark.parametrize("kind_of_error", [GeneratorExit, OwnError])
@pytest.mark.parametrize("origin", [origin for origin in ORIGINS if origin != "task"])
def test_fault_89_other_base_exceptions(origin: str, kind_of_error: type[BaseException], make_loop: MakeLoop, pair: Pair) -> None:
    loop, error = make_loop(), kind_of_error()
    _start(loop, origin, pair, error)
    with pytest.raises(kind_of_error):
        loop.run()
    told, noted = Noted(), Noted()
    # The same object is raised thousands of times, and would grow by a traceback each time.
    loop = make_loop(on_error=lambda error, where: told.append(error.with_traceback(None)))
    _start(loop, origin, pair, error)
    until(loop, lambda: told)
    loop.post(chain(noted.note("went on"), loop.quit))
    loop.run()
    assert set(told) == {error}
    assert noted == ["went on"]


def test_system_exit_goes_before_an_error_of_closing(loop: EventLoop) -> None:
    def fails_at_the_end() -> Generator[Any, Any, None]:
        try:
            yield from await_sleep(60)
        finally:
            sys.exit(4)

    a_sync(fails_at_the_end, loop=loop)
    loop.post(_raising(OurError("first")))
    with pytest.raises(SystemExit) as caught:
        loop.run()
    assert caught.value.code == 4
    assert "OurError: first" in "".join(caught.value.__notes__)


def test_exit_status_is_kept(start_program: StartProgram) -> None:
    text = "import sys\nfrom eventsock import EventLoop\nwith EventLoop() as loop:\n    loop.post(lambda: sys.exit(7))\n    loop.run()\n"
    program = start_program("-c", text)
    assert program.communicate(timeout=20) == ("", "")
    assert program.returncode == 7


class Unspeakable:
    """A callback that cannot even be named."""

    def __call__(self) -> None:
        raise OurError("text")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


def test_fault_87_callback_whose_repr_raises(make_loop: MakeLoop) -> None:
    told = Noted()
    loop = make_loop(on_error=lambda error, where: told.append(where))
    loop.post(Unspeakable())
    loop.timeout_post(0, Unspeakable(), repeat=False)
    loop.run()
    assert sorted(told) == ["a post, Unspeakable", "a timeout, Unspeakable"]


def test_fault_91_recursion_and_memory_errors_are_errors_of_the_callback(make_loop: MakeLoop) -> None:
    told: list[type] = []
    loop = make_loop(on_error=lambda error, where: told.append(type(error)))

    def deep() -> None:
        deep()

    loop.post(deep)
    loop.post(lambda: bytearray(1 << 60))
    loop.post(_raising(MemoryError()))
    loop.run()
    assert told == [RecursionError, MemoryError, MemoryError]


def test_error_that_escapes_again_and_again_is_noted_once(loop: EventLoop) -> None:
    error = OurError("one object")
    action = _raising(error)
    for _ in range(3):
        loop.post(action)
        with pytest.raises(OurError):
            loop.run()
    assert len(error.__notes__) == 1


def test_bad_arguments_of_step_end_nothing(loop: EventLoop) -> None:
    timeout = loop.timeout_post(60, print)
    bad: Any
    for bad in ("1", True, [0]):
        with pytest.raises(TypeError, match="timeout must be an int or a float"):
            loop.step(bad)
        with pytest.raises(TypeError, match="budget must be an int or a float"):
            loop.step(budget=bad)
    with pytest.raises(ValueError, match="timeout must be a number, not NaN"):
        loop.step(float("nan"))
    assert loop.timeout_remove(timeout) is True


def test_failing_selector_leaves_run(make_loop: MakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = make_loop()
    loop.timeout_post(0.01, print)

    def fails(timeout: float | None) -> Any:
        raise OSError(5, "selector")

    with monkeypatch.context() as patch:
        patch.setattr(loop.book.poller, "poll", fails)
        with pytest.raises(OSError, match="selector"):
            loop.run()
    noted = Noted()
    loop.post(noted.note("again"))
    loop.run()
    assert noted == ["again"]


def test_urgent_data_whose_callback_raises_does_not_spin(make_loop: MakeLoop, tcp_pair: Pair) -> None:
    told = Noted()
    loop = make_loop(on_error=lambda error, where: told.append(where))
    if not loop.book.poller.has_priority:
        pytest.skip("this selector reports no exceptional conditions")
    client, server = tcp_pair
    client.send(b"!", socket.MSG_OOB)
    time.sleep(0.05)
    loop.add_read_watch(server, _raising(OurError("excpt")))
    for _ in range(5):
        loop.step()
    assert len(told) == 1
    loop.post(loop.quit)
    loop.run()
