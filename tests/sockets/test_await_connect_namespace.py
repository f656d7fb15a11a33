"""Connects of tasks where the network refuses: in a network namespace of our own, with routes that lead nowhere and few ports."""

from __future__ import annotations

import errno

import pytest

from namespace_kit import FEW_PORTS, in_namespace, needs_namespace

pytestmark = needs_namespace


def test_fault_46_routes_that_lead_nowhere() -> None:
    routes = {"unreachable": "192.0.2", "prohibit": "198.51.100", "blackhole": "203.0.113"}
    program = """
from eventsock import *

def main():
    for verb in (await_connect_to_ipv4_host, await_connect_to_host):
        for net in ("192.0.2", "198.51.100", "203.0.113", "10.0.0"):
            try:
                yield from verb(f"{net}.1", 80)
            except ConnectError as error:
                print(error.errno, error.address, error.transient)

run(main)
"""
    done = in_namespace(" && ".join(f"ip route add {kind} {net}.0/24" for kind, net in routes.items()), program)
    told = [
        f"{errno.EHOSTUNREACH} 192.0.2.1:80 True",
        f"{errno.EACCES} 198.51.100.1:80 False",
        f"{errno.EINVAL} 203.0.113.1:80 False",
        f"{errno.ENETUNREACH} 10.0.0.1:80 True",
    ]
    assert done == (told + told, "")


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
