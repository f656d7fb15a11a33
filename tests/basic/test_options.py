"""Every option, read and written against the kernel; and what is refused by name."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventsock.basic import (
    SocketError,
    SocketOptions,
    UnsupportedOptionError,
    accept_unix_connection,
    listen_on_unix_socket,
    option_numbers,
    receive_descriptors,
)
from eventsock.basic.options import option_table

_ABSENT_ON_LINUX = {
    "so_exclusive_address_use",
    "so_use_loopback",
    "tcp_no_options",
    "ip_receive_destination_address",
    "ipv6_port_range",
}

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="numbers and defaults of Linux")


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    """A TCP socket."""
    with socket.socket() as sock:
        yield sock


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    """A datagram socket of IPv4."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def udp6() -> Iterator[socket.socket]:
    """A datagram socket of IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        yield sock


# fmt: off
_FLAGS = [
    "so_reuse_address", "so_reuse_port", "so_debug", "so_keep_alive", "so_dont_route", "so_broadcast", "so_oob_inline",
    "so_timestamp", "so_no_check", "tcp_no_delay", "tcp_no_push", "ip_packet_info", "ip_receive_errors",
    "ip_receive_type_of_service", "ip_receive_time_to_live", "ip_receive_options", "ip_receive_return_options",
    "ip_return_options", "ip_multicast_loop",
]
_FLAGS6 = [
    "ipv6_v6_only", "ipv6_multicast_loop", "ipv6_packet_info", "ipv6_routing_header", "ipv6_destination_options",
    "ipv6_hop_options", "ipv6_hop_limit", "ipv6_flow_info", "ipv6_receive_errors",
]
# fmt: on


@linux_only
@pytest.mark.parametrize("name", [*_FLAGS, *_FLAGS6])
def test_flags(name: str, tcp: socket.socket, udp: socket.socket, udp6: socket.socket) -> None:
    sock = udp6 if name.startswith("ipv6") else tcp if name.startswith("tcp") else udp
    for of in (sock, sock.fileno()):
        for value in (True, False, True):
            setattr(SocketOptions(of), name, value)
            assert getattr(SocketOptions(of), name) is value


_NUMBERS = [
    ("so_receive_low_water", 7),
    ("so_priority", 3),
    ("tcp_keep_alive", 77),
    ("tcp_max_segment_size", 1000),
    ("ip_type_of_service", 16),
    ("ip_time_to_live", 7),
    ("ip_mtu_discover", 2),
    ("ip_multicast_time_to_live", 7),
    ("ipv6_mtu_discover", 2),
    ("ipv6_unicast_hops", 7),
    ("ipv6_multicast_hops", 7),
    ("ipv6_multicast_interface", 1),
]


@linux_only
@pytest.mark.parametrize(("name", "value"), _NUMBERS)
def test_numbers(name: str, value: int, tcp: socket.socket, udp: socket.socket, udp6: socket.socket) -> None:
    sock = udp6 if name.startswith("ipv6") else tcp if name.startswith(("tcp", "so_receive_low")) else udp
    setattr(SocketOptions(sock), name, value)
    got = getattr(SocketOptions(sock.fileno()), name)
    # Before it is connected, a TCP socket tells the default segment size, not the one to come.
    assert got == value or name == "tcp_max_segment_size"
    assert type(got) is int


def test_buffers_are_at_least_as_asked(tcp: socket.socket) -> None:
    opts = SocketOptions(tcp)
    opts.so_send_buffer = 20_000
    opts.so_receive_buffer = 30_000
    assert opts.so_send_buffer >= 20_000
    assert opts.so_receive_buffer >= 30_000


def test_read_only_options(tcp_listener: socket.socket, tcp: socket.socket, tcp_pair: Any) -> None:
    assert SocketOptions(tcp_listener).so_accept_connections is True
    assert SocketOptions(tcp).so_accept_connections is False
    assert SocketOptions(tcp).so_type == socket.SOCK_STREAM
    assert SocketOptions(tcp).so_error == 0
    if hasattr(socket, "IP_MTU") or sys.platform == "linux":
        assert SocketOptions(tcp_pair[0]).ip_mtu > 500


def test_pending_error_is_read_once(tcp: socket.socket, refused_port: int) -> None:
    tcp.setblocking(False)
    tcp.connect_ex(("127.0.0.1", refused_port))
    assert SocketOptions(tcp).so_error == errno.ECONNREFUSED
    assert SocketOptions(tcp).so_error == 0


@pytest.mark.parametrize("name", ["so_accept_connections", "so_error", "so_type", "ip_mtu"])
def test_read_only_options_cannot_be_written(tcp: socket.socket, name: str) -> None:
    with pytest.raises(AttributeError, match=f"'{name}' is read-only"):
        setattr(SocketOptions(tcp), name, 1)


def test_linger(tcp: socket.socket) -> None:
    opts = SocketOptions(tcp)
    assert opts.so_linger == (False, 0)
    opts.so_linger = (True, 100)
    assert opts.so_linger == (True, 100)
    assert struct.unpack("ii", opts.get(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 100)
    opts.set(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
    assert opts.so_linger == (True, 5)
    opts.so_linger = (False, 0)
    assert opts.so_linger[0] is False


@pytest.mark.parametrize("seconds", [0, 0.25, 1.5, 3])
def test_kernel_timeouts(tcp: socket.socket, seconds: float) -> None:
    opts = SocketOptions(tcp)
    opts.so_send_timeout = opts.so_receive_timeout = seconds
    assert opts.so_send_timeout == pytest.approx(seconds, abs=0.011)  # the kernel counts in ticks
    assert opts.so_receive_timeout == pytest.approx(seconds, abs=0.011)


# Groups


def _groups() -> str:
    with open("/proc/net/igmp") as file:
        return file.read()


@linux_only
@pytest.mark.parametrize("interface", ["127.0.0.1", "index"])
def test_ipv4_membership(udp: socket.socket, interface: Any) -> None:
    index = socket.if_nametoindex("lo")
    which = index if interface == "index" else interface
    opts = SocketOptions(udp)
    opts.ip_add_membership = ("239.1.2.3", which)
    assert "030201EF" in _groups()
    opts.ip_drop_membership = ("239.1.2.3", index)
    assert "030201EF" not in _groups()


@linux_only
def test_ipv4_membership_with_the_interface_of_the_system(udp: socket.socket) -> None:
    try:
        SocketOptions(udp).ip_add_membership = ("239.1.2.4", None)
    except SocketError as error:
        if error.errno != errno.ENODEV:
            raise
        pytest.skip("the machine has no route to a group")
    assert "040201EF" in _groups()
    SocketOptions(udp).ip_drop_membership = ("239.1.2.4", None)
    assert "040201EF" not in _groups()


@linux_only
@pytest.mark.parametrize("interface", ["127.0.0.1", socket.if_nametoindex("lo")])
def test_multicast_reaches_a_member_through_the_interface(udp: socket.socket, interface: str | int) -> None:
    udp.bind(("0.0.0.0", 0))
    udp.settimeout(5)
    SocketOptions(udp).ip_add_membership = ("239.1.2.5", "127.0.0.1")
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        opts = SocketOptions(sender)
        opts.ip_multicast_interface = interface
        opts.ip_multicast_loop = True
        sender.sendto(b"x", ("239.1.2.5", udp.getsockname()[1]))
    assert udp.recv(10) == b"x"


@linux_only
def test_multicast_interface_is_read_as_an_address(udp: socket.socket) -> None:
    opts = SocketOptions(udp)
    opts.ip_multicast_interface = "127.0.0.1"
    assert opts.ip_multicast_interface == "127.0.0.1"
    opts.ip_multicast_interface = None
    assert opts.ip_multicast_interface == "0.0.0.0"


@linux_only
def test_ipv6_membership(udp6: socket.socket) -> None:
    index = socket.if_nametoindex("lo")
    opts = SocketOptions(udp6)
    opts.ipv6_join_group = ("ff02::1234", index)
    with open("/proc/net/igmp6") as file:
        assert "ff020000000000000000000000001234" in file.read()
    opts.ipv6_leave_group = ("ff02::1234", index)
    with open("/proc/net/igmp6") as file:
        assert "ff020000000000000000000000001234" not in file.read()


@linux_only
@pytest.mark.parametrize("name", ["ip_add_membership", "ip_drop_membership", "ipv6_join_group", "ipv6_leave_group", "ipv6_address_form"])
def test_write_only_options_cannot_be_read(udp: socket.socket, name: str) -> None:
    with pytest.raises(AttributeError, match=f"{name} can be written only"):
        getattr(SocketOptions(udp), name)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("ip_add_membership", "239.1.2.3", TypeError),
        ("ip_add_membership", ("239.1.2.3",), TypeError),
        ("ip_add_membership", (b"\xef\1\2\3", None), TypeError),
        ("ip_add_membership", ("239.1.2.3", 1.5), TypeError),
        ("ip_add_membership", ("239.1.2.3", True), TypeError),
        ("ip_add_membership", ("group.example", None), ValueError),
        ("ip_add_membership", ("239.1.2.3", "lo"), ValueError),
        ("ip_add_membership", ("127.0.0.1", None), SocketError),
        ("ipv6_join_group", ("ff02::1", "::1"), TypeError),
        ("ipv6_join_group", ("ff02::1", -1), ValueError),
        ("ipv6_join_group", ("239.1.2.3", 1), ValueError),
        ("ip_multicast_interface", 1.5, TypeError),
        ("ip_multicast_interface", "lo", ValueError),
    ],
)
def test_groups_that_are_none(udp: socket.socket, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        setattr(SocketOptions(udp), name, value)


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("so_keep_alive", 1),
        ("so_keep_alive", None),
        ("so_keep_alive", "yes"),
        ("tcp_no_delay", 0),
        ("so_send_buffer", True),
        ("so_send_buffer", 1.5),
        ("so_send_buffer", "4096"),
        ("so_linger", 5),
        ("so_linger", (1, 5)),
        ("so_linger", [True, 5]),
        ("so_linger", (True, 5.0)),
        ("so_linger", (True, 5, 5)),
        ("so_send_timeout", "5"),
        ("so_send_timeout", None),
        ("ip_options", "text"),
        ("ip_options", 5),
    ],
)
def test_values_of_another_type(tcp: socket.socket, name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        setattr(SocketOptions(tcp), name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("so_send_buffer", 2**40),
        ("so_linger", (True, -1)),
        ("so_linger", (True, 2**40)),
        ("so_send_timeout", -1),
        ("so_send_timeout", float("nan")),
        ("so_send_timeout", float("inf")),
    ],
)
def test_values_out_of_range(tcp: socket.socket, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        setattr(SocketOptions(tcp), name, value)


@linux_only
def test_value_that_the_kernel_refuses_is_named(tcp: socket.socket) -> None:
    with pytest.raises(SocketError, match="ip_time_to_live: Invalid argument; the value was 300") as caught:
        SocketOptions(tcp).ip_time_to_live = 300
    assert caught.value.errno == errno.EINVAL
    assert caught.value.address == "ip_time_to_live"


@linux_only
def test_option_that_this_kind_of_socket_does_not_have(udp: socket.socket, tcp: socket.socket) -> None:
    for action in (lambda: SocketOptions(udp).tcp_no_delay, lambda: setattr(SocketOptions(udp), "tcp_no_delay", True)):
        with pytest.raises(UnsupportedOptionError, match="tcp_no_delay") as caught:
            action()
        assert caught.value.address == "tcp_no_delay"
    with pytest.raises(UnsupportedOptionError, match="so_send_low_water"):
        SocketOptions(tcp).so_send_low_water = 5
    with pytest.raises(UnsupportedOptionError, match="ipv6_v6_only"):
        SocketOptions(tcp).ipv6_v6_only = True


@linux_only
@pytest.mark.parametrize("name", sorted(_ABSENT_ON_LINUX))
def test_option_that_this_platform_does_not_have(tcp: socket.socket, name: str) -> None:
    for action in (lambda: getattr(SocketOptions(tcp), name), lambda: setattr(SocketOptions(tcp), name, True)):
        with pytest.raises(UnsupportedOptionError, match=f"{name}: this platform has no") as caught:
            action()
        assert caught.value.errno == errno.ENOPROTOOPT


@linux_only
def test_which_options_this_platform_has() -> None:
    assert {each.name for each in option_table() if each.number is None} == _ABSENT_ON_LINUX


def test_numbers_of_linux_do_not_contradict_the_standard_library() -> None:
    for name, number in option_numbers.unnamed("linux", "x86_64").items():
        assert getattr(socket, name, number) == number


def test_numbers_that_are_only_for_some_machines() -> None:
    assert option_numbers.unnamed("linux", "aarch64")["SO_TIMESTAMP"] == 29
    assert "SO_TIMESTAMP" not in option_numbers.unnamed("linux", "mips64")
    assert option_numbers.unnamed("linux", "mips64")["IP_MTU"] == 14
    assert option_numbers.unnamed("darwin", "arm64") == {}


@pytest.mark.parametrize("name", ["so_keepalive", "no_delay", "_x"])
def test_misspelt_option(tcp: socket.socket, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(SocketOptions(tcp), name, True)


def test_closed_socket(tcp: socket.socket) -> None:
    tcp.close()
    for action in (lambda: SocketOptions(tcp).so_error, lambda: setattr(SocketOptions(tcp), "tcp_no_delay", True)):
        with pytest.raises(SocketError) as caught:
            action()
        assert caught.value.errno == errno.EBADF
        assert caught.value.address in ("so_error", "tcp_no_delay")


def test_what_is_no_socket() -> None:
    with open(os.devnull) as file, pytest.raises(SocketError, match="so_type") as caught:
        _ = SocketOptions(file).so_type
    assert caught.value.errno == errno.ENOTSOCK
    for thing in ("x", None, True):
        with pytest.raises(TypeError, match="sock_or_fd must be a descriptor"):
            SocketOptions(thing)  # type: ignore[arg-type]


def test_tls_sockets_have_options(tcp: socket.socket) -> None:
    context = ssl.create_default_context()
    with context.wrap_socket(tcp, server_hostname="x", do_handshake_on_connect=False) as tls:
        SocketOptions(tls).tcp_no_delay = True
        assert SocketOptions(tls).tcp_no_delay is True


def test_mode_of_the_socket_stays(tcp: socket.socket) -> None:
    tcp.settimeout(7)
    SocketOptions(tcp).tcp_no_delay = True
    assert tcp.gettimeout() == 7


def test_options_are_declared_in_the_class() -> None:
    assert SocketOptions.so_keep_alive.constant == "SO_KEEPALIVE"
    assert SocketOptions.ip_add_membership.access == "write"
    assert [each.name for each in option_table()] == [name for name in vars(SocketOptions) if name.startswith(("so_", "tcp_", "ip"))]


# Raw access


def test_raw_numbers_and_bytes(tcp: socket.socket) -> None:
    opts = SocketOptions(tcp)
    opts.set(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert opts.get(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    opts.set(socket.IPPROTO_TCP, socket.TCP_NODELAY, bytes(4))
    assert opts.get(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    opts.set(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    for length in (64, 4):
        assert opts.get(socket.IPPROTO_TCP, socket.TCP_NODELAY, length) == struct.pack("i", 1)


_PASSES_ITS_SOCKET_ON = """
import os, socket, sys
if os.getuid() == 0:
    os.setuid(65534)
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    socket.send_fds(sock, [b"%d" % os.getpid()], [sock.fileno()])
    sock.recv(1)
