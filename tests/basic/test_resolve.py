"""Look-ups: the printed examples of the CHICKEN egg's document, what cannot be looked up, and the time a look-up may take."""

from __future__ import annotations

import errno
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from eventsock.basic import AddressInfo, ResolveError, SocketAddress, address_information, inet_address, name_information, unix_address
from eventsock.basic.resolve import Query

_STREAM = "SOCK_STREAM IPPROTO_TCP"


def _shown(infos: list[AddressInfo]) -> set[str]:
    return {repr(info) for info in infos}


def test_a_name_and_a_service() -> None:
    assert f"<AddressInfo 127.0.0.1:80 AF_INET {_STREAM}>" in _shown(address_information("localhost", "http"))


def test_a_numeric_address_for_datagrams() -> None:
    (info,) = address_information("127.0.0.1", 53, type=socket.SOCK_DGRAM)
    assert repr(info) == "<AddressInfo 127.0.0.1:53 AF_INET SOCK_DGRAM IPPROTO_UDP>"


def test_any_type_gives_each_type() -> None:
    found = address_information("127.0.0.1", 80, type=None)
    assert {info.socktype for info in found} >= {socket.SOCK_STREAM, socket.SOCK_DGRAM}
    assert {str(info.address) for info in found} == {"127.0.0.1:80"}


def test_no_node_is_the_loopback() -> None:
    assert _shown(address_information(None, "http")) == {
        f"<AddressInfo [::1]:80 AF_INET6 {_STREAM}>",
        f"<AddressInfo 127.0.0.1:80 AF_INET {_STREAM}>",
    }


def test_no_node_to_bind_is_unspecified() -> None:
    found = address_information(None, "http", flags=socket.AI_PASSIVE)
    assert _shown(found) == {f"<AddressInfo [::]:80 AF_INET6 {_STREAM}>", f"<AddressInfo 0.0.0.0:80 AF_INET {_STREAM}>"}


def test_neither_node_nor_service_has_no_answer() -> None:
    assert address_information(None, None) == []


def test_no_service_is_port_0() -> None:
    assert [str(info.address) for info in address_information("127.0.0.1", None)] == ["127.0.0.1"]


def test_canonical_name() -> None:
    (info,) = address_information("127.0.0.1", 0, flags=socket.AI_CANONNAME)
    assert info.canonname == "127.0.0.1"
    assert info.flags == socket.AI_CANONNAME
    assert repr(info) == f"<AddressInfo 127.0.0.1 AF_INET {_STREAM} canonical: '127.0.0.1'>"
    assert address_information("127.0.0.1", 0)[0].canonname is None


def test_parts_of_an_answer() -> None:
    (info,) = address_information("127.0.0.1", 80, protocol=socket.IPPROTO_TCP)
    assert (info.family, info.socktype, info.protocol) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    assert info.address == inet_address("127.0.0.1", 80)
    assert (info.canonname, info.flags) == (None, 0)


def test_answers_are_values() -> None:
    (info,) = address_information("127.0.0.1", 80)
    (again,) = address_information("127.0.0.1", 80)
    (other,) = address_information("127.0.0.1", 81)
    assert info == again
    assert hash(info) == hash(again)
    assert info != other
    assert info != info.address
    assert pickle.loads(pickle.dumps(info)) == info
    with pytest.raises(AttributeError):
        info.flags = 3  # type: ignore[misc]


def test_family_restricts() -> None:
    found = address_information(None, 80, family=socket.AF_INET)
    assert [info.family for info in found] == [socket.AF_INET]


def test_protocol_without_a_name_is_shown_as_a_number() -> None:
    assert "SOCK_STREAM 0>" in repr(AddressInfo(socket.AF_INET, socket.SOCK_STREAM, 0, inet_address("127.0.0.1", 0)))
    assert "SOCK_RAW 253>" in repr(AddressInfo(socket.AF_INET, socket.SOCK_RAW, 253, inet_address("127.0.0.1", 0)))


# What cannot be looked up


def test_unknown_name() -> None:
    with pytest.raises(ResolveError, match=r"cannot resolve nosuch:80") as caught:
        address_information("nosuch", 80, flags=socket.AI_NUMERICHOST)
    assert caught.value.errno == socket.EAI_NONAME
    assert isinstance(caught.value, socket.gaierror)
    assert caught.value.address == "nosuch:80"


@pytest.mark.parametrize("service", ["80x", "nosuchservice"])
def test_unknown_service(service: str) -> None:
    with pytest.raises(ResolveError, match=f"cannot resolve 127.0.0.1:{service}"):
        address_information("127.0.0.1", service)


@pytest.mark.parametrize(
    ("host", "written"),
    [("a..b", "a..b"), ("x" * 64 + ".example", "x" * 64 + ".example"), ("ü" * 80, "ü" * 80), ("\udcff", r"\udcff"), ("a..\nb", r"a..\nb")],
    ids=range(5),
)
def test_name_that_no_host_can_have(host: str, written: str) -> None:
    with pytest.raises(ResolveError) as caught:
        address_information(host, 80)
    assert caught.value.errno == socket.EAI_NONAME
    assert not isinstance(caught.value, UnicodeError)
    assert caught.value.address == f"{written}:80"  # on one line, and printable: it may be the peer's choice


