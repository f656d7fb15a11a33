"""What each argument may be, and that a refusal names it."""

from __future__ import annotations

import math
import os
import pathlib
from array import array
from decimal import Decimal
from typing import Any

import pytest

from eventsock.basic import arguments


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_port_in_range(port: int) -> None:
    assert arguments.checked_port(port) == port


@pytest.mark.parametrize("port", [-1, 65536, 99999, 2**64])
def test_port_out_of_range_is_named(port: int) -> None:
    with pytest.raises(ValueError, match=f"port must be from 0 to 65535, not {port}"):
        arguments.checked_port(port)


@pytest.mark.parametrize("port", [True, "80", 80.0, None, b"80"])
def test_port_of_another_type(port: object) -> None:
    with pytest.raises(TypeError, match="port must be an int"):
        arguments.checked_port(port)


@pytest.mark.parametrize(("service", "checked"), [(80, 80), ("80", 80), ("0080", 80), ("http", "http"), ("80x", "80x"), ("x-80", "x-80")])
def test_service(service: object, checked: object) -> None:
    assert arguments.checked_service(service) == checked


@pytest.mark.parametrize("service", ["99999", "65536", "-1", "+80", " 80", "", "http\0", -1, 70000, "9" * 5000])
def test_service_that_the_c_library_would_misread(service: object) -> None:
    with pytest.raises(ValueError, match=r"service|digits"):
        arguments.checked_service(service)


@pytest.mark.parametrize("service", [True, 80.0, b"http"])
def test_service_of_another_type(service: object) -> None:
    with pytest.raises(TypeError, match="service must be"):
        arguments.checked_service(service)


@pytest.mark.parametrize("host", ["", "localhost\0.example", "\0"])
def test_host_that_the_c_library_would_cut(host: str) -> None:
    with pytest.raises(ValueError, match="without NUL"):
        arguments.checked_host(host)


@pytest.mark.parametrize("host", [None, b"localhost", 2130706433])
def test_host_of_another_type(host: object) -> None:
    with pytest.raises(TypeError, match="address must be a str"):
        arguments.checked_host(host)


@pytest.mark.parametrize("path", ["/tmp/s", b"/tmp/s", pathlib.Path("/tmp/s")])
def test_path(path: object) -> None:
    assert arguments.checked_path(path) == "/tmp/s"


@pytest.mark.parametrize("path", ["a\0b", b"a\0b", "\0a\0", "a\0", ""])
def test_path_with_nul_or_empty(path: object) -> None:
    with pytest.raises(ValueError, match="pathname"):
        arguments.checked_path(path)


def test_abstract_name_is_for_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    assert arguments.checked_path("\0name") == "\0name"
    monkeypatch.setattr(arguments, "HAS_ABSTRACT_NAMES", False)
    with pytest.raises(ValueError, match="NUL"):
        arguments.checked_path("\0name")


@pytest.mark.parametrize("path", [None, 3, ["x"]])
def test_path_of_another_type(path: object) -> None:
    with pytest.raises(TypeError, match="pathname must be a str, bytes or path"):
        arguments.checked_path(path)


@pytest.mark.parametrize(
    ("seconds", "checked"), [(0, 0.0), (-0.0, 0.0), (1.5, 1.5), (3, 3.0), (None, None), (math.inf, None), (10**400, None)]
)
def test_seconds(seconds: object, checked: float | None) -> None:
    assert arguments.checked_seconds(seconds) == checked


@pytest.mark.parametrize("seconds", [math.nan, -1, -0.001, -math.inf])
def test_seconds_that_are_none(seconds: float) -> None:
    with pytest.raises(ValueError, match="timeout must be 0 or more seconds"):
        arguments.checked_seconds(seconds)


@pytest.mark.parametrize("seconds", ["5", True, Decimal(5), (5,)])
def test_seconds_of_another_type(seconds: object) -> None:
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
        arguments.checked_seconds(seconds)


@pytest.mark.parametrize("size", [True, 1.0, "1", None])
def test_size_of_another_type(size: object) -> None:
    with pytest.raises(TypeError, match="n must be an int"):
        arguments.checked_size(size)


def test_negative_size() -> None:
    with pytest.raises(ValueError, match="n must not be negative: -1"):
        arguments.checked_size(-1)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_int_that_c_would_cut(value: int) -> None:
    with pytest.raises(ValueError, match="backlog does not fit a C int"):
        arguments.checked_int(value, "backlog")


class _Closed:
    def fileno(self) -> int:
        raise ValueError("I/O operation on closed file")


def test_descriptor() -> None:
    assert arguments.checked_descriptor(7) == 7
    assert arguments.checked_descriptor(_Closed()) == -1
    with open(os.devnull) as file:
        assert arguments.checked_descriptor(file) == file.fileno()


@pytest.mark.parametrize("fd", [True, "7", None, 7.0])
def test_descriptor_of_another_type(fd: Any) -> None:
    with pytest.raises(TypeError, match="fd must be a descriptor"):
        arguments.checked_descriptor(fd)


def test_bytes_are_not_copied_and_offsets_count_bytes() -> None:
    numbers = array("i", [1, 2, 3])
    view = arguments.readable_bytes(numbers, 4, 8)
    numbers[1] = 7
    assert bytes(view) == array("i", [7]).tobytes()


@pytest.mark.parametrize(("start", "end"), [(-1, None), (0, 5), (3, 2), (5, None), (0, -1)])
def test_offsets_outside_of_the_buffer(start: int, end: int | None) -> None:
    with pytest.raises(ValueError, match=r"start|end"):
        arguments.readable_bytes(b"abcd", start, end)


def test_text_is_not_bytes() -> None:
    with pytest.raises(TypeError, match=r"data must be bytes, not str: encode it first, or use write_string"):
        arguments.readable_bytes("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [None, 5, [1, 2]])
def test_data_that_is_no_buffer(data: Any) -> None:
    with pytest.raises(TypeError, match="data must be a bytes-like object"):
        arguments.readable_bytes(data)


def test_data_with_gaps() -> None:
    with pytest.raises(TypeError, match="data must be contiguous"):
        arguments.readable_bytes(memoryview(b"abcdef")[::2])


def test_empty_data() -> None:
    assert bytes(arguments.readable_bytes(b"")) == b""
    assert bytes(arguments.readable_bytes(array("i"))) == b""
    assert not arguments.writable_bytes(bytearray()).readonly


@pytest.mark.parametrize("buffer", [b"abcd", memoryview(b"abcd"), b""])
def test_buffer_that_cannot_be_written(buffer: Any) -> None:
    with pytest.raises(TypeError, match="buffer must be writable"):
        arguments.writable_bytes(buffer)
