"""Addresses are values: their forms, their text, and what is refused."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventsock.basic import SocketAddress, SocketError, inet_address, ipv4_address_to_string, ipv6_address_to_string, unix_address

_LOOPBACK = "lo"

_ADDRESSES = st.one_of(
    st.builds(SocketAddress, st.just(socket.AF_INET), st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.builds(
        SocketAddress,
        st.just(socket.AF_INET6),
        st.ip_addresses(v=6).map(str),
        st.integers(0, 65535),
        st.integers(0, 2**20 - 1),
        st.integers(0, 2**32 - 1),
    ),
    st.builds(SocketAddress, st.just(socket.AF_UNIX), st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1)),
)


def test_parts_of_an_ipv4_address() -> None:
    address = inet_address("127.0.0.1", 80)
    assert (address.family, address.address, address.port) == (socket.AF_INET, "127.0.0.1", 80)
    assert address.packed == b"\x7f\0\0\1"
    assert address.native == ("127.0.0.1", 80)
    assert (address.flowinfo, address.scope_id) == (0, 0)


def test_parts_of_an_ipv6_address() -> None:
    address = SocketAddress(socket.AF_INET6, "::1", 80, 5, 7)
    assert (address.family, address.address, address.port) == (socket.AF_INET6, "::1", 80)
    assert address.packed == bytes(15) + b"\1"
    assert address.native == ("::1", 80, 5, 7)
    assert (address.flowinfo, address.scope_id) == (5, 7)


def test_parts_of_a_unix_address() -> None:
    address = unix_address("/tmp/s")
    assert (address.family, address.address, address.path) == (socket.AF_UNIX, "/tmp/s", "/tmp/s")
    assert (address.packed, address.native) == (b"/tmp/s", "/tmp/s")


def test_what_a_family_does_not_have() -> None:
    with pytest.raises(AttributeError, match="has no port"):
        _ = unix_address("/tmp/s").port
    with pytest.raises(AttributeError, match=r"1\.2\.3\.4:80 has no path"):
        _ = inet_address("1.2.3.4", 80).path


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (inet_address("1.2.3.4", 80), "1.2.3.4:80"),
        (inet_address("1.2.3.4", 0), "1.2.3.4"),
        (inet_address("::1", 80), "[::1]:80"),
        (inet_address("::1", None), "::1"),
        (inet_address("0:0:0:0:0:0:0:1", 1), "[::1]:1"),
        (unix_address("/tmp/s"), "/tmp/s"),
        (unix_address(b"/tmp/s"), "/tmp/s"),
        (unix_address("\0name"), "@name"),
    ],
)
def test_text(address: SocketAddress, text: str) -> None:
    assert str(address) == text
    assert repr(address) == f"<SocketAddress {text}>"


def test_text_shows_the_scope_by_name() -> None:
    index = socket.if_nametoindex(_LOOPBACK)
    assert str(SocketAddress(socket.AF_INET6, "fe80::1", 80, 0, index)) == f"[fe80::1%{_LOOPBACK}]:80"
    assert str(SocketAddress(socket.AF_INET6, "fe80::1", 0, 0, 4_000_000_000)) == "fe80::1%4000000000"


@pytest.mark.parametrize("path", ["/tmp/a\nFORGED", "/tmp/\x1b[2J", os.fsdecode(b"/tmp/\xff")])
def test_text_of_a_path_stays_on_one_line_and_can_be_printed(path: str) -> None:
    text = str(unix_address(path))
    assert text.isprintable()
    assert text.isascii()
    assert unix_address(path).path == path


@given(_ADDRESSES)
def test_native_form_and_back(address: SocketAddress) -> None:
    again = SocketAddress.from_native(address.family, address.native)
    assert again == address
    assert hash(again) == hash(address)
    assert str(again) == str(address)


@given(_ADDRESSES)
def test_copies_are_equal(address: SocketAddress) -> None:
    assert pickle.loads(pickle.dumps(address)) == address
    assert copy.deepcopy(address) == address


def test_native_form_of_an_abstract_name_is_bytes() -> None:
    assert SocketAddress.from_native(socket.AF_UNIX, b"\0name").path == "\0name"


def test_equality_looks_at_every_part() -> None:
    parts: list[tuple[Any, ...]] = [
        (socket.AF_INET, "1.2.3.4", 80),
        (socket.AF_INET, "1.2.3.4", 81),
        (socket.AF_INET, "1.2.3.5", 80),
        (socket.AF_INET6, "::1", 80),
        (socket.AF_INET6, "::1", 80, 1),
        (socket.AF_INET6, "::1", 80, 0, 1),
        (socket.AF_UNIX, "1.2.3.4"),
    ]
    assert len({SocketAddress(*each) for each in parts}) == len(parts)
    assert inet_address("1.2.3.4", 80) != ("1.2.3.4", 80)


@pytest.mark.parametrize("name", ["family", "address", "port", "path", "flowinfo", "scope_id", "packed", "native", "other"])
def test_frozen(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(inet_address("1.2.3.4", 80), name, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        (socket.AF_INET, "localhost", 80),
        (socket.AF_INET, "1.2.3", 80),
        (socket.AF_INET, "1.2.3.4\0", 80),
        (socket.AF_INET, "::1", 80),
        (socket.AF_INET6, "1.2.3.4", 80),
        (socket.AF_INET, "1.2.3.4", 65536),
        (socket.AF_INET, "1.2.3.4", 80, 1),
        (socket.AF_INET, "1.2.3.4", 80, 0, 1),
        (socket.AF_INET6, "::1", 80, 2**20),
        (socket.AF_INET6, "::1", 80, 0, 2**32),
        (socket.AF_INET6, "::1", 80, -1),
        (socket.AF_UNIX, "/tmp/a\0b"),
        (socket.AF_UNIX, "/tmp/s", 80),
        (socket.AF_UNIX, "/tmp/s", 0, 1),
        (socket.AF_UNSPEC, "1.2.3.4", 80),
        (4711, "1.2.3.4", 80),
    ],
)
def test_not_an_address(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):
        SocketAddress(*arguments)


def test_kernel_may_name_what_we_would_not() -> None:
    assert SocketAddress.from_native(socket.AF_UNIX, b"\0a\0b").path == "\0a\0b"


def test_address_of_another_type() -> None:
    with pytest.raises(TypeError, match="address must be a str, not bytes"):
        SocketAddress(socket.AF_UNIX, b"/tmp/s")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="address must be a str, not bytes"):
        SocketAddress(socket.AF_INET, b"\x7f\0\0\1")  # type: ignore[arg-type]


# inet_address


def test_inet_address_takes_digits_as_a_port() -> None:
    assert inet_address("127.0.0.1", "80") == inet_address("127.0.0.1", 80)


def test_inet_address_without_an_address_is_unspecified() -> None:
    assert inet_address(None, 80).address in ("::", "0.0.0.0")
    assert inet_address(None, 80).port == 80


def test_inet_address_with_a_scope() -> None:
    index = socket.if_nametoindex(_LOOPBACK)
    assert inet_address(f"fe80::1%{_LOOPBACK}", 80).scope_id == index
    assert inet_address(f"fe80::1%{index}", 80).scope_id == index
    assert str(inet_address(f"fe80::1%{_LOOPBACK}", 80)) == f"[fe80::1%{_LOOPBACK}]:80"


@pytest.mark.parametrize(
    ("addr", "port"),
    [
        (None, None),
        ("localhost", 80),
        ("", 80),
        ("127.0.0.1\0", 80),
        ("[::1]", 80),
        ("127.1", 80),
        ("127.0.0.1%lo", 80),
        ("fe80::1%nope", 80),
        ("fe80::1%", 80),
        ("127.0.0.1", "http"),
        ("127.0.0.1", "80x"),
        ("127.0.0.1", "99999"),
        ("127.0.0.1", -1),
        ("127.0.0.1", 65536),
    ],
)
def test_inet_address_refuses(addr: str | None, port: int | str | None) -> None:
    with pytest.raises(ValueError):
        inet_address(addr, port)


@pytest.mark.parametrize(("addr", "port"), [(b"127.0.0.1", 80), (2130706433, 80), ("127.0.0.1", 80.0), ("127.0.0.1", True)])
def test_inet_address_of_another_type(addr: Any, port: Any) -> None:
    with pytest.raises(TypeError):
        inet_address(addr, port)


# unix_address


@pytest.mark.parametrize("path", ["x" * 107, "ü" * 53, "\0" + "x" * 107])
def test_longest_unix_paths_can_be_bound(path: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(unix_address(path).native)
        assert SocketAddress.from_native(socket.AF_UNIX, sock.getsockname()) == unix_address(path)


@pytest.mark.parametrize("path", ["x" * 108, "ü" * 54, "\0" + "x" * 108])
def test_unix_path_that_is_too_long(path: str) -> None:
    with pytest.raises(SocketError, match="a Unix path may have") as caught:
        unix_address(path)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert isinstance(caught.value, ValueError)
    assert caught.value.address == path


def test_platform_without_unix_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventsock.basic.addresses._AF_UNIX", None)
    with pytest.raises(SocketError, match="no Unix sockets") as caught:
        unix_address("/tmp/s")
    assert caught.value.errno == errno.EAFNOSUPPORT


# Packed addresses


def test_packed_addresses_as_text() -> None:
    assert ipv4_address_to_string(b"\x7f\0\0\1") == "127.0.0.1"
    assert ipv4_address_to_string(bytearray(b"\xc0\xa8\1\7")) == "192.168.1.7"
    assert ipv6_address_to_string(bytes(15) + b"\1") == "0000:0000:0000:0000:0000:0000:0000:0001"
    mapped = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1")
    assert ipv6_address_to_string(mapped) == "0000:0000:0000:0000:0000:FFFF:7F00:0001"


@pytest.mark.parametrize("length", [0, 3, 5, 15, 17])
def test_packed_addresses_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match="packed must be 4 bytes"):
        ipv4_address_to_string(bytes(length))
    with pytest.raises(ValueError, match="packed must be 16 bytes"):
        ipv6_address_to_string(bytes(length))


@pytest.mark.parametrize("packed", ["1234", 4])
def test_packed_addresses_of_another_type(packed: Any) -> None:
    with pytest.raises(TypeError, match="packed must be"):
        ipv4_address_to_string(packed)
