#!/usr/bin/env python3
"""Try which of many TCP ports can be connected to, a few at a time: a parallel map, built of two meetings.

The answers are printed in the order of the arguments, whichever comes first.
"""

import argparse
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, TypeVar

from eventsock import Meeting, Operation, SocketError, a_sync, after, await_choice, await_connect_to_host, finished, run

T = TypeVar("T")
U = TypeVar("U")


async def worker(f: Callable[[T], Awaitable[U]], jobs: Meeting[tuple[int, T]], results: Meeting[tuple[int, U]]) -> None:
    async for place, item in jobs:
        await results.await_send((place, await f(item)))


def parallel_map(f: Callable[[T], Awaitable[U]], items: Sequence[T], workers: int) -> Generator[Any, Any, list[U]]:
    """`[await f(item) for item in items]`, with at most `workers` of them under way."""
    jobs: Meeting[tuple[int, T]] = Meeting()
    results: Meeting[tuple[int, U]] = Meeting()
    for _ in range(min(workers, len(items))):
        a_sync(worker, f, jobs, results)
    answers: dict[int, U] = {}
    given = 0
    while len(answers) < len(items):
        # Both at once: while all workers are busy, somebody must take their results.
        operations: list[Operation[tuple[int, U] | None]] = [results.receiving()]
        if given < len(items):
            operations.append(jobs.sending((given, items[given])))
        result = yield from await_choice(*operations)
        if result is None:
            given += 1
        else:
            answers.update([result])
    jobs.close()
    return [answers[place] for place in range(len(items))]


async def try_port(target: str, patience: float) -> str:
    """What becomes of a connection to `host:port` within `patience` seconds."""
    host, _, port = target.rpartition(":")
    attempt = a_sync(await_connect_to_host, host.strip("[]"), None, int(port))
    try:
        sock = await await_choice(finished(attempt), after(patience))
    except SocketError as error:
        return f"{target}: {error.strerror}"
    if sock is None:
        attempt.cancel()
        return f"{target}: no answer within {patience} s"
    sock.close()
    return f"{target}: open"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=10, help="how many to try at a time (default: %(default)s)")
    parser.add_argument("--patience", type=float, default=3.0, metavar="SECONDS", help="how long to try each (default: %(default)s)")
    parser.add_argument("targets", metavar="HOST:PORT", nargs="+", help="a name or numeric address, and a port")
    arguments = parser.parse_args()
    answers = run(parallel_map, lambda target: try_port(target, arguments.patience), arguments.targets, arguments.workers)
    print(*answers, sep="\n")


if __name__ == "__main__":
    main()
