"""The pages "From …": every name of the originals stands in its table, and what stands beside it exists and can be called so.

Knows the names of the originals, by their documents and sources, and how to look an expression up without running it.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import inspect
import ipaddress
import keyword
import os
import re
import socket
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, MethodDescriptorType

import pytest

import eventsock
from compiled_kit import source_of
from eventsock import basic, embed

_PAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "from"

_NAMES = {
    "chez-simple-sockets": """
        connect-to-ipv4-host connect-to-ipv6-host connect-to-unix-host
        listen-on-ipv4-socket listen-on-ipv6-socket listen-on-unix-socket
        accept-ipv4-connection accept-ipv6-connection accept-unix-connection
        ipv4-address->string ipv6-address->string set-fd-non-blocking set-fd-blocking set-ignore-sigpipe
        connect-condition? listen-condition? accept-condition? shutdown close-fd write-bytevector write-string get-errno
        await-connect-to-ipv4-host! await-connect-to-ipv6-host! await-connect-to-unix-host!
        await-accept-ipv4-connection! await-accept-ipv6-connection! await-accept-unix-connection!
    """,
    "chicken-socket-egg": """
        socket socket? socket-fileno socket-family socket-type socket-protocol
        af/inet af/inet6 af/unix af/unspec sock/stream sock/dgram sock/raw ipproto/tcp ipproto/udp
        integer->address-family address-family->integer integer->socket-type socket-type->integer
        integer->protocol-type protocol-type->integer
        sockaddr? sockaddr-family sockaddr-address sockaddr-port sockaddr-path sockaddr->string
        inet-address unix-address parse-inet-address
        address-information addrinfo? addrinfo-family addrinfo-socktype addrinfo-protocol addrinfo-address
        addrinfo-canonname addrinfo-flags name-information
        ai/numerichost ai/passive ai/canonname ai/numericserv ai/addrconfig ai/v4mapped ai/all ai/mask ai/default
        ni/numerichost ni/numericserv ni/dgram ni/namereqd ni/nofqdn
        socket-connect socket-connect/ai socket-bind socket-listen socket-accept socket-accept-ready?
        socket-shutdown shut/rd shut/wr shut/rdwr socket-close socket-close* socket-name socket-peer-name
        socket-receive! socket-receive socket-receive-from! socket-receive-from socket-receive-ready?
        socket-send socket-send-to socket-send-all socket-i/o-ports socket-i/o-port->socket socket-abandon-port
        socket-connect-timeout socket-accept-timeout socket-receive-timeout socket-send-timeout
        socket-send-buffer-size socket-send-size socket-receive-buffer-size
        so-reuse-address? so-debug? so-keep-alive? so-dont-route? so-broadcast? so-oob-inline? so-accept-connections?
        so-send-buffer so-receive-buffer so-send-low-water so-receive-low-water so-error so-type
        tcp-no-delay? tcp-no-push? tcp-no-options? tcp-keep-alive tcp-max-segment-size
        ip-header-included? ip-type-of-service ip-time-to-live ipv6-v6-only? set-socket-option get-socket-option
        so/reuseaddr so/debug so/acceptconn so/keepalive so/dontroute so/broadcast so/linger so/oobinline so/sndbuf so/rcvbuf
        so/sndlowat so/rcvlowat so/sndtimeo so/rcvtimeo so/error so/type so/useloopback so/reuseport so/timestamp
        so/exclusiveaddruse tcp/nodelay tcp/nopush tcp/noopt tcp/keepalive tcp/maxseg
        ip/options ip/hdrincl ip/tos ip/ttl ip/mtu ip/mtu-discover ip/pktinfo ip/recverr ip/recvtos ip/recvttl ip/router-alert
        ip/recvopts ip/recvretopts ip/retopts ip/recvdstaddr ip/multicast-if ip/multicast-ttl ip/multicast-loop
        ip/add-membership ip/drop-membership
        ipv6/v6only ipv6/addrform ipv6/mtu ipv6/mtu-discover ipv6/multicast-hops ipv6/multicast-if ipv6/multicast-loop
        ipv6/pktinfo ipv6/rthdr ipv6/authhdr ipv6/dstopts ipv6/hopopts ipv6/flowinfo ipv6/hoplimit ipv6/recverr
        ipv6/router-alert ipv6/unicast-hops ipv6/nexthop ipv6/port-range ipv6/join-group ipv6/leave-group ipv6/checksum
        sol/socket ipproto/ip ipproto/ipv6 ipproto/icmp
    """,
    "guile": """
        socket socketpair getsockopt setsockopt shutdown connect bind listen accept
        sockaddr:fam sockaddr:path sockaddr:addr sockaddr:port sockaddr:flowinfo sockaddr:scopeid make-socket-address
        getsockname getpeername recv! send recvfrom! sendto htons ntohs htonl ntohl write-network-long read-network-long
        inet-pton inet-ntop inet-aton inet-ntoa inet-netof inet-lnaof inet-makeaddr getaddrinfo
        system-error system-error-errno getaddrinfo-error
        AF_UNSPEC AF_UNIX AF_INET AF_INET6 SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_CLOEXEC SOCK_NONBLOCK
        SOL_SOCKET IPPROTO_IP IPPROTO_TCP IPPROTO_UDP SO_DEBUG SO_REUSEADDR SO_STYLE SO_TYPE SO_ERROR SO_DONTROUTE
        SO_BROADCAST SO_SNDBUF SO_RCVBUF SO_KEEPALIVE SO_OOBINLINE SO_NO_CHECK SO_PRIORITY SO_LINGER SO_REUSEPORT
        SO_RCVTIMEO SO_SNDTIMEO IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP IP_MULTICAST_IF IP_MULTICAST_TTL TCP_NODELAY TCP_CORK
        MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_DONTWAIT INADDR_ANY INADDR_LOOPBACK INADDR_BROADCAST INADDR_NONE
        AI_PASSIVE AI_CANONNAME AI_NUMERICHOST AI_NUMERICSERV AI_V4MAPPED AI_ALL AI_ADDRCONFIG EAI_*
    """,
    "chez-a-sync": """
        set-default-event-loop! get-default-event-loop make-event-loop event-loop? event-loop-run!
        event-loop-add-read-watch! event-loop-add-write-watch! event-loop-remove-read-watch! event-loop-remove-write-watch!
        event-post! timeout-post! timeout-remove! event-loop-tasks event-loop-block! event-loop-quit! event-loop-close!
        await-task! await-task-in-thread! await-task-in-event-loop! await-yield!
        await-generator! await-generator-in-thread! await-generator-in-event-loop! await-timeout! await-sleep!
        a-sync-read-watch! a-sync-write-watch! await-getline! await-geteveryline! await-getsomelines!
        await-getblock! await-geteveryblock! await-getsomeblocks! await-put-bytevector! await-put-string!
        c-write make-pipe set-cloexec! make-iterator make-coroutine a-sync compose-a-sync no-await
        make-meeting meeting? meeting-close meeting-ready? meeting-send meeting-receive
        make-thread-pool thread-pool? thread-pool-get-num-tasks thread-pool-get-num-threads thread-pool-get-size
        thread-pool-change-size! thread-pool-get-non-blocking thread-pool-set-non-blocking! thread-pool-stop! thread-pool-add!
        with-thread-pool-increment await-task-in-thread-pool! await-generator-in-thread-pool! try except
        await-read-suspendable! await-write-suspendable! await-accept! await-connect!
        make-thread-pool thread-pool-get-max-threads thread-pool-change-max-threads! thread-pool-get-idle-time
        thread-pool-set-idle-time! have-monotonic-time? get-time
    """,
}

# The modules of guile-a-sync2 that say everything once more for GLib: one row each.
_GLIB_MODULES = [
    "(a-sync gnome-glib)",
    *(f"(a-sync {host} {part})" for host in ("guile-gi", "g-golf") for part in ("base", "await-ports", "meeting")),
]

_ERRORS_OF_THE_EGG = [
    "(exn i/o net)",
    "(exn i/o net transient)",
    "(exn i/o net timeout)",
    "(exn i/o net unsupported)",
    "(exn type)",
    "(exn domain)",
]

_MODULES: dict[str, object] = {
    "basic": basic,
    "socket": socket,
    "ipaddress": ipaddress,
    "urllib": urllib,
    "os": os,
    "time": time,
    "embed": embed,
}

# What a variable of the tables stands for, where that matters.
_VARIABLES = {
    "sock": socket.socket,
    "address": basic.SocketAddress,
    "info": basic.AddressInfo,
    "error": basic.SocketError,
    "loop": eventsock.EventLoop,
    "worker": eventsock.EventLoop,
    "stream": eventsock.Stream,
    "meeting": eventsock.Meeting,
    "pool": eventsock.ThreadPool,
    "group": eventsock.TaskGroup,
}

# The same for asyncio's own column.
_IN_ASYNCIO: dict[str, object] = {
    "asyncio": asyncio,
    "loop": asyncio.AbstractEventLoop,
    "task": asyncio.Task,
    "group": asyncio.TaskGroup,
    "handle": asyncio.TimerHandle,
    "reader": asyncio.StreamReader,
    "writer": asyncio.StreamWriter,
}

_ARGUMENTS = """
    service port pathname backlog error_on_existing packed fd data text flags n start end buffer family kind protocol host
    addrinfos name value level length node addr path flowinfo scope_id
    seconds action tag flag file proc thunk handler generator resume datum m0 m1 task other delta args
    f g x start reason listener
