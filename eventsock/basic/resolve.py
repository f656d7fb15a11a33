"""Names to addresses and back: `address_information`, `name_information`.

Knows the system's resolver and its errors. A `Query` is checked when it is made and blocks only when it is answered, so that others
may answer it in a thread of theirs. Opens no socket.
"""

from __future__ import annotations

import errno
import socket

from ..errors import ResolveError
from .addresses import SocketAddress, inet_address, one_line
from .arguments import checked_host, checked_int, checked_seconds, checked_service
from .deadlines import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


class AddressInfo:
    """One answer of `address_information`: an address and the kind of socket that can use it. A value, hashable, never changed."""

    __slots__ = ("_address", "_canonname", "_family", "_flags", "_protocol", "_socktype")

    def __init__(
        self, family: int, socktype: int, protocol: int, address: SocketAddress, canonname: str | None = None, flags: int = 0
    ) -> None:
        self._family = socket.AddressFamily(family)
        self._socktype = socket.SocketKind(socktype)
        self._protocol = protocol
        self._address = address
        self._canonname = canonname
        self._flags = flags

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return self._family

    @property
    def socktype(self) -> socket.SocketKind:
        """SOCK_STREAM, SOCK_DGRAM or SOCK_RAW."""
        return self._socktype

    @property
    def protocol(self) -> int:
        """IPPROTO_TCP, IPPROTO_UDP or another protocol number."""
        return self._protocol

    @property
    def address(self) -> SocketAddress:
        """The address, ready for connect, bind or `send_to`."""
        return self._address

    @property
    def canonname(self) -> str | None:
        """The host's official name, in the first answer to a query with AI_CANONNAME; else None."""
        return self._canonname

    @property
    def flags(self) -> int:
        """The AI_… flags of the query."""
        return self._flags

    def _fields(self) -> tuple[int, int, int, SocketAddress, str | None, int]:
        return self._family, self._socktype, self._protocol, self._address, self._canonname, self._flags

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, AddressInfo) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __reduce__(self) -> tuple[object, ...]:
        return AddressInfo, self._fields()

    def __repr__(self) -> str:
        canonical = f" canonical: {self._canonname!r}" if self._canonname else ""
        kind = f"{self._family.name} {self._socktype.name} {_protocol_name(self._protocol)}"
        return f"<AddressInfo {self._address} {kind}{canonical}>"


def _protocol_name(protocol: int) -> str:
    # 0 is no protocol but a choice left open, whatever names the platform has for it.
    names = {number: name for name, number in vars(socket).items() if name.startswith("IPPROTO_") and number}
    return names.get(protocol, str(protocol))


