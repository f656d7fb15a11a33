"""Small requests, small answers: lines under `redis-benchmark` and an HTTP hello under `wrk`.

Where those programs are absent, our own load takes their place, and the title says so.
"""

from __future__ import annotations

import re
from functools import partial

from candidates import Candidate, Server, servers
from environment import tool
from harness import CPU, RATE, Sample, Settings, Skipped, Workload, cpu_ns, load, own_load, serving

CONNECTIONS = 50
FEW_REQUESTS = 20_000
WITHOUT = ("asyncio sock_*", "uvloop sock_*", "eventsock sockets", "eventsock watches")
SERVERS = tuple(server for server in servers() if server.name not in WITHOUT)

PONG = "+PONG\r\n"
GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HELLO = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"


def lines(candidate: Candidate, settings: Settings, depth: int) -> Sample:
    assert isinstance(candidate, Server)
    with serving(candidate, "lines") as (port, pid):
        program = tool("redis-benchmark")
        if program is None:
            return own_load("exchange", port, pid, settings, "-q", "PING\r\n", "-e", PONG, "-d", str(depth), "-c", str(CONNECTIONS))
        rate = _redis_rate(program, port, depth, FEW_REQUESTS)
        requests = max(FEW_REQUESTS, int(rate * settings.seconds))
        before = cpu_ns(pid)
        rate = _redis_rate(program, port, depth, requests)
        return {"rate": rate, "cpu_us": (cpu_ns(pid) - before) / requests / 1000}


def _redis_rate(program: str, port: int, depth: int, requests: int) -> float:
    text = load(program, "-p", str(port), "-t", "ping_inline", "-P", str(depth), "-c", str(CONNECTIONS), "-n", str(requests), "--csv")
    found = re.search(r'"PING_INLINE","([\d.]+)"', text)
    if found is None:
        raise Skipped(f"redis-benchmark said: {text.strip()[-80:]}")
    return float(found[1])


def http(candidate: Candidate, settings: Settings) -> Sample:
    assert isinstance(candidate, Server)
    with serving(candidate, "http") as (port, pid):
        program = tool("wrk")
        if program is None:
            return own_load("exchange", port, pid, settings, "-q", GET, "-e", HELLO, "-c", str(CONNECTIONS))
        before = cpu_ns(pid)
        text = load(program, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(settings.seconds))}s", f"http://127.0.0.1:{port}/")
        rate, requests = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"(\d+) requests in", text)
        if rate is None or requests is None or not int(requests[1]):
            raise Skipped("answered nothing")
        return {"rate": float(rate[1]), "cpu_us": (cpu_ns(pid) - before) / int(requests[1]) / 1000}


LINES = "Lines, 50 connections, " + ("redis-benchmark" if tool("redis-benchmark") else "our own load (redis-benchmark is absent)")
HTTP = "HTTP hello, 50 connections, " + ("wrk" if tool("wrk") else "our own load (wrk is absent)")

WORKLOADS = [
    Workload("lines-1", LINES, "one request at a time", (CPU, RATE), SERVERS, partial(lines, depth=1)),
    Workload("lines-16", LINES, "16 pipelined", (RATE, CPU), SERVERS, partial(lines, depth=16)),
    Workload("http", HTTP, "keep-alive", (RATE, CPU), tuple(server for server in SERVERS if server.style != "plain"), http),
]
