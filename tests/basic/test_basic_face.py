"""The face of the library: what it names is there, what it does not need is not loaded, and type checkers see the same."""

from __future__ import annotations

import ast
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import eventsock.basic
from eventsock import basic

_Start = Callable[..., "subprocess.Popen[str]"]

_CONTRACT = """
    connect_to_ipv4_host connect_to_ipv6_host connect_to_unix_host connect_to_addresses connect_to_host
    listen_on_ipv4_socket listen_on_ipv6_socket listen_on_unix_socket
    accept_ipv4_connection accept_ipv6_connection accept_unix_connection
    SocketAddress inet_address unix_address ipv4_address_to_string ipv6_address_to_string
    address_information AddressInfo name_information
    receive receive_into receive_from receive_from_into receive_exactly send send_all send_to accept_ready receive_ready
    write_bytes write_string send_descriptors receive_descriptors timeouts
    io_ports abandon_port port_socket SocketOptions
    set_fd_blocking set_fd_non_blocking set_ignore_sigpipe shutdown close_fd
    socket_name peer_name socketpair htons htonl ntohs ntohl inet_pton inet_ntop
    SocketError ConnectError ListenError AcceptError ResolveError UnsupportedOptionError IncompleteRead EventsockError
"""


def _output(program: subprocess.Popen[str]) -> str:
    out, err = program.communicate()
    assert (err, program.returncode) == ("", 0)
    return out.strip()


@pytest.mark.parametrize("name", _CONTRACT.split())
def test_name_of_the_contract(name: str) -> None:
    assert getattr(basic, name) is not None
    assert name in basic.__all__
    assert name in dir(basic)


@pytest.mark.parametrize(
    "name", ["AF_UNIX", "SOCK_STREAM", "SOL_SOCKET", "SO_REUSEADDR", "TCP_NODELAY", "IP_TTL", "IPV6_V6ONLY", "IPPROTO_TCP"]
)
def test_constants_are_those_of_the_standard_library(name: str) -> None:
    assert getattr(basic, name) is getattr(socket, name)


def test_every_constant_of_the_platform() -> None:
    kinds = "AF_ SOCK_ SOL_ SO_ TCP_ IP_ IPV6_ IPPROTO_ MSG_ AI_ NI_ EAI_ SHUT_ INADDR_"
    wanted = {name for name in vars(socket) if name.startswith(tuple(kinds.split()))}
    assert len(wanted) > 150
    assert wanted <= set(basic.__all__)


def test_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'eventsock\.basic' has no attribute 'create_connection'"):
        _ = basic.create_connection


def test_star_import(start_program: _Start) -> None:
    program = "from eventsock.basic import *; print(connect_to_host.__name__, AF_INET.name, socketpair.__name__, timeouts.__name__)"
    assert _output(start_program("-c", program)) == "connect_to_host AF_INET socketpair timeouts"


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(basic.__file__).read_text())
    typed: dict[str | None, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            room = "eventsock.errors" if node.level == 2 else f"eventsock.basic.{node.module}" if node.level == 1 else node.module
            typed |= {alias.asname: room for alias in node.names if alias.asname}
    assert typed == basic._HOME


def test_names_and_modules_do_not_collide() -> None:
    assert {path.stem for path in Path(basic.__file__).parent.glob("*.py")}.isdisjoint(basic.__all__)


def test_everything_comes_from_its_room() -> None:
    for name, room in basic._HOME.items():
        assert getattr(basic, name).__module__ in (room, "eventsock.errors")


def test_import_loads_no_event_loop_and_no_room(start_program: _Start) -> None:
    program = "import sys, socket; before = set(sys.modules); import eventsock.basic; print(*sorted(set(sys.modules) - before))"
    loaded = _output(start_program("-S", "-c", f"import sys; sys.path.insert(0, ''); {program}")).split()
    assert set(loaded) <= {"__future__", "eventsock", "eventsock.basic"}


def test_all_rooms_together_load_no_event_loop(start_program: _Start) -> None:
    program = "import sys; from eventsock.basic import *; print(*sorted(name for name in sys.modules if name.startswith('eventsock')))"
    loaded = _output(start_program("-c", program)).split()
    assert "eventsock.basic.ports" in loaded
    assert {name.split(".")[1] for name in loaded if "." in name} == {"basic", "errors"}


def test_a_connect_loads_nothing_dear(start_program: _Start) -> None:
    program = "from eventsock.basic import connect_to_host, listen_on_unix_socket, receive, send; print(*sys.modules)"
    loaded = _output(start_program("-S", "-c", f"import sys; sys.path.insert(0, ''); {program}")).split()
    dear = {"typing", "dataclasses", "inspect", "ssl", "ipaddress", "threading", "importlib", "asyncio", "contextlib", "re", "pwd", "grp"}
    assert dear.isdisjoint(loaded)


def test_submodule_import_is_the_same_module() -> None:
    assert eventsock.basic is basic
