"""The face of the blocking socket library: one table of names, each served from its room when it is first asked for (PEP 562).

Knows where names live, and the constants of the standard library; no logic. Loads no event loop, and a room only when it is needed.
"""

from __future__ import annotations

import socket as _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import *  # noqa: F403 - the constants that this platform has

    from ..errors import AcceptError as AcceptError
    from ..errors import ConnectError as ConnectError
    from ..errors import EventsockError as EventsockError
    from ..errors import IncompleteRead as IncompleteRead
    from ..errors import ListenError as ListenError
    from ..errors import ResolveError as ResolveError
    from ..errors import SocketError as SocketError
    from ..errors import UnsupportedOptionError as UnsupportedOptionError
    from .accept import accept_ipv4_connection as accept_ipv4_connection
    from .accept import accept_ipv6_connection as accept_ipv6_connection
    from .accept import accept_unix_connection as accept_unix_connection
    from .addresses import SocketAddress as SocketAddress
    from .addresses import inet_address as inet_address
    from .addresses import ipv4_address_to_string as ipv4_address_to_string
    from .addresses import ipv6_address_to_string as ipv6_address_to_string
    from .addresses import unix_address as unix_address
    from .connect import connect_to_addresses as connect_to_addresses
    from .connect import connect_to_host as connect_to_host
    from .connect import connect_to_ipv4_host as connect_to_ipv4_host
    from .connect import connect_to_ipv6_host as connect_to_ipv6_host
    from .connect import connect_to_unix_host as connect_to_unix_host
    from .deadlines import timeouts as timeouts
    from .descriptors import close_fd as close_fd
    from .descriptors import set_fd_blocking as set_fd_blocking
    from .descriptors import set_fd_non_blocking as set_fd_non_blocking
    from .descriptors import set_ignore_sigpipe as set_ignore_sigpipe
    from .descriptors import shutdown as shutdown
    from .listen import listen_on_ipv4_socket as listen_on_ipv4_socket
    from .listen import listen_on_ipv6_socket as listen_on_ipv6_socket
    from .listen import listen_on_unix_socket as listen_on_unix_socket
    from .names import peer_name as peer_name
    from .names import socket_name as socket_name
    from .options import SocketOptions as SocketOptions
    from .passing import receive_descriptors as receive_descriptors
    from .passing import send_descriptors as send_descriptors
    from .ports import abandon_port as abandon_port
    from .ports import io_ports as io_ports
    from .ports import port_socket as port_socket
    from .receiving import accept_ready as accept_ready
    from .receiving import receive as receive
    from .receiving import receive_exactly as receive_exactly
    from .receiving import receive_from as receive_from
    from .receiving import receive_from_into as receive_from_into
    from .receiving import receive_into as receive_into
    from .receiving import receive_ready as receive_ready
    from .resolve import AddressInfo as AddressInfo
    from .resolve import address_information as address_information
    from .resolve import name_information as name_information
    from .sending import send as send
    from .sending import send_all as send_all
    from .sending import send_to as send_to
    from .sending import write_bytes as write_bytes
    from .sending import write_string as write_string

# Which room holds which names. The imports above say the same to type checkers; a test compares the two.
_ROOMS = {
    "eventsock.errors": """
        AcceptError ConnectError EventsockError IncompleteRead ListenError ResolveError SocketError
        UnsupportedOptionError
    """,
    "eventsock.basic.accept": "accept_ipv4_connection accept_ipv6_connection accept_unix_connection",
    "eventsock.basic.addresses": "SocketAddress inet_address ipv4_address_to_string ipv6_address_to_string unix_address",
    "eventsock.basic.connect": """
        connect_to_addresses connect_to_host connect_to_ipv4_host connect_to_ipv6_host connect_to_unix_host
    """,
    "eventsock.basic.descriptors": "close_fd set_fd_blocking set_fd_non_blocking set_ignore_sigpipe shutdown",
    "eventsock.basic.listen": "listen_on_ipv4_socket listen_on_ipv6_socket listen_on_unix_socket",
    "eventsock.basic.names": "peer_name socket_name",
    "eventsock.basic.options": "SocketOptions",
    "eventsock.basic.passing": "receive_descriptors send_descriptors",
    "eventsock.basic.ports": "abandon_port io_ports port_socket",
    "eventsock.basic.receiving": "accept_ready receive receive_exactly receive_from receive_from_into receive_into receive_ready",
    "eventsock.basic.resolve": "AddressInfo address_information name_information",
    "eventsock.basic.sending": "send send_all send_to write_bytes write_string",
    "eventsock.basic.deadlines": "timeouts",
}

_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

_KINDS = ("AF_", "SOCK_", "SOL_", "SO_", "TCP_", "IP_", "IPV6_", "IPPROTO_", "MSG_", "AI_", "NI_", "EAI_", "SHUT_", "INADDR_")
_FUNCTIONS = {"socketpair", "htons", "htonl", "ntohs", "ntohl", "inet_pton", "inet_ntop"}
_OF_SOCKET = {name for name in dir(_socket) if name.startswith(_KINDS)} | _FUNCTIONS

__all__ = [*_HOME, *_OF_SOCKET]


if not TYPE_CHECKING:  # a type checker that saw this would take every misspelt name for an object

    def __getattr__(name: str) -> object:
        if name in _OF_SOCKET:
            value: object = getattr(_socket, name)
        elif name in _HOME:
            # Not importlib: to load it costs a script more than the room does.
            value = getattr(__import__(_HOME[name], fromlist=[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
