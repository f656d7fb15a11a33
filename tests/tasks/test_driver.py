"""What drives a body: words that nobody understands, raw waits, deep chains, bodies that are closed, no garbage on the way."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from eventsock import (
    Cancelled,
    EventLoop,
    LoopStateError,
    Task,
    a_sync,
    await_callback,
    await_sleep,
    await_yield,
    get_resume,
    run,
    waitable,
)

Steps = Generator[Any, Any, Any]


class Unspeakable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


async def unawaited() -> None:
    pass


# A wrong word


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (lambda: 42, r"yielded 42 \(int\), which nothing answers"),
        (lambda: await_sleep(1), "write `yield from …` instead of `yield …`"),
        (lambda: (each for each in (1,)), "yielded a generator: write `yield from"),
        (Unspeakable, "yielded a Unspeakable, which nothing answers"),
    ],
    ids=["number", "await procedure", "generator", "no repr"],
)
def test_a_wrong_word_is_told_at_its_line_and_others_live(word: Callable[[], object], told: str) -> None:
    said: list[str] = []

    def other() -> Steps:
        yield from await_yield()
        said.append("other lives")

    def body() -> Steps:
        a_sync(other)
        kept = word()
        with pytest.raises(TypeError, match=told):
            yield kept
        if hasattr(kept, "close"):
            kept.close()
        yield from await_yield()
        said.append("goes on")

    run(body)
    assert said == ["other lives", "goes on"]


def test_a_coroutine_as_a_word() -> None:
    def body() -> Steps:
        coroutine = unawaited()
        with pytest.raises(TypeError, match="yielded a coroutine: write `yield from"):
            yield coroutine
        coroutine.close()

    run(body)


def test_a_wrong_word_that_nobody_catches_ends_the_task_alone() -> None:
    def wrong() -> Steps:
        yield 42

    seen: list[str] = []
    with EventLoop(on_error=lambda error, where: seen.append(f"{type(error).__name__} from {where}")) as loop:
        wrong_task = a_sync(wrong, loop=loop)
        other = a_sync(await_sleep, 0.001, loop=loop)
        loop.run()
        assert (seen, other.done) == ([f"TypeError from {wrong_task}"], True)


def test_who_repeats_a_wrong_word_starves_nobody() -> None:
    def deaf() -> Steps:
        while True:
            try:
                yield 42
            except TypeError:
                pass

    def main() -> Steps:
        a_sync(deaf)
        yield from await_sleep(0.005)

    run(main)


def test_a_bare_yield_in_an_async_def_names_the_cure() -> None:
    @waitable
    def raw() -> Steps:
        yield

    async def body() -> None:
        with pytest.raises(TypeError, match="await_callback"):
            await raw()

    run(body)


# Raw waits


def test_resume_continues_a_bare_yield_with_a_value_or_an_error() -> None:
    seen: list[object] = []
    resumes: list[Any] = []

    def body() -> Steps:
        resumes.append(get_resume())
        seen.append((yield))
        seen.append((yield))
        with pytest.raises(KeyError):
            yield

    with EventLoop() as loop:
        task = a_sync(body, loop=loop)
        (resume,) = resumes
        loop.post(lambda: resume(1))
        loop.post(resume)
        loop.post(lambda: resume.throw(KeyError()))
        loop.run()
        assert (seen, task.done) == ([1, None], True)
        assert repr(resume) == f"<resume of {task}>"


def test_resume_outside_a_turn_raises_the_tasks_error() -> None:
    resumes: list[Any] = []

    def body() -> Steps:
        resumes.append(get_resume())
        yield
        raise ValueError("resumed")

    with EventLoop() as loop:
        a_sync(body, loop=loop)
        with pytest.raises(ValueError, match="resumed"):
            resumes[0]()


def test_an_awaited_tasks_error_goes_to_the_waiter_and_not_to_the_resumer() -> None:
    resumes: list[Any] = []
    seen: list[str] = []

    def body() -> Steps:
        resumes.append(get_resume())
        yield
        raise ValueError("resumed")

    def waiter(task: Task[Any]) -> Steps:
        try:
            yield from task.await_result()
        except ValueError as error:
            seen.append(str(error))

    with EventLoop() as loop:
        a_sync(waiter, a_sync(body, loop=loop), loop=loop)
        resumes[0]()
        loop.run()
    assert seen == ["resumed"]


def test_resume_elsewhere_is_an_error_that_says_where_the_task_stands() -> None:
    def body() -> Steps:
        resume = get_resume()
        resumes.append(resume)
        with pytest.raises(LoopStateError, match="is running"):
            resume()
        yield from await_yield()
        yield from await_sleep(0)
        yield from await_callback(held.append)

    resumes: list[Any] = []
    held: list[Any] = []
    with EventLoop() as loop:
        task = a_sync(body, loop=loop)
        (resume,) = resumes
        for stands in (
            r"await_yield\(\) and waits for its next turn",
            r"await_sleep\(\) and waits for time \(0.0 s\)",
            r"await_callback\(\) and waits for a callback from list.append",
        ):
            with pytest.raises(LoopStateError, match=f"while {task} stands in {stands}; it answers a bare `yield` only"):
                resume()
            loop.step()
        held[0]()
        loop.run()
        assert task.done
        with pytest.raises(LoopStateError, match="has ended"):
            resume.throw(ValueError())


def test_waking_a_task_that_has_ended_is_an_error_and_changes_nothing() -> None:
    with EventLoop() as loop:
        task = a_sync(lambda: "result", loop=loop)
        with pytest.raises(LoopStateError, match="was resumed, but it has ended"):
            task.wake()
        assert task.result() == "result"


def test_resume_in_another_thread_is_refused() -> None:
    def body() -> Steps:
        resumes.append(get_resume())
        return (yield)

    def elsewhere() -> None:
        with pytest.raises(LoopStateError, match=f"was resumed in thread {threading.get_ident()}.*post"):
            resumes[0]("from afar")
        task.loop.post(lambda: resumes[0]("posted"))

    def in_a_turn() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(10)

    resumes: list[Any] = []
    with EventLoop() as loop:
        task = a_sync(body, loop=loop)
        loop.post(in_a_turn)
        loop.run()
        assert task.result() == "posted"


def test_resume_wants_an_exception() -> None:
    def body() -> Steps:
        with pytest.raises(TypeError, match="must be an exception, not int"):
            get_resume().throw(5)  # type: ignore[arg-type]
        yield from await_yield()

    run(body)


def test_a_task_resumed_by_another_one_gives_the_current_task_back() -> None:
    resumes: list[Any] = []
    current: list[Task[Any] | None] = []

    def resumed() -> Steps:
        resumes.append(get_resume())
        yield
        current.append(Task.current())

    def main() -> Steps:
        task = a_sync(resumed)
        resumes[0]()
        current.append(Task.current())
        yield from await_yield()
        return [task, me]

    me: Any = None
    with EventLoop() as loop:
        me = a_sync(main, loop=loop)
        loop.run()
        assert current == me.result()[:1] + [me]
    assert Task.current() is None


# Deep


@pytest.mark.parametrize("depth", [1, 100, 800])
def test_chains_are_as_deep_as_python_allows(depth: int) -> None:
    def link(below: int) -> Steps:
        if below:
            return 1 + (yield from link(below - 1))
        yield from await_yield()
        yield from await_sleep(0)
        return 1

    assert run(link, depth - 1) == depth


def test_too_deep_a_chain_is_a_clean_error() -> None:
    def link() -> Steps:
        yield from link()

    with pytest.raises(RecursionError):
        run(link)


# Closing


def test_quit_closes_tasks_in_the_order_they_started() -> None:
    ended: list[str] = []

    def body(name: str) -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            ended.append(name)

    with EventLoop() as loop:
        tasks = [a_sync(body, name, loop=loop) for name in "abc"]
        loop.post(loop.quit)
        loop.run()
        assert ended == ["a", "b", "c"]
        assert [(task.done, task.cancelled, str(task.error)) for task in tasks] == [(True, True, "cancelled: the loop ended")] * 3
        assert len(loop.residents) == 0


@pytest.mark.parametrize("wait", [lambda: await_sleep(0), await_yield, lambda: await_callback(print)], ids=["sleep", "yield", "callback"])
def test_an_await_while_the_task_is_closed_raises(wait: Callable[[], Any]) -> None:
    seen: list[str] = []

    def body() -> Steps:
        try:
            yield from await_sleep(60)
        finally:
            try:
                yield from wait()
            except LoopStateError as error:
                seen.append(str(error))

    with EventLoop() as loop:
        a_sync(body, loop=loop)
        loop.post(loop.quit)
        loop.run()
    assert seen == [
        "task 'test_an_await_while_the_task_is_closed_raises.<locals>.body' cannot wait any more: its loop has quit or was closed"
    ]


def test_errors_of_closing_leave_run_one_by_one() -> None:
    def body(number: int) -> Steps:
        try:
            yield
        finally:
            raise KeyError(number)

    with EventLoop() as loop:
        for number in range(4):
            a_sync(body, number, loop=loop)
        loop.post(loop.quit)
        with pytest.raises(KeyError, match="0") as caught:
            loop.run()
        notes = "".join(caught.value.__notes__)
        assert all(f"KeyError: {number}" in notes for number in range(1, 4))


def test_a_body_that_will_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[str] = []

    def stubborn() -> Steps:
        while True:
            try:
                yield
            except BaseException:
                pass

    # Python tries once more to close it, and complains.
    monkeypatch.setattr(sys, "unraisablehook", lambda told: complaints.append(str(told.exc_value)))
    with EventLoop() as loop:
        a_sync(stubborn, loop=loop)
        loop.post(loop.quit)
        with pytest.raises(RuntimeError, match="goes on waiting although its loop has ended"):
            loop.run()
    gc.collect()
    assert complaints == ["generator ignored GeneratorExit"]


def test_the_task_that_quits_is_closed_at_its_next_suspension() -> None:
    said: list[str] = []

    def body() -> Steps:
        try:
            loop.quit()
            said.append("after quit")
            yield from await_yield()
            said.append("never")
        finally:
            said.append("finally")

    with EventLoop() as loop:
        loop.post(lambda: a_sync(body) and None)
        loop.run()
    assert said == ["after quit", "finally"]


def test_a_closed_task_leaves_what_it_waited_for() -> None:
    def waiter(task: Task[Any]) -> Steps:
        yield from task.await_result()

    def runs_on() -> Steps:
        yield

    with EventLoop(debug=False) as loop:
        awaited = a_sync(runs_on, loop=loop)
        waiting = a_sync(waiter, awaited, loop=loop)
        waiting.shut()
        assert waiting.done
        awaited.cancel()
        loop.run()
        assert awaited.cancelled


def test_the_current_task_of_a_finally_of_a_closed_task_is_itself() -> None:
    seen: list[Task[Any] | None] = []

    def body() -> Steps:
        try:
            yield
        finally:
            seen.append(Task.current())

    loop = EventLoop()
    task = a_sync(body, loop=loop)
    loop.close()
    assert seen == [task]
    assert Task.current() is None


# Garbage


# From 3.12 on a trace holds the frames below those it names as well: the loop's, and what they had in hand.
_TRACES_ARE_SHORT = sys.version_info < (3, 12)


def _operations() -> Steps:
    def child() -> Steps:
        yield from await_sleep(0)
        return 1

    def fails() -> Steps:
        yield from await_yield()
        raise ValueError

    def cancelled() -> Steps:
        try:
            yield from await_sleep(60)
        except Cancelled:
            yield from await_yield()
            raise

    for _ in range(3):
        yield from await_yield()
        yield from await_sleep(0)
        yield from await_callback(lambda resume: resume(1))
        assert (yield from a_sync(child).await_result()) == 1
        if _TRACES_ARE_SHORT:
            failing = a_sync(fails)
            try:
                yield from failing.await_result()
            except ValueError:
                pass
            del failing
        task = a_sync(cancelled)
        yield from await_yield()
        task.cancel()
        while not task.done:
            yield from await_yield()
        del task


def test_operations_leave_no_garbage() -> None:
    def main() -> Steps:
        yield from _operations()
        gc.collect()
        gc.disable()
        try:
            yield from _operations()
            return gc.collect()
        finally:
            gc.enable()

    assert run(main) == 0
