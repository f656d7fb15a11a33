"""What the value of a socket option looks like in Python, and as the bytes of its C type.

Pure: encodes and decodes, and refuses values of another type by the name of the option. Knows neither sockets nor which option has
which kind.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

from .arguments import checked_int, checked_seconds

T = TypeVar("T")

Interface = str | int | None
Membership = tuple[str, Interface]

_INT = struct.Struct("i")
_LINGER = struct.Struct("ii")  # struct linger
_TIMEVAL = struct.Struct("ll")  # struct timeval
_MREQN = struct.Struct("=4s4si")  # struct ip_mreqn: group, address of the interface, its index
_MREQ6 = struct.Struct("=16sI")  # struct ipv6_mreq

LONGEST_VALUE = 1024  # what getsockopt of the standard library takes


class Encoding(Generic[T]):
    """How an option is written: what its values are called in the documentation, and how one becomes bytes."""

    def __init__(self, name: str, encode: Callable[[object, str], bytes]) -> None:
        self.name = name
        self.encode = encode


class Kind(Encoding[T]):
    """How an option is read and written: also the size of its C type, and what its bytes mean."""

    def __init__(self, name: str, size: int, decode: Callable[[bytes], T], encode: Callable[[object, str], bytes]) -> None:
        super().__init__(name, encode)
        self.size = size
        self.decode = decode


def _refuse(name: str, wanted: str, value: object) -> NoReturn:
    raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}: {value!r}")


def _decode_flag(data: bytes) -> bool:
    return any(data)


def _encode_flag(value: object, name: str) -> bytes:
    if not isinstance(value, bool):
        _refuse(name, "True or False", value)
    return _INT.pack(value)


def _decode_number(data: bytes) -> int:
    # Some systems give one byte for some options.
    return int.from_bytes(data, sys.byteorder, signed=len(data) == _INT.size)


def _encode_number(value: object, name: str) -> bytes:
    return _INT.pack(checked_int(value, name))


def _decode_linger(data: bytes) -> tuple[bool, int]:
    on, seconds = _LINGER.unpack(data)
    return bool(on), seconds


def _encode_linger(value: object, name: str) -> bytes:
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], bool):
        _refuse(name, "a pair (bool, seconds)", value)
    if checked_int(value[1], name) < 0:
        raise ValueError(f"{name} must have 0 or more seconds, not {value[1]}")
    return _LINGER.pack(*value)


def _decode_seconds(data: bytes) -> float:
    seconds, micros = _TIMEVAL.unpack(data)
    return float(seconds + micros / 1e6)


def _encode_seconds(value: object, name: str) -> bytes:
    if value is None:
        _refuse(name, "a number of seconds, 0 for no limit", value)
    seconds = checked_seconds(value, name)
    if seconds is None:
        raise ValueError(f"{name} must be a finite number of seconds, 0 for no limit, not {value}")
    micros = round(seconds * 1e6)
    return _TIMEVAL.pack(micros // 1_000_000, micros % 1_000_000)


def _encode_bytes(value: object, name: str) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        _refuse(name, "bytes", value)
    return bytes(value)


def _encode_interface(value: object, name: str) -> bytes:
    return _mreqn("0.0.0.0", value, name)


def _encode_membership(value: object, name: str) -> bytes:
    group, interface = _membership(value, name)
    return _mreqn(group, interface, name)


def _mreqn(group: str, interface: object, name: str) -> bytes:
    address, index = "0.0.0.0", 0
    if isinstance(interface, str):
        address = interface
    elif interface is not None:
        index = checked_int(interface, f"the interface of {name}")
    return _MREQN.pack(_packed(socket.AF_INET, group, name), _packed(socket.AF_INET, address, name), index)


def _encode_membership6(value: object, name: str) -> bytes:
    group, interface = _membership(value, name)
    if isinstance(interface, str):
        _refuse(f"the interface of {name}", "an index (socket.if_nametoindex gives it) or None", interface)
    index = 0 if interface is None else checked_int(interface, f"the interface of {name}")
    if index < 0:
        raise ValueError(f"the interface of {name} must not be negative: {index}")
    return _MREQ6.pack(_packed(socket.AF_INET6, group, name), index)


def _membership(value: object, name: str) -> tuple[str, object]:
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[0], str):
        _refuse(name, "a pair (group, interface)", value)
    return value


def _packed(family: int, text: str, name: str) -> bytes:
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        raise ValueError(f"{name}: not a numeric address of {socket.AddressFamily(family).name}: {text!r}") from None


FLAG = Kind("bool", _INT.size, _decode_flag, _encode_flag)
NUMBER = Kind("int", _INT.size, _decode_number, _encode_number)
LINGER = Kind("(bool, int)", _LINGER.size, _decode_linger, _encode_linger)
SECONDS = Kind("seconds", _TIMEVAL.size, _decode_seconds, _encode_seconds)
BYTES = Kind("bytes", LONGEST_VALUE, bytes, _encode_bytes)
INTERFACE = Kind("address, index or None", 4, socket.inet_ntoa, _encode_interface)
MEMBERSHIP: Encoding[Membership] = Encoding("(group, interface)", _encode_membership)
MEMBERSHIP6: Encoding[Membership] = Encoding("(group, index)", _encode_membership6)