"""

_UNKNOWN = object()  # a value of which nothing is known


@dataclass(frozen=True)
class _Instance:
    """A value of which the class is known."""

    of: type


@dataclass(frozen=True)
class _Method:
    """A function found in the class of a value."""

    function: Callable[..., object]


def _rows(text: str) -> list[tuple[str, list[str]]]:
    """The original's name and the Python expressions of each row of the tables of a page."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [(there.strip("`"), re.findall(r"`([^`]+)`", here)) for there, here, *_ in cells]


def _look_up(node: ast.AST, bound: set[str]) -> object:
    """What an expression of the tables would be, as far as that can be told. Raises an error for what does not exist."""
    if isinstance(node, ast.Name):
        return _UNKNOWN if node.id in bound else _named(node.id)
    if isinstance(node, ast.Attribute):
        return _attribute(_look_up(node.value, bound), node.attr)
    if isinstance(node, ast.Call):
        return _called(node, bound)
    for child in ast.iter_child_nodes(node):
        _look_up(child, bound)
    return _UNKNOWN


def _named(name: str) -> object:
    if name in _VARIABLES:
        return _Instance(_VARIABLES[name])
    if name in _ARGUMENTS.split():
        return _UNKNOWN
    for home in (basic, eventsock, builtins):
        if hasattr(home, name):
            return getattr(home, name)
    return _MODULES[name]