def test_unknown_scope() -> None:
    with pytest.raises(ResolveError, match=r"\[fe80::1%nope\]:80"):
        address_information("fe80::1%nope", 80, flags=socket.AI_NUMERICHOST)


def test_address_of_another_family() -> None:
    with pytest.raises(ResolveError):
        address_information("127.0.0.1", 80, family=socket.AF_INET6)


@pytest.mark.parametrize(
    "arguments", [("localhost\0.evil", 80), ("", 80), ("localhost", 99999), ("localhost", -1), ("localhost", "99999"), ("localhost", "")]
)
def test_what_the_c_library_would_misread(arguments: tuple[str, Any]) -> None:
    with pytest.raises(ValueError):
        address_information(*arguments)


@pytest.mark.parametrize("arguments", [(b"localhost", 80), ("localhost", 80.0), ("localhost", True)])
def test_arguments_of_another_type(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(TypeError):
        address_information(*arguments)


# Names for addresses


def test_names_of_an_address() -> None:
    assert name_information(inet_address("127.0.0.1", 80)) == ("localhost", "http")


def test_numeric_names() -> None:
    address = inet_address("::1", 80)
    assert name_information(address, socket.NI_NUMERICHOST) == ("::1", "http")
    assert name_information(address, socket.NI_NUMERICHOST + socket.NI_NUMERICSERV) == ("::1", 80)


def test_port_0_stays_0() -> None:
    node, service = name_information("::1")
    assert node in ("localhost", "::1", "ip6-localhost")
    assert service == 0
    assert name_information("::1", socket.NI_NUMERICHOST) == ("::1", 0)


def test_service_without_a_name_is_its_port() -> None:
    assert name_information(inet_address("127.0.0.1", 31828), socket.NI_NUMERICHOST) == ("127.0.0.1", 31828)


def test_name_that_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(native: object, flags: int) -> tuple[str, str]:
        assert flags == socket.NI_NAMEREQD
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getnameinfo", nameless)
    with pytest.raises(ResolveError, match=r"cannot resolve 127\.0\.0\.2:80: Name or service not known"):
        name_information(inet_address("127.0.0.2", 80), socket.NI_NAMEREQD)


def test_names_are_for_internet_addresses() -> None:
    with pytest.raises(ValueError, match="only an Internet address"):
        name_information(unix_address("/tmp/s"))
    with pytest.raises(ValueError, match="numeric"):
        name_information("localhost")
    with pytest.raises(TypeError, match="address must be a SocketAddress"):
        name_information(("127.0.0.1", 80))  # type: ignore[arg-type]


# The time a look-up may take


@pytest.fixture
def stuck_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers only when the event is set."""
    release = threading.Event()

    def stuck(*_: object, **__: object) -> Any:
        release.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    monkeypatch.setattr(socket, "getnameinfo", lambda *_: (stuck(), ("", ""))[1])
    yield release
    release.set()


def test_look_up_that_takes_too_long(stuck_resolver: threading.Event) -> None:
    began = time.monotonic()
    with pytest.raises(ResolveError, match=r"cannot resolve slow.example:80: the look-up took longer than 0.05 s") as caught:
        address_information("slow.example", 80, timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.errno == errno.ETIMEDOUT
    assert 0.05 <= time.monotonic() - began < 5


def test_reverse_look_up_that_takes_too_long(stuck_resolver: threading.Event) -> None:
    with pytest.raises(TimeoutError, match="took longer"):
        name_information("127.0.0.1", timeout=0.01)


def test_look_up_in_time_gives_its_result_and_its_error() -> None:
    assert address_information("localhost", 80, family=socket.AF_INET, timeout=30)[0].address == inet_address("127.0.0.1", 80)
    with pytest.raises(ResolveError, match="nosuchservice"):
        address_information("localhost", "nosuchservice", timeout=30)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5"])
def test_time_limit_is_checked(timeout: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="timeout must be"):
        address_information("localhost", 80, timeout=timeout)


@pytest.mark.parametrize(
    ("node", "service", "instant"),
    [("127.0.0.1", 80, True), (None, 80, True), ("::1", "80", True), ("localhost", 80, False), ("127.0.0.1", "http", False)],
)
def test_query_knows_whether_it_can_block(node: str | None, service: str | int, instant: bool) -> None:
    assert Query(node, service, 0, socket.SOCK_STREAM, 0, 0).instant is instant


def test_numeric_query_needs_no_thread(stuck_resolver: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Thread", None)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))])
    found = address_information("127.0.0.1", 80, timeout=1)
    assert [info.address for info in found] == [SocketAddress(socket.AF_INET, "127.0.0.1", 80)]