"""


@linux_only
def test_fault_132_credentials_are_those_of_the_process_that_connected(unix_path: str) -> None:
    os.chmod(os.path.dirname(unix_path), 0o755)
    program = [sys.executable, "-c", _PASSES_ITS_SOCKET_ON, unix_path]
    with listen_on_unix_socket(unix_path, mode=0o666) as listener, subprocess.Popen(program):
        connection, _ = accept_unix_connection(listener, timeout=30)
        with connection:
            pid, (passed_on,) = receive_descriptors(connection, 100, 1, timeout=30)
            # Whoever holds the other end by now, it speaks for who has connected it.
            with socket.socket(fileno=passed_on) as client:
                client.send(b"by us")
                assert connection.recv(100) == b"by us"
            credentials = SocketOptions(connection).get(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("3i", credentials) == (int(pid), 65534 if os.getuid() == 0 else os.getuid(), os.getgid())


@linux_only
def test_raw_bytes_of_a_buffer(tcp: socket.socket) -> None:
    SocketOptions(tcp).set(socket.SOL_SOCKET, socket.SO_RCVLOWAT, array("I", [0x01020304]).tobytes())
    assert SocketOptions(tcp).so_receive_low_water > 1


def test_constant_that_the_platform_lacks(tcp: socket.socket) -> None:
    opts = SocketOptions(tcp)
    for level, name in ((None, 1), (1, None)):
        with pytest.raises(UnsupportedOptionError):
            opts.get(level, name)
        with pytest.raises(UnsupportedOptionError):
            opts.set(level, name, 1)


def test_unknown_option(tcp: socket.socket) -> None:
    with pytest.raises(UnsupportedOptionError, match=f"option 9999 of level {socket.SOL_SOCKET}"):
        SocketOptions(tcp).get(socket.SOL_SOCKET, 9999)
    with pytest.raises(UnsupportedOptionError):
        SocketOptions(tcp).set(socket.SOL_SOCKET, 9999, 1)


@pytest.mark.parametrize(("length", "error"), [(0, ValueError), (-1, ValueError), (1025, ValueError), ("4", TypeError), (True, TypeError)])
def test_lengths_that_are_none(tcp: socket.socket, length: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="length must"):
        SocketOptions(tcp).get(socket.SOL_SOCKET, socket.SO_TYPE, length)


@pytest.mark.parametrize(("value", "error"), [("text", TypeError), (1.5, TypeError), (None, TypeError), (2**40, ValueError)])
def test_raw_values_that_are_none(tcp: socket.socket, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="value"):
        SocketOptions(tcp).set(socket.SOL_SOCKET, socket.SO_KEEPALIVE, value)


@pytest.mark.parametrize(("level", "name"), [("1", 1), (1, "1"), (True, 1), (1, 1.0)])
def test_levels_and_names_of_another_type(tcp: socket.socket, level: Any, name: Any) -> None:
    with pytest.raises(TypeError, match=r"level must|name must"):
        SocketOptions(tcp).get(level, name)


@linux_only
def test_table_of_the_reference_is_made_from_the_declarations() -> None:
    rows = ["| attribute | option | value | access | on Linux |", "|---|---|---|---|---|"]
    for each in option_table():
        has = "no" if each.number is None else "yes"
        rows.append(f"| `{each.name}` | `{each.constant}` | {each.kind.name} | {each.access} | {has} |")
    page = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "basic.md"
    assert "\n".join(rows) in page.read_text()