class Query:
    """A checked question to the resolver. `answer()` may block for as long as the system's resolver likes; any thread may call it.

    `instant` says that there is no name in it, so that the answer needs no files and no network.
    """

    __slots__ = ("_family", "_flags", "_node", "_protocol", "_service", "_type", "asked", "instant")

    def __init__(self, node: str | None, service: str | int | None, family: int, type: int, protocol: int, flags: int) -> None:
        self._node = None if node is None else checked_host(node, "node")
        self._service = 0 if service is None else checked_service(service)
        self._family = checked_int(family, "family")
        self._type = checked_int(type, "type")
        self._protocol = checked_int(protocol, "protocol")
        self._flags = checked_int(flags, "flags")
        self.asked = _written(self._node, self._service)
        self.instant = isinstance(self._service, int) and (self._node is None or _is_numeric(self._node))

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal questions."""
        return self._node, self._service, self._family, self._type, self._protocol, self._flags

    def answer(self) -> list[AddressInfo]:
        """Asks the resolver. Raises `ResolveError`."""
        try:
            found = socket.getaddrinfo(self._node, self._service, self._family, self._type, self._protocol, self._flags)
        except socket.gaierror as error:
            raise ResolveError.of(error, address=self.asked) from None
        except UnicodeError:
            raise ResolveError(socket.EAI_NONAME, "no host can have this name (RFC 5890)", address=self.asked) from None
        return [self._info(*each) for each in found]

    def _info(self, family: int, socktype: int, protocol: int, canonname: str, native: tuple[str | int, ...]) -> AddressInfo:
        address = SocketAddress.from_native(family, native)
        return AddressInfo(family, socktype, protocol, address, canonname or None, self._flags)


def _written(node: str | None, service: str | int) -> str:
    host = "*" if node is None else one_line(node)
    return f"[{host}]:{service}" if ":" in host else f"{host}:{service}"


def _is_numeric(node: str) -> bool:
    try:
        inet_address(node, None)
    except ValueError:
        return False
    return True


def address_information(
    node: str | None,
    service: str | int | None,
    *,
    family: int | None = None,
    type: int | None = socket.SOCK_STREAM,
    protocol: int | None = None,
    flags: int = 0,
    timeout: float | None = None,
) -> list[AddressInfo]:
    """The addresses of the host `node` and the service (or port) `service`, in the order in which they should be tried.

    `node=None` is the loopback address or, with AI_PASSIVE, the unspecified one; `service=None` is port 0; with both None there is
    no answer: `[]`. `family`, `type` and `protocol` restrict the answers, None takes any. `timeout`: seconds for the whole call,
    None for no limit but the resolver's own. Blocks the calling thread; any thread. Raises `ResolveError` (also a
    `socket.gaierror`) for what cannot be looked up, `ValueError` or `TypeError` for a bad argument. After `address-information` of
    the CHICKEN egg, which gives an empty list for an unknown name; getaddrinfo(3), RFC 6724.
    """
    if node is None and service is None:
        return []
    deadline = Deadline(checked_seconds(timeout))
    query = Query(node, service, family or 0, type or 0, protocol or 0, flags)
    return answered(query, deadline)


def answered(query: Query, deadline: Deadline) -> list[AddressInfo]:
    """The answer to `query` within `deadline`; a `ResolveError` that is also a `TimeoutError` if it takes longer."""
    return query.answer() if query.instant else _in_time(query.answer, deadline, query.asked)


def name_information(address: SocketAddress | str, flags: int = 0, *, timeout: float | None = None) -> tuple[str, str | int]:
    """The host's name and the service's name for `address`, a `SocketAddress` or a numeric address as text (then of port 0).

    A host without a name is given as its numeric address (with NI_NAMEREQD: `ResolveError`), a service without a name as its port,
    an int. `timeout` as in `address_information`. Blocks the calling thread; any thread. After `name-information` of the CHICKEN
    egg; getnameinfo(3).
    """
    if isinstance(address, str):
        address = inet_address(address, None)
    if not isinstance(address, SocketAddress):
        raise TypeError(f"address must be a SocketAddress or a numeric str, not {type(address).__name__}: {address!r}")
    native = address.native
    if not isinstance(native, tuple):
        raise ValueError(f"only an Internet address has a host's name, not {address}")
    checked_int(flags, "flags")
    node, service = _in_time(lambda: _names(native, flags, address), Deadline(checked_seconds(timeout)), address)
    return node, int(service) if service.isdigit() else service


def _names(native: tuple[object, ...], flags: int, address: SocketAddress) -> tuple[str, str]:
    try:
        return socket.getnameinfo(native, flags)  # type: ignore[arg-type]
    except socket.gaierror as error:
        raise ResolveError.of(error, address=address) from None


def _in_time(look_up: Callable[[], T], deadline: Deadline, asked: object) -> T:
    """The result of `look_up`, for which there is only as much time as `deadline` leaves."""
    if deadline.seconds is None:
        return look_up()
    # The resolver cannot be interrupted. A look-up that takes too long is left to end by itself.
    import threading

    outcome: list[T | BaseException] = []

    def work() -> None:
        try:
            outcome.append(look_up())
        except BaseException as error:
            outcome.append(error)

    worker = threading.Thread(target=work, name=f"look-up of {asked}", daemon=True)
    worker.start()
    worker.join(deadline.left())
    if not outcome:
        raise ResolveError(errno.ETIMEDOUT, f"the look-up took longer than {deadline.seconds:g} s", address=asked)
    result = outcome.pop()
    if isinstance(result, BaseException):
        try:
            raise result
        finally:
            del result  # or its traceback would hold the frame that holds it
    return result
