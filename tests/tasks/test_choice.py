"""Choice among things that are no meetings: descriptors, time and tasks; and among all kinds at once.

Knows what each operation leaves behind: nothing held, armed, watched or timed, whichever arm won.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, cast

import pytest

from eventsock import (
    BusyError,
    EventLoop,
    LoopStateError,
    Meeting,
    MeetingClosed,
    Operation,
    SocketError,
    Task,
    TaskCancelled,
    a_sync,
    after,
    await_choice,
    await_readable,
    await_sleep,
    await_yield,
    finished,
    readable,
    run,
    writable,
)

Steps = Generator[Any, Any, None]
SocketPair = tuple[socket.socket, socket.socket]


def left_behind(loop: EventLoop, *files: socket.socket) -> list[str]:
    """What a choice should have taken with it."""
    found = [f"{loop.book.armed} armed"] if loop.book.armed else []
    found += [f"{len(loop.timers)} timeouts"] if len(loop.timers) else []
    for file in files:
        descriptor = loop.book.find(file)
        found += [f"{side} is held" for side in (descriptor.read, descriptor.write) if side.holder or side.waiter]
    return found


def own_loop() -> EventLoop:
    task = Task.current()
    assert task is not None
    return task.loop


def fill(sock: socket.socket) -> None:
    """Send until it takes no more."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(1 << 16))


def sleeper(seconds: float, result: object = None) -> Generator[Any, Any, object]:
    yield from await_sleep(seconds)
    return result


def failing(seconds: float = 0.0) -> Steps:
    yield from await_sleep(seconds)
    raise KeyError("mine")


# One by one


def test_readable_and_writable_wait_for_readiness(socket_pair: SocketPair) -> None:
    ours, theirs = socket_pair

    def main() -> Generator[Any, Any, list[str | None]]:
        results: list[str | None] = []
        results.append((yield from await_choice(writable(ours).map(lambda _: "writable"), after(9))))
        own_loop().timeout_post(0.01, lambda: theirs.send(b"x"), repeat=False)
        yield from readable(ours).await_()
        results.append((yield from await_choice(readable(ours).map(lambda _: "readable"), after(9))))
        assert left_behind(own_loop(), ours) == []
        return results

    assert run(main) == ["writable", "readable"]
    assert ours.recv(10) == b"x", "a choice reads nothing"


@pytest.mark.parametrize("as_number", [True, False])
def test_file_may_be_a_number(socket_pair: SocketPair, as_number: bool) -> None:
    ours, theirs = socket_pair
    file = ours.fileno() if as_number else ours

    def main() -> Generator[Any, Any, str]:
        own_loop().timeout_post(0.01, lambda: theirs.send(b"x"), repeat=False)
        for _ in range(2):
            result = yield from await_choice(after(9).map(lambda _: "late"), readable(file).map(lambda _: "readable"))
        return result

    assert run(main) == "readable"


def test_ready_descriptor_is_taken_in_the_order_of_arguments(socket_pair: SocketPair) -> None:
    ours, theirs = socket_pair
    meeting: Meeting[int] = Meeting()
    theirs.send(b"x")

    def main() -> Generator[Any, Any, list[object]]:
        sender = a_sync(meeting.await_send, 1)
        ready, receive = readable(ours).map(lambda _: "readable"), meeting.receiving()
        results: list[object] = [(yield from await_choice(ready, receive, after(0))), (yield from await_choice(receive, ready, after(0)))]
        yield from sender.await_result()
        return results

    assert run(main) == ["readable", 1]


def test_after_nothing_is_a_trial(socket_pair: SocketPair) -> None:
    ours, theirs = socket_pair
    meeting: Meeting[int] = Meeting()

    def trial() -> Any:
        return await_choice(after(0).map(lambda _: "nothing"), meeting.receiving(), readable(ours).map(lambda _: "readable"))

    def main() -> Generator[Any, Any, list[object]]:
        results = [(yield from trial())]
        theirs.send(b"x")
        results.append((yield from trial()))
        a_sync(meeting.await_send, 1)
        results.append((yield from trial()))
        assert left_behind(own_loop(), ours) == []
        return results

    assert run(main) == ["nothing", "readable", 1]


