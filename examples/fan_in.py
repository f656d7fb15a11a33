#!/usr/bin/env python3
"""Run several shell commands at once and print their lines as they come, each with the number of its command: a fan-in.

One task for each command sends what it reads to one meeting. The status is that of the first command which failed, or 0.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Generator
from typing import Any

from eventsock import Meeting, Stream, a_sync, await_task_in_thread, run

# The number of a command, and a line of it; or its exit status when there are no more lines.
Report = tuple[int, bytes | int]


def follow(number: int, command: str, reports: Meeting[Report]) -> Generator[Any, Any, None]:
    reader, writer = os.pipe()
    with subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=writer) as process:
        os.close(writer)
        with Stream(reader) as stream:
            while (line := (yield from stream.await_getline())) is not None:
                yield from reports.await_send((number, line))
        # A command may close its output long before it ends.
        status = yield from await_task_in_thread(process.wait)
    yield from reports.await_send((number, status))


async def merge(commands: list[str]) -> int:
    reports: Meeting[Report] = Meeting()
    for number, command in enumerate(commands, start=1):
        a_sync(follow, number, command, reports)
    statuses: dict[int, int] = {}
    while len(statuses) < len(commands):
        number, report = await reports.await_receive()
        if isinstance(report, int):
            statuses[number] = report
        else:
            print(f"{number}: {report.decode(errors='replace')}", flush=True)
    return next((status for _, status in sorted(statuses.items()) if status), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", metavar="COMMAND", nargs="+", help="what a shell understands; quote it")
    sys.exit(run(merge, parser.parse_args().commands))


if __name__ == "__main__":
    main()
