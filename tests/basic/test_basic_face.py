"""The face of the blocking library: the constants it hands on, and that it loads no more than what is asked for.

That its table, its typed imports and the contract agree is tested with the face of the whole package.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eventsock import basic

_Start = Callable[..., "subprocess.Popen[str]"]


def _loaded(start_program: _Start, program: str) -> set[str]:
    """The modules that `program` prints, run without what a virtual environment loads at its start."""
    out, err = start_program("-S", "-c", f"import sys; sys.path.insert(0, ''); {program}").communicate()
    assert err == ""
    return set(out.split())


@pytest.mark.parametrize("name", ["AF_UNIX", "SOCK_STREAM", "SO_REUSEADDR", "IPPROTO_TCP", "socketpair", "htons", "inet_pton"])
def test_constants_and_functions_are_those_of_the_standard_library(name: str) -> None:
    assert getattr(basic, name) is getattr(socket, name)


def test_every_constant_of_the_platform() -> None:
    kinds = "AF_ SOCK_ SOL_ SO_ TCP_ IP_ IPV6_ IPPROTO_ MSG_ AI_ NI_ EAI_ SHUT_ INADDR_"
    wanted = {name for name in vars(socket) if name.startswith(tuple(kinds.split()))}
    assert len(wanted) > 150
    assert wanted <= set(basic.__all__)


def test_names_and_modules_do_not_collide() -> None:
    assert {path.stem for path in Path(basic.__file__).parent.glob("*.py")}.isdisjoint(basic.__all__)


def test_import_loads_no_room(start_program: _Start) -> None:
    program = "import sys, socket; before = set(sys.modules); import eventsock.basic; print(*set(sys.modules) - before)"
    assert _loaded(start_program, program) <= {"__future__", "eventsock", "eventsock.basic"}


def test_connect_and_transfer_load_nothing_dear(start_program: _Start) -> None:
    program = "from eventsock.basic import connect_to_host, listen_on_unix_socket, receive, send; print(*sys.modules)"
    dear = {"typing", "dataclasses", "inspect", "ssl", "ipaddress", "threading", "importlib", "asyncio", "contextlib", "re", "pwd", "grp"}
    assert dear.isdisjoint(_loaded(start_program, program))
