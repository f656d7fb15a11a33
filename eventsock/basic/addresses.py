"""Socket addresses as values: `SocketAddress`, how to make one, and how to write one.

Knows the forms of addresses of the Internet and Unix families. Must not know names that need a look-up (that is `resolve`), and
opens no socket.
"""

from __future__ import annotations

import errno
import os
import socket

from ..errors import SocketError
from .arguments import HAS_ABSTRACT_NAMES, checked_host, checked_path, checked_port, checked_service, checked_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from _typeshed import ReadableBuffer, StrOrBytesPath

    NativeAddress = tuple[Any, ...] | str | bytes

_AF_UNIX = getattr(socket, "AF_UNIX", None)
# sun_path of <sys/un.h>, less the NUL that ends a path; an abstract name needs none.
_LONGEST_PATH = 107 if HAS_ABSTRACT_NAMES else 103


_new = object.__new__


class SocketAddress:
    """The address of one end of a socket: a value, hashable, never changed.

    `SocketAddress(AF_INET, "127.0.0.1", 80)`, `SocketAddress(AF_INET6, "::1", 80, flowinfo, scope_id)` or
    `SocketAddress(AF_UNIX, path)`. Numeric addresses only; they are kept in their usual form (RFC 5952 for IPv6). An empty Unix
    path is the address of a socket without a name. `str()` gives `1.2.3.4:80`, `[::1]:80`, only the address when the port is 0,
    or the path (`@name` for an abstract one; what cannot be printed is escaped). Raises `ValueError` or `TypeError`; any thread.
    """

    __slots__ = ("_family", "_native")

    _native: NativeAddress

    def __init__(self, family: int, address: str, port: int = 0, flowinfo: int = 0, scope_id: int = 0) -> None:
        self._family = socket.AddressFamily(family)
        checked_port(port)
        _checked_field(self._family, flowinfo, "flowinfo", 2**20)
        _checked_field(self._family, scope_id, "scope_id", 2**32)
        if family == _AF_UNIX:
            self._native = _checked_unix_name(address, port)
            return
        text = socket.inet_ntop(family, _packed(self._family, address))
        self._native = (text, port) if family == socket.AF_INET else (text, port, flowinfo, scope_id)

    @classmethod
    def from_native(cls, family: int, native: NativeAddress) -> SocketAddress:
        """The address that the `socket` module writes as `native`: a tuple, or a str (bytes for an abstract name) for Unix."""
        if isinstance(native, str | bytes):
            return cls(family, os.fsdecode(native))
        return cls(family, *native)

    @classmethod
    def from_kernel(cls, family: int, native: NativeAddress) -> SocketAddress:
        """As `from_native`, for what a system call has just given: it needs no second look, which would cost as much as the call."""
        self = _new(cls)
        self._family = family  # type: ignore[assignment]
        self._native = os.fsdecode(native) if native.__class__ is bytes else native
        return self

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET, AF_INET6 or AF_UNIX."""
        return socket.AddressFamily(self._family)

    @property
    def address(self) -> str:
        """The numeric address as text, without port and scope; the path for a Unix address."""
        native = self._native
        return native[0] if isinstance(native, tuple) else native  # type: ignore[return-value]

    @property
    def port(self) -> int:
        """The port, in host order. A Unix address has none: `AttributeError`."""
        if self._family == _AF_UNIX:
            raise AttributeError(f"the Unix address {self.address!r} has no port")
        return int(self._native[1])

    @property
    def path(self) -> str:
        """The path of a Unix address; a leading NUL marks an abstract name. Others have none: `AttributeError`."""
        if self._family != _AF_UNIX:
            raise AttributeError(f"the address {self} has no path")
        return self.address

    @property
    def flowinfo(self) -> int:
        """The flow information of an IPv6 address; 0 elsewhere."""
        return int(self._native[2]) if self._family == socket.AF_INET6 else 0

    @property
    def scope_id(self) -> int:
        """The index of the interface that a link-local IPv6 address belongs to; 0 elsewhere."""
        return int(self._native[3]) if self._family == socket.AF_INET6 else 0

    @property
    def packed(self) -> bytes:
        """4 or 16 bytes in network order; the encoded path for a Unix address."""
        return os.fsencode(self.address) if self._family == _AF_UNIX else _packed(self._family, self.address)

    @property
    def native(self) -> NativeAddress:
        """The address in the form that the `socket` module takes: a tuple, or the path."""
        return self._native

    def __str__(self) -> str:
        text = self.address
        if self._family == _AF_UNIX:
            return one_line("@" + text[1:] if text.startswith("\0") else text)
        host = f"{text}%{_scope_name(self.scope_id)}" if self.scope_id else text
        if not self.port:
            return host
        return f"{host}:{self.port}" if self._family == socket.AF_INET else f"[{host}]:{self.port}"

    def __repr__(self) -> str:
        return f"<SocketAddress {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SocketAddress):
            return NotImplemented
        return self._family == other._family and self._native == other._native

    def __hash__(self) -> int:
        return hash(self._native)

    def __reduce__(self) -> tuple[Any, ...]:
        return SocketAddress.from_native, (int(self._family), self.native)


def _packed(family: int, address: str) -> bytes:
    if not isinstance(address, str):
        raise TypeError(f"address must be a str, not {type(address).__name__}: {address!r}")
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"an address of family {family!r} cannot be written as a SocketAddress")
    try:
        return socket.inet_pton(family, address)
    except (OSError, ValueError):
        kind = "IPv4" if family == socket.AF_INET else "IPv6"
        raise ValueError(f"not a numeric {kind} address: {address!r}") from None


def _checked_unix_name(name: str, port: int) -> str:
    """Any name that a Unix socket can have: none, a path, or an abstract name, in which NUL is a character like others."""
    if not isinstance(name, str):
        raise TypeError(f"address must be a str, not {type(name).__name__}: {name!r}")
    if "\0" in name and not name.startswith("\0"):
        raise ValueError(f"a path must not contain NUL: {name!r}")
    if port:
        raise ValueError(f"a Unix address has no port: {port}")
    return name


def _checked_field(family: int, value: int, name: str, limit: int) -> int:
    if not 0 <= checked_size(value, name) < (limit if family == socket.AF_INET6 else 1):
        raise ValueError(f"{name} must be less than {limit}, and 0 but for IPv6, not {value}")
    return value


def one_line(name: str) -> str:
    """A path or a host as it can be written into a log: it may be the peer's choice."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _scope_name(scope_id: int) -> str:
    try:
        return socket.if_indextoname(scope_id)
    except OSError:
        return str(scope_id)


