"""Connects of tasks where the network refuses: in a network namespace of our own, with routes that lead nowhere and few ports."""

from __future__ import annotations

import errno

import pytest

from namespace_kit import FEW_PORTS, in_namespace, needs_namespace

pytestmark = needs_namespace


@pytest.mark.parametrize(
    ("route", "code"),
    [("unreachable", errno.EHOSTUNREACH), ("prohibit", errno.EACCES), ("blackhole", errno.EINVAL), ("", errno.ENETUNREACH)],
)
@pytest.mark.parametrize("verb", ["await_connect_to_ipv4_host", "await_connect_to_host"])
def test_fault_46_routes_that_lead_nowhere(route: str, code: int, verb: str) -> None:
    program = f"""
from eventsock import *
try:
    run({verb}, "192.0.2.1", 80)
except ConnectError as error:
    print(error.errno, error.address, error.transient)
"""
    done = in_namespace(f"ip route add {route} 192.0.2.0/24" if route else "true", program)
    is_transient = code in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    assert done == ([f"{code} 192.0.2.1:80 {is_transient}"], "")


@pytest.mark.parametrize("verb", ["await_connect_to_ipv4_host", "await_connect_to_host"])
def test_fault_48_ports_are_used_up(verb: str) -> None:
    program = f"""
import os
from eventsock import *
from eventsock.basic import listen_on_ipv4_socket

def main():
    with listen_on_ipv4_socket(True, 50000) as listener:
        clients = []
        for _ in range(10):
            clients.append((yield from {verb}("127.0.0.1", 50000)))
        before = os.listdir("/proc/self/fd")
        try:
            yield from {verb}("127.0.0.1", 50000)
        except ConnectError as error:
            print(error)
        print(os.listdir("/proc/self/fd") == before)
        for client in clients:
            server, _ = yield from await_accept(listener)
            yield from await_send_all(server, b"x")
            server.close()
        for client in clients:
            print(end=str((yield from await_receive(client, 10))))
            client.close()

run(main)
"""
    error = f"[Errno {errno.EADDRNOTAVAIL}] cannot connect to 127.0.0.1:50000: Cannot assign requested address"
    assert in_namespace(FEW_PORTS, program) == ([error, "True", "b'x'" * 10], "")


def test_fault_49_never_connected_to_itself_by_chance() -> None:
    program = """
from eventsock import *
from eventsock.basic import peer_name, socket_name

def main():
    outcomes = set()
    for _ in range(300):
        try:
            sock = yield from await_connect_to_ipv4_host("127.0.0.1", 40004)
        except ConnectionRefusedError as error:
            outcomes.add("itself" in error.strerror)
        else:
            outcomes.add(socket_name(sock) == peer_name(sock))
            sock.close()
    print(*sorted(outcomes))

run(main)
"""
    # By chance it happened, or nobody would have noticed if it had been let through.
    assert in_namespace(FEW_PORTS, program) == (["False True"], "")
