"""A relay between the load and the C server: `eventsock relay` beside socat, which has a process for each connection."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import environment
from candidates import C, Candidate, Server
from harness import RATE, SERVER_CORE, Sample, Settings, Skipped, Workload, own_load, serving

# They are commands, so they have no program among our servers.
CANDIDATES = (Server("no relay", "", "", ""), Server("eventsock relay", "eventsock", "", ""), Server("socat", "", "", ""))


def measure(candidate: Candidate, settings: Settings, size: int, connections: int) -> Sample:
    with serving(C, "echo") as (target, pid), relaying(candidate.name, target) as port:
        return {"rate": own_load("exchange", port, pid, settings, "-n", str(size), "-c", str(connections))["rate"]}


@contextmanager
def relaying(name: str, target: int) -> Iterator[int]:
    """A relay to `target`, on the server's core as well; gives its port."""
    if name == "no relay":
        yield target
        return
    if name == "socat" and environment.tool("socat") is None:
        raise Skipped("is not installed")
    port = _free_port()
    commands = {
        "socat": ["socat", "-b65536", f"TCP-LISTEN:{port},fork,reuseaddr,nodelay,backlog=1024", f"TCP:127.0.0.1:{target},nodelay"],
        "eventsock relay": [str(environment.PYTHON), "-m", "eventsock", "relay", f"127.0.0.1:{port}", f"127.0.0.1:{target}"],
    }
    # A session of its own, so that all of socat's processes end with it.
    with subprocess.Popen(
        commands[name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment.variables(),
        start_new_session=True,
        preexec_fn=partial(os.sched_setaffinity, 0, {SERVER_CORE}),
    ) as process:
        try:
            _await_listener(port, process)
            yield port
        finally:
            os.killpg(process.pid, 9)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None:
                raise Skipped("did not start") from None


def _workload(size: int, shown: str, connections: int) -> Workload:
    return Workload(
        f"relay-{size}-{connections}",
        "A relay",
        f"{shown} there and back, {connections} connections",
        (RATE,),
        CANDIDATES,
        partial(measure, size=size, connections=connections),
        note="The C server behind it has the relay's core: it is the same for all, and what it costs is in the first line.",
    )


WORKLOADS = [_workload(1024, "1 KiB", 50), _workload(65536, "64 KiB", 50)]
