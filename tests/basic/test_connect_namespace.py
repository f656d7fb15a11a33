"""Connects where the network refuses: in a network namespace of our own, with routes that lead nowhere and few ports."""

from __future__ import annotations

import errno

import pytest

from namespace_kit import FEW_PORTS, in_namespace, needs_namespace

pytestmark = needs_namespace


@pytest.mark.parametrize(
    ("route", "code"),
    [("unreachable", errno.EHOSTUNREACH), ("prohibit", errno.EACCES), ("blackhole", errno.EINVAL), ("", errno.ENETUNREACH)],
)
@pytest.mark.parametrize("verb", ["connect_to_ipv4_host", "connect_to_host"])
def test_routes_that_lead_nowhere(route: str, code: int, verb: str) -> None:
    program = f"""
from eventsock.basic import *
try:
    {verb}("192.0.2.1", 80)
except ConnectError as error:
    print(error.errno, error.address, error.transient)
"""
    done = in_namespace(f"ip route add {route} 192.0.2.0/24" if route else "true", program)
    is_transient = code in (errno.EHOSTUNREACH, errno.ENETUNREACH)
    assert done == ([f"{code} 192.0.2.1:80 {is_transient}"], "")


def test_ports_are_used_up() -> None:
    program = """
from eventsock.basic import *
listener = listen_on_ipv4_socket(True, 50000)
clients = [connect_to_ipv4_host("127.0.0.1", 50000) for _ in range(10)]
try:
    connect_to_ipv4_host("127.0.0.1", 50000)
except ConnectError as error:
    print(error)
for client in clients:
    server, address = accept_ipv4_connection(listener, timeout=5)
    send_all(server, b"x")
    server.close()
print(*{receive(client, 10) for client in clients})
for each in [listener, *clients]:
    each.close()
"""
    done = in_namespace(FEW_PORTS, program)
    error = f"[Errno {errno.EADDRNOTAVAIL}] cannot connect to 127.0.0.1:50000: Cannot assign requested address"
    assert done == ([error, "b'x'"], "")


def test_never_connected_to_itself_by_chance() -> None:
    program = """
from eventsock.basic import *
outcomes = set()
for _ in range(300):
    try:
        sock = connect_to_ipv4_host("127.0.0.1", 40004)
    except ConnectionRefusedError as error:
        outcomes.add("noticed" if "itself" in error.strerror else "refused")
    else:
        outcomes.add("connected")
        sock.close()
print(*sorted(outcomes))
"""
    # By chance it happened, and was noticed.
    assert in_namespace(FEW_PORTS, program) == (["noticed refused"], "")
