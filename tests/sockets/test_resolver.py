"""The look-ups of tasks: in threads of their own, one flight per question, and replaceable."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from eventsock import (
    ConnectError,
    PoolStopped,
    ResolveError,
    Resolver,
    Task,
    TaskCancelled,
    a_sync,
    await_connect_to_host,
    await_sleep,
    run,
    set_resolver,
)
from eventsock.basic import AddressInfo

Steps = Generator[Any, Any, Any]


class _Names:
    """A getaddrinfo whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.free = threading.Event()

    def __call__(self, host: str, *rest: object) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            assert self.free.wait(10)
        if host.endswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Names]:
    made = _Names()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.free.set()


def test_an_answer(names: _Names) -> None:
    with Resolver(1) as resolver:
        [info] = run(resolver, "name", 9)
    assert str(info.address) == "127.0.0.1:9"


def test_equal_questions_are_one_flight_and_each_error_is_its_own(names: _Names) -> None:
    errors: list[ResolveError] = []

    def ask(resolver: Resolver) -> Steps:
        try:
            yield from resolver("slow-unknown", 9)
        except ResolveError as error:
            errors.append(error)

    def main(resolver: Resolver) -> Steps:
        tasks = [a_sync(ask, resolver) for _ in range(5)]
        names.free.set()
        for task in tasks:
            yield from task.await_result()

    with Resolver(4) as resolver:
        run(main, resolver)
    assert names.asked == ["slow-unknown"]
    assert len({id(error) for error in errors}) == 5


def test_fault_127_slow_names_hold_up_neither_the_loop_nor_other_names(names: _Names) -> None:
    def main(resolver: Resolver) -> Steps:
        tasks = [a_sync(resolver, f"slow{number}", 9) for number in range(3)]
        yield from resolver("quick", 9)
        assert threading.active_count() - before <= 4
        names.free.set()
        for task in tasks:
            yield from task.await_result()

    before = threading.active_count()
    with Resolver(4) as resolver:
        run(main, resolver)


def test_fault_127_a_hundred_slow_names_take_no_more_threads_than_allowed(names: _Names) -> None:
    def main(resolver: Resolver) -> Steps:
        tasks = [a_sync(resolver, f"slow{number}", 9) for number in range(100)]
        yield from await_sleep(0.01)
        assert threading.active_count() - before == 2
        names.free.set()
        for task in tasks:
            yield from task.await_result()

    before = threading.active_count()
    with Resolver(2) as resolver:
        run(main, resolver)
    assert len(names.asked) == 100


def test_fault_52_who_is_cancelled_waits_no_more_and_keeps_no_loop_alive(names: _Names) -> None:
    def main(resolver: Resolver) -> Steps:
        task: Task[Any] = a_sync(resolver, "slow-unknown", 9)
        yield from await_sleep(0)
        task.cancel()
        with pytest.raises(TaskCancelled):
            yield from task.await_result()

    with Resolver(1) as resolver:
        began = time.monotonic()
        run(main, resolver)
        assert time.monotonic() - began < 2
        names.free.set()  # the late error is no news


def test_a_thread_that_cannot_start_leaves_nothing_hanging(names: _Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with Resolver(1) as resolver:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError, match="new thread"):
                run(resolver, "name", 9)
        assert run(resolver, "name", 9)


def test_idle_threads_end(names: _Names) -> None:
    before = threading.active_count()
    run(Resolver(2, idle=0.01), "name", 9)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert threading.active_count() == before


def test_a_closed_one_refuses() -> None:
    resolver = Resolver(1)
    resolver.close()
    with pytest.raises(PoolStopped, match="name:9"):
        run(resolver, "name", 9)


@pytest.mark.parametrize("bad", [{"size": 0}, {"size": 1, "idle": -1}, {"size": 1, "idle": float("nan")}])
def test_bad_arguments(bad: Any) -> None:
    with pytest.raises(ValueError):
        Resolver(**bad)
    with pytest.raises(TypeError):
        set_resolver(5)  # type: ignore[arg-type]


def _failing(host: str, service: object, family: int) -> Any:
    raise socket.gaierror(socket.EAI_AGAIN, "later")


@pytest.mark.parametrize("look_up", [_failing, lambda *asked: []])
def test_one_of_your_own(look_up: Any) -> None:
    asked: list[Any] = []

    async def noting(host: str, service: str | int, family: int) -> list[AddressInfo]:
        asked.append((host, service, family))
        return []

    former = set_resolver(look_up)
    try:
        with pytest.raises(ConnectError, match="name:9") as caught:
            run(await_connect_to_host, "name", 9)
        assert isinstance(caught.value.__cause__, ResolveError)
        set_resolver(noting)
        with pytest.raises(ConnectError):
            run(await_connect_to_host, "name", 9)
        assert asked == [("name", 9, socket.AF_UNSPEC)]
    finally:
        set_resolver(former)