def test_descriptor_that_is_ready_when_time_is_over_is_taken(socket_pair: SocketPair) -> None:
    ours, theirs = socket_pair

    def stall(loop: EventLoop, until: float) -> None:
        theirs.send(b"x")
        while loop.time() < until:
            pass

    def main() -> Generator[Any, Any, str]:
        loop = own_loop()
        loop.post(partial(stall, loop, loop.time() + 0.02))
        return (yield from await_choice(after(0.01).map(lambda _: "late"), readable(ours).map(lambda _: "readable")))

    assert run(main) == "readable"


@pytest.mark.parametrize("seconds", [-1, 0, 0.02])
def test_after_is_never_early(seconds: float) -> None:
    def main() -> Generator[Any, Any, float]:
        began = own_loop().time()
        yield from after(seconds).await_()
        return own_loop().time() - began

    assert run(main) >= seconds


def test_time_counts_from_the_await() -> None:
    operation = after(0.02)

    def main() -> Generator[Any, Any, float]:
        yield from await_sleep(0.03)
        began = own_loop().time()
        yield from operation.await_()
        return own_loop().time() - began

    assert run(main) >= 0.02


def test_infinity_never_comes() -> None:
    def main() -> Generator[Any, Any, str]:
        return (yield from await_choice(after(float("inf")).map(lambda _: "ever"), after(0.01).map(lambda _: "soon")))

    assert run(main) == "soon"


