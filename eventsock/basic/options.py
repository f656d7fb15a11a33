"""Socket options as attributes: `SocketOptions(sock).tcp_no_delay = True`.

Knows which options there are, at which level, by which constant. What their values look like is in `option_kinds`; must not know
what an option is good for.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, overload

from ..errors import SocketError, UnsupportedOptionError
from .arguments import checked_descriptor, checked_int, checked_size
from .handles import Borrowed
from .option_kinds import BYTES, FLAG, INTERFACE, LINGER, LONGEST_VALUE, MEMBERSHIP, MEMBERSHIP6, NUMBER, SECONDS, Encoding, Kind
from .option_numbers import number_of

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, ReadableBuffer

    from .option_kinds import Interface

T = TypeVar("T")

_UNSUPPORTED = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)


class Declared:
    """An option as it is declared: what platforms call it, the preferred name first, and the number it has on this one."""

    access: str
    kind: Encoding[Any]
    name: str

    def __init__(self, level: int, constants: tuple[str, ...]) -> None:
        self._level = level
        present = [name for name in constants if number_of(name) is not None]
        self.constant = (present or constants)[0]
        self.number = number_of(self.constant)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _known_number(self) -> int:
        if self.number is None:
            raise UnsupportedOptionError(errno.ENOPROTOOPT, f"this platform has no {self.constant}", address=self.name)
        return self.number

    def _write(self, options: SocketOptions, value: object) -> None:
        options._set(self._level, self._known_number(), self.kind.encode(value, self.name), self.name, value)


class ReadOnly(Declared, Generic[T]):
    """An option that can be read."""

    access = "read"

    def __init__(self, kind: Kind[T], level: int, *constants: str) -> None:
        super().__init__(level, constants)
        self.kind: Kind[T] = kind

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: SocketOptions, owner: type) -> T: ...
    def __get__(self, instance: SocketOptions | None, owner: type) -> Self | T:
        if instance is None:
            return self
        return self.kind.decode(instance._get(self._level, self._known_number(), self.kind.size, self.name))


class Option(ReadOnly[T]):
    """An option that can be read and written."""

    access = "read, write"

    def __set__(self, instance: SocketOptions, value: T) -> None:
        self._write(instance, value)


class InterfaceOption(ReadOnly[str]):
    """An option that is read as an address, and written as an address, an index or None."""

    access = "read, write"

    def __set__(self, instance: SocketOptions, value: Interface) -> None:
        self._write(instance, value)


class WriteOnly(Declared, Generic[T]):
    """An option that can be written only."""

    access = "write"

    def __init__(self, kind: Encoding[T], level: int, *constants: str) -> None:
        super().__init__(level, constants)
        self.kind = kind

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: SocketOptions, owner: type) -> NoReturn: ...
    def __get__(self, instance: SocketOptions | None, owner: type) -> Self:
        if instance is None:
            return self
        raise AttributeError(f"{self.name} can be written only")

    def __set__(self, instance: SocketOptions, value: T) -> None:
        self._write(instance, value)


class SocketOptions:
    """The options of a socket (or of the socket behind a descriptor) as typed attributes.

    Reading one asks the kernel, assigning to one tells it. Raises `TypeError` or `ValueError` for a value that cannot be meant,
    `AttributeError` for what is read-only, write-only or no option at all, `UnsupportedOptionError` for an option that this platform
    or this kind of socket does not have, and `SocketError` for all else, with the name of the option. Does not block; any thread.
    After the option procedures of the CHICKEN egg and of Guile; socket(7), tcp(7), ip(7), ipv6(7).
    """

    __slots__ = ("_sock",)

    # Set before bind(); on Windows it is SO_EXCLUSIVEADDRUSE, which means there what this means elsewhere.
    so_reuse_address = Option(FLAG, socket.SOL_SOCKET, "SO_EXCLUSIVEADDRUSE", "SO_REUSEADDR")
    so_reuse_port = Option(FLAG, socket.SOL_SOCKET, "SO_REUSEPORT")
    so_exclusive_address_use = Option(FLAG, socket.SOL_SOCKET, "SO_EXCLUSIVEADDRUSE")
    so_debug = Option(FLAG, socket.SOL_SOCKET, "SO_DEBUG")
    so_keep_alive = Option(FLAG, socket.SOL_SOCKET, "SO_KEEPALIVE")
    so_dont_route = Option(FLAG, socket.SOL_SOCKET, "SO_DONTROUTE")
    so_broadcast = Option(FLAG, socket.SOL_SOCKET, "SO_BROADCAST")
    so_oob_inline = Option(FLAG, socket.SOL_SOCKET, "SO_OOBINLINE")
    so_use_loopback = Option(FLAG, socket.SOL_SOCKET, "SO_USELOOPBACK")
    so_timestamp = Option(FLAG, socket.SOL_SOCKET, "SO_TIMESTAMP")
    so_no_check = Option(FLAG, socket.SOL_SOCKET, "SO_NO_CHECK")
    so_accept_connections = ReadOnly(FLAG, socket.SOL_SOCKET, "SO_ACCEPTCONN")
    so_send_buffer = Option(NUMBER, socket.SOL_SOCKET, "SO_SNDBUF")
    so_receive_buffer = Option(NUMBER, socket.SOL_SOCKET, "SO_RCVBUF")
    so_send_low_water = Option(NUMBER, socket.SOL_SOCKET, "SO_SNDLOWAT")
    so_receive_low_water = Option(NUMBER, socket.SOL_SOCKET, "SO_RCVLOWAT")
    so_priority = Option(NUMBER, socket.SOL_SOCKET, "SO_PRIORITY")
    so_error = ReadOnly(NUMBER, socket.SOL_SOCKET, "SO_ERROR")
    so_type = ReadOnly(NUMBER, socket.SOL_SOCKET, "SO_TYPE")
    so_linger = Option(LINGER, socket.SOL_SOCKET, "SO_LINGER")
    so_send_timeout = Option(SECONDS, socket.SOL_SOCKET, "SO_SNDTIMEO")
    so_receive_timeout = Option(SECONDS, socket.SOL_SOCKET, "SO_RCVTIMEO")

    tcp_no_delay = Option(FLAG, socket.IPPROTO_TCP, "TCP_NODELAY")
    tcp_no_push = Option(FLAG, socket.IPPROTO_TCP, "TCP_NOPUSH", "TCP_CORK")
    tcp_no_options = Option(FLAG, socket.IPPROTO_TCP, "TCP_NOOPT")
    tcp_keep_alive = Option(NUMBER, socket.IPPROTO_TCP, "TCP_KEEPIDLE", "TCP_KEEPALIVE")
    tcp_max_segment_size = Option(NUMBER, socket.IPPROTO_TCP, "TCP_MAXSEG")

    ip_options = Option(BYTES, socket.IPPROTO_IP, "IP_OPTIONS")
    ip_header_included = Option(FLAG, socket.IPPROTO_IP, "IP_HDRINCL")
    ip_type_of_service = Option(NUMBER, socket.IPPROTO_IP, "IP_TOS")
    ip_time_to_live = Option(NUMBER, socket.IPPROTO_IP, "IP_TTL")
    ip_mtu = ReadOnly(NUMBER, socket.IPPROTO_IP, "IP_MTU")
    ip_mtu_discover = Option(NUMBER, socket.IPPROTO_IP, "IP_MTU_DISCOVER")
    ip_packet_info = Option(FLAG, socket.IPPROTO_IP, "IP_PKTINFO")
    ip_receive_errors = Option(FLAG, socket.IPPROTO_IP, "IP_RECVERR")
    ip_receive_type_of_service = Option(FLAG, socket.IPPROTO_IP, "IP_RECVTOS")
    ip_receive_time_to_live = Option(FLAG, socket.IPPROTO_IP, "IP_RECVTTL")
    ip_router_alert = Option(FLAG, socket.IPPROTO_IP, "IP_ROUTER_ALERT")
    ip_receive_options = Option(FLAG, socket.IPPROTO_IP, "IP_RECVOPTS")
    ip_receive_return_options = Option(FLAG, socket.IPPROTO_IP, "IP_RECVRETOPTS")
    ip_return_options = Option(FLAG, socket.IPPROTO_IP, "IP_RETOPTS")
    ip_receive_destination_address = Option(FLAG, socket.IPPROTO_IP, "IP_RECVDSTADDR")
    ip_multicast_interface = InterfaceOption(INTERFACE, socket.IPPROTO_IP, "IP_MULTICAST_IF")
    ip_multicast_time_to_live = Option(NUMBER, socket.IPPROTO_IP, "IP_MULTICAST_TTL")
    ip_multicast_loop = Option(FLAG, socket.IPPROTO_IP, "IP_MULTICAST_LOOP")
    ip_add_membership = WriteOnly(MEMBERSHIP, socket.IPPROTO_IP, "IP_ADD_MEMBERSHIP")
    ip_drop_membership = WriteOnly(MEMBERSHIP, socket.IPPROTO_IP, "IP_DROP_MEMBERSHIP")

    ipv6_v6_only = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_V6ONLY")
    ipv6_address_form = WriteOnly(NUMBER, socket.IPPROTO_IPV6, "IPV6_ADDRFORM")
    ipv6_mtu = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_MTU")
    ipv6_mtu_discover = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_MTU_DISCOVER")
    ipv6_unicast_hops = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_UNICAST_HOPS")
    ipv6_multicast_hops = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_MULTICAST_HOPS")
    ipv6_multicast_interface = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_MULTICAST_IF")
    ipv6_multicast_loop = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_MULTICAST_LOOP")
    ipv6_join_group = WriteOnly(MEMBERSHIP6, socket.IPPROTO_IPV6, "IPV6_JOIN_GROUP")
    ipv6_leave_group = WriteOnly(MEMBERSHIP6, socket.IPPROTO_IPV6, "IPV6_LEAVE_GROUP")
    # What to report with each datagram: RFC 3542 gave these new names.
    ipv6_packet_info = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_RECVPKTINFO", "IPV6_PKTINFO")
    ipv6_routing_header = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_RECVRTHDR", "IPV6_RTHDR")
    ipv6_destination_options = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_RECVDSTOPTS", "IPV6_DSTOPTS")
    ipv6_hop_options = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_RECVHOPOPTS", "IPV6_HOPOPTS")
    ipv6_hop_limit = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_RECVHOPLIMIT", "IPV6_HOPLIMIT")
    ipv6_auth_header = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_AUTHHDR")
    ipv6_flow_info = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_FLOWINFO")
    ipv6_receive_errors = Option(FLAG, socket.IPPROTO_IPV6, "IPV6_RECVERR")
    ipv6_router_alert = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_ROUTER_ALERT")
    ipv6_next_hop = Option(BYTES, socket.IPPROTO_IPV6, "IPV6_NEXTHOP")
    ipv6_port_range = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_PORTRANGE")
    ipv6_checksum = Option(NUMBER, socket.IPPROTO_IPV6, "IPV6_CHECKSUM")

    def __init__(self, sock_or_fd: FileDescriptorLike) -> None:
        checked_descriptor(sock_or_fd, "sock_or_fd")
        self._sock = sock_or_fd

    @overload
    def get(self, level: int | None, name: int | None, length: None = None) -> int: ...
    @overload
    def get(self, level: int | None, name: int | None, length: int) -> bytes: ...
    def get(self, level: int | None, name: int | None, length: int | None = None) -> int | bytes:
        """The value of option `name` at `level`, both numbers: as an int or, with a `length`, as at most so many bytes.

        A level or name None is an option that this platform does not have: `UnsupportedOptionError`. After `get-socket-option` of
        the CHICKEN egg; getsockopt(2).
        """
        checked_level, checked_name, written = _checked_option(level, name)
        if length is None:
            return NUMBER.decode(self._get(checked_level, checked_name, NUMBER.size, written))
        if not 1 <= checked_size(length, "length") <= LONGEST_VALUE:
            raise ValueError(f"length must be from 1 to {LONGEST_VALUE}, or None for an int, not {length}")
        return self._get(checked_level, checked_name, length, written)

    def set(self, level: int | None, name: int | None, value: int | bool | ReadableBuffer) -> None:
        """Sets option `name` at `level`, both numbers, to an int, a bool, or the raw bytes of its C type.

        A level or name None is an option that this platform does not have: `UnsupportedOptionError`. After `set-socket-option` of
        the CHICKEN egg; setsockopt(2).
        """
        checked_level, checked_name, written = _checked_option(level, name)
        if isinstance(value, bool):
            data = FLAG.encode(value, "value")
        elif isinstance(value, int):
            data = NUMBER.encode(value, "value")
        else:
            data = BYTES.encode(value, "value")
        self._set(checked_level, checked_name, data, written, value)

    def _get(self, level: int, number: int, length: int, name: str) -> bytes:
        try:
            with Borrowed(checked_descriptor(self._sock)) as s:
                return s.getsockopt(level, number, length)
        except OSError as error:
            # EINVAL: some systems say so for an option that they do not have.
            raise _refused(error, name, (*_UNSUPPORTED, errno.EINVAL)) from None

    def _set(self, level: int, number: int, data: bytes, name: str, value: object) -> None:
        try:
            with Borrowed(checked_descriptor(self._sock)) as s:
                s.setsockopt(level, number, data)
        except OSError as error:
            refused = OSError(error.errno, f"{error.strerror}; the value was {value!r:.80}")
            raise _refused(refused, name, _UNSUPPORTED) from None


def _checked_option(level: int | None, name: int | None) -> tuple[int, int, str]:
    written = f"option {name} of level {level}"
    if level is None or name is None:
        raise UnsupportedOptionError(errno.ENOPROTOOPT, "this platform does not have it", address=written)
    return checked_int(level, "level"), checked_int(name, "name"), written


def _refused(error: OSError, name: str, unsupported: tuple[int, ...]) -> SocketError:
    kind = UnsupportedOptionError if error.errno in unsupported else SocketError
    return kind.of(error, address=name)


def option_table() -> list[Declared]:
    """Every option, in the order of its declaration."""
    return [each for each in vars(SocketOptions).values() if isinstance(each, Declared)]