def inet_address(addr: str | None, port: int | str | None) -> SocketAddress:
    """The Internet address of a numeric `addr` (`"127.0.0.1"`, `"::1"`, `"fe80::1%eth0"`) and a `port` (an int or digits).

    `addr=None` is the unspecified address of the family that the system prefers, `port=None` is 0; both None is a `ValueError`.
    After `inet-address` of the CHICKEN egg. Look names up with `address_information`. Any thread.
    """
    if addr is None and port is None:
        raise ValueError("addr and port must not both be None")
    number = 0 if port is None else checked_service(port, "port")
    if isinstance(number, str):
        raise ValueError(f"port must be a number, not {number!r}: look services up with address_information()")
    if addr is None:
        return _unspecified(number)
    text, percent, scope = checked_host(addr, "addr").partition("%")
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    if percent and family == socket.AF_INET:
        raise ValueError(f"only IPv6 addresses have a scope: {addr!r}")
    return SocketAddress(family, text, number, 0, _scope_index(scope, addr) if percent else 0)


def _unspecified(port: int) -> SocketAddress:
    found = socket.getaddrinfo(None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return SocketAddress.from_native(found[0][0], found[0][4])


def _scope_index(scope: str, addr: str) -> int:
    if scope.isascii() and scope.isdigit():
        return int(scope)
    try:
        return socket.if_nametoindex(scope)
    except OSError:
        raise ValueError(f"no network interface {scope!r} for {addr!r}") from None


def unix_address(path: StrOrBytesPath) -> SocketAddress:
    """The Unix address of `path`; a leading NUL makes it one of Linux's abstract names.

    A path too long for the kernel (107 bytes on Linux) is a `SocketError` with ENAMETOOLONG that is also a `ValueError`, where the
    original cut it in silence. Any thread.
    """
    return unix_address_or(SocketError, path)


def unix_address_or(error: type[SocketError], path: StrOrBytesPath) -> SocketAddress:
    """`unix_address`, with the class of error that belongs to the calling verb."""
    text = checked_path(path)
    if _AF_UNIX is None:
        raise error(errno.EAFNOSUPPORT, "this platform has no Unix sockets", address=text)
    length = len(os.fsencode(text))
    longest = _LONGEST_PATH + text.startswith("\0")
    if length > longest:
        text = f"a Unix path may have {longest} bytes, not {length}: use a shorter one, or change to its directory first"
        raise error.refused(errno.ENAMETOOLONG, text, address=os.fsdecode(path))
    return SocketAddress(_AF_UNIX, text)


def ipv4_address_to_string(packed: ReadableBuffer) -> str:
    """Four bytes in network order as `127.0.0.1`; another length is a `ValueError`. After `ipv4-address->string`."""
    return socket.inet_ntop(socket.AF_INET, _exact(packed, 4))


def ipv6_address_to_string(packed: ReadableBuffer) -> str:
    """Sixteen bytes in network order as eight full groups in upper case, after `ipv6-address->string`.

    `SocketAddress.address` is the short form.
    """
    digits = _exact(packed, 16).hex().upper()
    return ":".join(digits[i : i + 4] for i in range(0, 32, 4))


def _exact(packed: ReadableBuffer, length: int) -> bytes:
    if isinstance(packed, int | str):
        raise TypeError(f"packed must be {length} bytes in network order, not {type(packed).__name__}: {packed!r}")
    data = bytes(packed)
    if len(data) != length:
        raise ValueError(f"packed must be {length} bytes in network order, not {len(data)}")
    return data