@pytest.mark.parametrize(("seconds", "error"), [(float("nan"), ValueError), ("1", TypeError), (None, TypeError), (True, TypeError)])
def test_after_refuses_what_is_no_duration(seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seconds must be a"):
        after(seconds)


@pytest.mark.parametrize("ended", [True, False])
def test_finished_gives_the_result(ended: bool) -> None:
    def main() -> Generator[Any, Any, object]:
        task = a_sync(sleeper, 0.01, "rested")
        if ended:
            yield from task.await_result()
        return (yield from await_choice(finished(task).map(lambda word: f"{word}!"), after(9)))

    assert run(main) == "rested!"


@pytest.mark.parametrize("cancelled", [True, False])
def test_finished_raises_the_error(cancelled: bool) -> None:
    def main() -> Steps:
        task = a_sync(failing)
        if cancelled:
            task.cancel("tired")
        yield from await_choice(after(9), finished(task).map(str))

    with pytest.raises(TaskCancelled if cancelled else KeyError, match="tired" if cancelled else "mine"):
        run(main)


def test_losing_leaves_the_task_alone_and_its_error_to_others() -> None:
    def main() -> Generator[Any, Any, str]:
        task = a_sync(sleeper, 0.02, "slept on")
        yield from await_choice(finished(task), after(0))
        return cast(str, (yield from task.await_result()))

    assert run(main) == "slept on"

    def careless() -> Steps:
        task = a_sync(failing, 0.02)
        yield from await_choice(finished(task), after(0))
        yield from await_sleep(9)

    with pytest.raises(KeyError, match="mine"):
        run(careless)


@pytest.mark.parametrize("thing", [5, None, "task", failing])
def test_finished_wants_a_task(thing: Any) -> None:
    with pytest.raises(TypeError, match=f"task must be a Task, as a_sync\\(\\) returns it, not {type(thing).__name__}"):
        finished(thing)


# Refused, before anything is done


def refusals(ours: socket.socket) -> dict[str, tuple[Callable[[], Operation[Any]], type[Exception], str]]:
    """What a choice cannot wait for, by the kind of reason."""
    with socket.socket() as closed:
        number = closed.fileno()
    return {
        "closed": (lambda: readable(closed), SocketError, "not an open descriptor"),
        "closed number": (lambda: writable(number), SocketError, f"cannot watch descriptor {number}"),
        "no file": (lambda: readable(cast(Any, "file")), TypeError, "file must be a descriptor number or have fileno"),
        "busy reader": (lambda: readable(ours), BusyError, "task 'reader'"),
        "busy watch": (lambda: writable(ours), BusyError, "a watch"),
    }


@pytest.mark.parametrize("kind", ["closed", "closed number", "no file", "busy reader", "busy watch"])
@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_what_cannot_be_waited_for_is_refused_wherever_it_stands(socket_pair: SocketPair, kind: str, first: bool, mapped: bool) -> None:
    ours, _ = socket_pair
    make, error, text = refusals(ours)[kind]
    meeting: Meeting[int] = Meeting()

    def main() -> Steps:
        a_sync(await_readable, ours, name="reader")
        own_loop().add_write_watch(ours, lambda status: None)
        sender = a_sync(meeting.await_send, 1)
        operations = [meeting.receiving(), make().map(str) if mapped else make()]
        with pytest.raises(error, match=text):
            yield from await_choice(*(operations[::-1] if first else operations))
        own_loop().remove_write_watch(ours)
        assert (yield from meeting.await_receive()) == 1, "nothing was taken"
        yield from sender.await_result()

    run(main)


def test_regular_file_is_refused(tmp_path: Any) -> None:
    def main() -> Steps:
        with open(tmp_path / "file", "w") as file, pytest.raises(SocketError, match="regular file"):
            yield from await_choice(readable(file), after(0))

    run(main)


def test_task_of_another_loop_and_oneself_are_refused() -> None:
    with EventLoop() as there:
        stranger = a_sync(sleeper, 9, loop=there)

        def main() -> Steps:
            with pytest.raises(LoopStateError, match="another loop"):
                yield from await_choice(after(9), finished(stranger))
            me = Task.current()
            assert me is not None
            with pytest.raises(LoopStateError, match="its own end"):
                yield from await_choice(after(9), finished(me))

        run(main)


def test_choice_holds_its_descriptors(socket_pair: SocketPair) -> None:
    ours, _ = socket_pair

    def choose() -> Steps:
        yield from await_choice(after(9), readable(ours))

    def main() -> Steps:
        task = a_sync(choose, name="chooser")
        with pytest.raises(BusyError, match="task 'chooser'"):
            yield from await_readable(ours)
        with pytest.raises(BusyError, match="task 'chooser'"):
            own_loop().add_read_watch(ours, lambda status: None)
        task.cancel()
        yield from await_yield()
        own_loop().add_read_watch(ours, lambda status: None)
        own_loop().remove_read_watch(ours)

    run(main)


def test_descriptor_named_twice_counts_once(socket_pair: SocketPair) -> None:
    ours, theirs = socket_pair

    def main() -> Generator[Any, Any, str]:
        own_loop().timeout_post(0.01, lambda: theirs.send(b"x"), repeat=False)
        result = yield from await_choice(*(readable(ours).map(lambda _, n=n: n) for n in ("first", "second")))  # type: ignore[misc]
        assert left_behind(own_loop(), ours) == []
        return cast(str, result)

    assert run(main) == "first"


def test_descriptor_that_is_closed_meanwhile_is_an_error(socket_pair: SocketPair) -> None:
    ours, _ = socket_pair
    other = socket.socket()

    def close(loop: EventLoop) -> None:
        loop.forget(other)
        other.close()

    def main() -> Steps:
        loop = own_loop()
        other.listen()
        loop.timeout_post(0.01, partial(close, loop), repeat=False)
        with pytest.raises(SocketError, match="was closed while a task waited"):
            yield from await_choice(readable(ours), readable(other), after(9))
        assert left_behind(loop, ours) == []

    run(main)


def test_later_arm_that_cannot_block_releases_the_earlier(socket_pair: SocketPair) -> None:
    ours, _ = socket_pair

    class Refusing(Operation[None]):
        def block(self, arm: Any) -> None:
            raise SocketError(28)

        def undo(self, arm: Any) -> None:
            pass

    def main() -> Steps:
        meeting, other = Meeting[int](), Meeting[int]()
        task: Task[Any] = a_sync(other.await_receive)
        with pytest.raises(OSError):
            yield from await_choice(readable(ours), after(9), finished(task), meeting.receiving(), Refusing())
        assert left_behind(own_loop(), ours) == []
        assert not meeting.ready

    run(main)


# Fairness


@pytest.mark.parametrize("kind", ["readable", "finished", "alone"])
def test_what_is_always_ready_starves_nobody(socket_pair: SocketPair, kind: str) -> None:
    ours, theirs = socket_pair
    theirs.send(b"x")
    rounds = 0

    def main() -> Steps:
        nonlocal rounds
        done = a_sync(sleeper, 0.0)
        yield from done.await_result()
        ringing = a_sync(sleeper, 0.02)
        while not ringing.done:
            if kind == "alone":
                yield from readable(ours).await_()
            else:
                yield from await_choice(readable(ours) if kind == "readable" else finished(done), after(9))
            rounds += 1

    run(main)
    assert rounds > 10


def test_two_busy_senders_are_both_served_in_10_000_rounds() -> None:
    a, b = Meeting[str](), Meeting[str]()
    got: list[str] = []

    def send(name: str, meeting: Meeting[str]) -> Steps:
        for _ in range(5000):
            yield from meeting.await_send(name)

    def main() -> Steps:
        for name, meeting in (("a", a), ("b", b)):
            a_sync(send, name, meeting)
        for _ in range(10_000):
            got.append((yield from await_choice(a.receiving(), b.receiving())))

    run(main)
    assert got.count("b") == 5000
    assert max(len(list(group)) for _, group in itertools.groupby(got[:7000])) < 4


# All kinds at once


@pytest.mark.parametrize("winner", ["receive", "send", "read", "write", "time", "task"])
@pytest.mark.parametrize("rotation", range(6))
def test_winner_of_all_kinds_leaves_nothing_behind(socket_pair: SocketPair, winner: str, rotation: int) -> None:
    ours, theirs = socket_pair
    incoming, outgoing = Meeting[str](), Meeting[str]()

    def main() -> Steps:
        loop = own_loop()
        fill(ours)
        task = a_sync(sleeper, 0.01 if winner == "task" else 9, "task")
        operations: list[Operation[Any]] = [
            incoming.receiving(),
            outgoing.sending("datum").map(lambda _: "send"),
            readable(ours).map(lambda _: "read"),
            writable(ours).map(lambda _: "write"),
            after(0.01 if winner == "time" else 9).map(lambda _: "time"),
            finished(task),
        ]
        causes: dict[str, Callable[[], object]] = {
            "receive": lambda: a_sync(incoming.await_send, "receive"),
            "send": lambda: a_sync(outgoing.await_receive),
            "read": lambda: theirs.send(b"x"),
            "write": lambda: theirs.recv(1 << 22),
        }
        if winner in causes:
            loop.timeout_post(0.01, causes[winner], repeat=False)
        assert (yield from await_choice(*operations[rotation:], *operations[:rotation])) == winner
        task.cancel()
        yield from await_yield()
        assert left_behind(loop, ours) == []
        assert not any(meeting.ready for meeting in (incoming, outgoing))

    run(main)


@pytest.mark.parametrize("times", [1, 2])
def test_cancel_leaves_nothing_behind(socket_pair: SocketPair, times: int) -> None:
    ours, _ = socket_pair
    meeting: Meeting[int] = Meeting()

    def choose() -> Steps:
        yield from await_choice(readable(ours), meeting.receiving(), after(9), meeting.sending(1))

    with EventLoop() as loop:
        task = a_sync(choose, loop=loop)
        for _ in range(times):
            task.cancel()
        assert not meeting.ready
        assert left_behind(loop, ours) == []
        loop.run()
        assert task.cancelled


def test_meeting_closed_in_the_midst_withdraws_the_rest(socket_pair: SocketPair) -> None:
    ours, _ = socket_pair
    closing, other = Meeting[int](), Meeting[int]()

    def main() -> Steps:
        own_loop().timeout_post(0.01, closing.close, repeat=False)
        with pytest.raises(MeetingClosed):
            yield from await_choice(readable(ours), other.receiving(), closing.receiving(), after(9))
        assert not other.ready
        assert left_behind(own_loop(), ours) == []

    run(main)


def test_readiness_is_asked_of_select_where_there_is_no_poll(socket_pair: SocketPair, monkeypatch: pytest.MonkeyPatch) -> None:
    import select

    ours, theirs = socket_pair

    def main() -> Generator[Any, Any, list[object]]:
        monkeypatch.delattr(select, "poll")
        trials = [readable(ours).map(lambda _: "readable"), writable(ours).map(lambda _: "writable")]
        results: list[object] = [(yield from await_choice(*trials, after(0)))]
        theirs.send(b"x")
        results.append((yield from await_choice(*trials, after(0))))
        return results

    assert run(main) == ["writable", "readable"]


@pytest.mark.parametrize(("operation", "text"), [(after(5), "time (5.0 s)"), (readable(0), "0 readable"), (writable(1), "1 writable")])
def test_operations_say_what_they_are(operation: Operation[Any], text: str) -> None:
    assert str(operation) == text
