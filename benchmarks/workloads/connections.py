"""What a connection costs: to accept, answer once and close; and in memory, while a task waits for it to say something."""

from __future__ import annotations

import socket
from pathlib import Path

from candidates import Candidate, Server, servers
from harness import BYTES, CPU, RATE, Sample, Settings, Workload, own_load, serving

AT_ONCE = 16
IDLE = 2000
FIRST = 100  # connections that warm the server's heap up
WITHOUT = ("eventsock without gather", "eventsock sockets", "asyncio sock_*", "uvloop sock_*")
SERVERS = tuple(server for server in servers() if server.name not in WITHOUT)


def churn(candidate: Candidate, settings: Settings) -> Sample:
    assert isinstance(candidate, Server)
    with serving(candidate, "echo") as (port, pid):
        return own_load("churn", port, pid, settings, "-n", "64", "-c", str(AT_ONCE))


def idle_memory(candidate: Candidate, settings: Settings) -> Sample:
    assert isinstance(candidate, Server)
    connected: list[socket.socket] = []
    try:
        with serving(candidate, "echo") as (port, pid):
            connected += [_spoken_once(port) for _ in range(FIRST)]
            before = _private_bytes(pid)
            connected += [_spoken_once(port) for _ in range(IDLE)]
            return {"bytes": (_private_bytes(pid) - before) / IDLE}
    finally:
        for sock in connected:
            sock.close()


def _spoken_once(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(b"x")
    sock.recv(1)
    return sock


def _private_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


WORKLOADS = [
    Workload("churn", "Accept churn", f"connect, 64 B there and back, close; {AT_ONCE} at once", (RATE, CPU), SERVERS, churn),
    Workload(
        "idle-memory",
        "Memory",
        "per idle connection with a waiting task",
        (BYTES,),
        SERVERS,
        idle_memory,
        note=f"Private memory of the server for each of {IDLE} connections that have been answered once; the kernel's buffers not counted.",
    ),
]
