"""What a host, a port, a service, a path, a size, a range of bytes and a number of seconds may be.

Pure: each function looks at one argument, before any system call, and returns it in one form or refuses it by name. Knows no
socket. The C library would cut a host at a NUL and take port 99999 for 34463; here is where that ends.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike, ReadableBuffer, WriteableBuffer

HAS_ABSTRACT_NAMES = sys.platform == "linux"

_INT_MAX = 2**31 - 1


def _refuse_type(name: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{name} must be {wanted}, not {type(value).__name__}: {value!r}")


def checked_int(value: object, name: str) -> int:
    """`value` if it is an int that fits a C int; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refuse_type(name, "an int", value)
    if not -_INT_MAX - 1 <= value <= _INT_MAX:
        raise ValueError(f"{name} does not fit a C int: {value}")
    return value


def checked_port(port: object, name: str = "port") -> int:
    """`port` if it is an int from 0 to 65535."""
    if not isinstance(port, int) or isinstance(port, bool):
        raise _refuse_type(name, "an int", port)
    if not 0 <= port <= 65535:
        raise ValueError(f"{name} must be from 0 to 65535, not {port}")
    return port


def checked_host(host: object, name: str = "address") -> str:
    """`host` if it is a text, not empty and without NUL; whether it can be resolved is not asked."""
    if not isinstance(host, str):
        raise _refuse_type(name, "a str", host)
    if not host or "\0" in host:
        raise ValueError(f"{name} must be a name or a numeric address, without NUL, not {host!r}")
    return host


def checked_service(service: object, name: str = "service") -> str | int:
    """A port (digits count as one) as an int, or the name of a service.

    The C library takes "99999" for 34463 and " 80" for 80, so what begins like a number must be a port.
    """
    if not isinstance(service, str):
        return checked_port(service, name)
    if service.isascii() and service.isdigit():
        return checked_port(int(service), name)
    if not service or "\0" in service or service[0].isspace() or service[0] in "+-":
        raise ValueError(f"{name} must be the name of a service or a port from 0 to 65535, not {service!r}")
    return service


def checked_path(path: object, name: str = "pathname") -> str:
    """The path of a Unix socket as text. A leading NUL makes it one of Linux's abstract names; no other NUL is allowed."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise _refuse_type(name, "a str, bytes or path", path)
    text = os.fsdecode(path)
    if not text:
        raise ValueError(f"{name} must not be empty")
    if "\0" in text[1:] or (text[0] == "\0" and not HAS_ABSTRACT_NAMES):
        raise ValueError(f"{name} must not contain NUL (but on Linux, in front, for an abstract name): {text!r}")
    return text


def checked_size(size: object, name: str = "n") -> int:
    """A number of bytes: an int that is not negative."""
    if not isinstance(size, int) or isinstance(size, bool):
        raise _refuse_type(name, "an int", size)
    if size < 0:
        raise ValueError(f"{name} must not be negative: {size}")
    return size


def checked_seconds(seconds: object, name: str = "timeout") -> float | None:
    """A number of seconds from 0 on, or None for no limit; infinity is no limit either."""
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise _refuse_type(name, "a number of seconds or None", seconds)
    if not seconds >= 0:
        raise ValueError(f"{name} must be 0 or more seconds, or None for no limit, not {seconds}")
    # Beyond a thousand years: also what a float cannot hold.
    return None if seconds > 1e11 else float(seconds)


def checked_descriptor(fd: FileDescriptorLike, name: str = "fd") -> int:
    """The number of `fd`, an int or an object with `fileno()`; negative for what is surely not open.

    A bool is refused: `close_fd(True)` would close standard output.
    """
    if isinstance(fd, int) and not isinstance(fd, bool):
        return fd if 0 <= fd <= _INT_MAX else -1  # the standard library would take 2**32 for 0
    fileno = getattr(fd, "fileno", None)
    if fileno is None:
        raise _refuse_type(name, "a descriptor or an object with fileno()", fd)
    try:
        number: int = fileno()
    except ValueError:  # a closed file
        return -1
    return number


def readable_bytes(data: ReadableBuffer, start: int = 0, end: int | None = None, name: str = "data") -> memoryview:
    """The bytes of `data` from `start` to `end`, not copied. Offsets count bytes, whatever the items of `data` are.

    Use it in a `with`: a view that lives on in the traceback of an error would keep a bytearray from growing.
    """
    if isinstance(data, str):
        raise TypeError(f"{name} must be bytes, not str: encode it first, or use write_string()")
    return _part(_flat(data, name), start, end)


def writable_bytes(buffer: WriteableBuffer, start: int = 0, end: int | None = None, name: str = "buffer") -> memoryview:
    """The room of `buffer` from `start` to `end`."""
    view = _flat(buffer, name)
    if view.readonly:
        raise TypeError(f"{name} must be writable, like a bytearray, not {type(buffer).__name__}")
    return _part(view, start, end)


def _flat(data: ReadableBuffer, name: str) -> memoryview:
    try:
        view = memoryview(data)
    except TypeError:
        raise _refuse_type(name, "a bytes-like object", data) from None
    if not view.c_contiguous:
        raise TypeError(f"{name} must be contiguous: copy it with bytes() first")
    return view.cast("B") if view.nbytes else memoryview(bytearray() if not view.readonly else b"")


def _part(view: memoryview, start: int, end: int | None) -> memoryview:
    last = len(view) if end is None else checked_size(end, "end")
    if not checked_size(start, "start") <= last <= len(view):
        raise ValueError(f"start and end must lie in the buffer, in order: 0 <= {start} <= {last} <= {len(view)}")
    return view[start:last]