def _attribute(base: object, name: str) -> object:
    if base is _UNKNOWN:
        return _UNKNOWN
    if base is embed:
        assert name in embed.__all__, name  # and not loaded: its host need not be installed
        return _UNKNOWN
    if not isinstance(base, _Instance):
        return getattr(base, name)
    if _is_set_by_its_methods(base.of, name):
        return _UNKNOWN
    found = inspect.getattr_static(base.of, name)
    return _Method(found) if isinstance(found, (FunctionType, MethodDescriptorType)) else _UNKNOWN


def _is_set_by_its_methods(cls: type, name: str) -> bool:
    ours = [base for base in cls.__mro__ if base.__module__.startswith("eventsock")]
    return any(f"        self.{name}: " in source_of(base) for base in ours)


def _called(call: ast.Call, bound: set[str]) -> object:
    for argument in [*call.args, *(named.value for named in call.keywords)]:
        _look_up(argument, bound)
    function = _look_up(call.func, bound)
    arguments = list(call.args)
    if isinstance(function, _Method):
        function, arguments = function.function, [call.func, *arguments]
    if str(getattr(function, "__module__", "")).startswith("eventsock"):
        assert callable(function)
        inspect.signature(function).bind(*arguments, **{str(keyword.arg): keyword.value for keyword in call.keywords})
    return _Instance(function) if isinstance(function, type) else _UNKNOWN


def _check(expression: str) -> None:
    if keyword.iskeyword(expression):
        return  # a statement of the language
    tree = ast.parse(expression, mode="eval").body
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    _look_up(tree, bound)


def _page(name: str) -> str:
    return (_PAGES / f"{name}.md").read_text()


@pytest.mark.parametrize("page", _NAMES)
def test_every_name_has_its_row(page: str) -> None:
    there = [name for name, _ in _rows(_page(page))]
    more = {"chicken-socket-egg": _ERRORS_OF_THE_EGG, "chez-a-sync": _GLIB_MODULES}.get(page, [])
    assert sorted(there) == sorted(_NAMES[page].split() + more)


def test_number_of_names() -> None:
    assert [len(names.split()) for names in _NAMES.values()] == [22 + 6, 180, 93, 64 + 4 + 5 + 2]


_ALL_ROWS = [(page.stem, *row) for page in sorted(_PAGES.glob("*.md")) for row in _rows(page.read_text())]


@pytest.mark.parametrize(("page", "name", "expressions"), _ALL_ROWS)
def test_what_stands_beside_a_name_exists(page: str, name: str, expressions: list[str]) -> None:
    assert expressions, "a row needs the Python form, or the native construct"
    for expression in expressions:
        _check(expression)


def test_what_is_said_of_asyncio_is_there() -> None:
    names = re.findall(r"\b(\w+)\.(\w+)", " ".join(name for name, _ in _rows(_page("asyncio"))))
    known = [(thing, name) for thing, name in names if thing in _IN_ASYNCIO]
    assert len(known) > 50
    assert [f"{thing}.{name}" for thing, name in known if not hasattr(_IN_ASYNCIO[thing], name)] == []


# The looker-up is looked at.


@pytest.mark.parametrize(
    "expression",
    [
        "connect_to_ipv5_host(address)",
        "connect_to_ipv4_host()",
        "receive(sock)",
        "receive(sock, n, timout=5)",
        "send(sock, receive_badly(sock, n))",
        "SocketOptions(sock).so_keepalive",
        "timeouts(5)",
        "address.prot",
        "sock.recieve(n)",
        "socket.AddressFamilies(n)",
        "isinstance(error, ConectError)",
        "next(name for name in vars(sockez))",
        "SocketOptions(sock).get()",
        "nothing",
        "loop.postpone(action)",
        "stream.await_getblock()",
        "pool.strength",
    ],
)
def test_what_does_not_exist_is_seen(expression: str) -> None:
    with pytest.raises((AttributeError, KeyError, TypeError)):
        _check(expression)


def test_rows_of_a_page() -> None:
    text = "| there | here | remarks |\n|---|---|---|\n| `a->b` | `c(d)`, `e` | `f` |\n| `g?` | `h` | |\n"
    assert _rows(text) == [("a->b", ["c(d)", "e"]), ("g?", ["h"])]
