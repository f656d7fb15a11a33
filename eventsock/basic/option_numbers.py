"""Which number a socket option has on this platform, by the name of its constant in C.

Knows what the standard library names, and what Linux has beyond that. Must not know what an option is for.
"""

from __future__ import annotations

import os
import socket
import sys

# Linux has these options, but the standard library does not name them (not all versions do). Numbers from <linux/in.h>, <linux/in6.h>.
_LINUX = {
    "IP_MTU": 14,
    "IP_MTU_DISCOVER": 10,
    "IP_PKTINFO": 8,
    "IP_RECVERR": 11,
    "IP_RECVTTL": 12,
    "IP_ROUTER_ALERT": 5,
    "IPV6_ADDRFORM": 1,
    "IPV6_AUTHHDR": 10,
    "IPV6_FLOWINFO": 11,
    "IPV6_MTU": 24,
    "IPV6_MTU_DISCOVER": 23,
    "IPV6_RECVERR": 25,
    "IPV6_ROUTER_ALERT": 22,
}
# <asm-generic/socket.h>: not for mips, sparc, alpha and parisc, which have numbers of their own.
_LINUX_GENERIC = {"SO_NO_CHECK": 11, "SO_TIMESTAMP": 29}


def unnamed(platform: str, machine: str) -> dict[str, int]:
    """The options that a platform has although the standard library may not name them."""
    if platform != "linux":
        return {}
    own_numbers = machine.startswith(("mips", "sparc", "alpha", "parisc"))
    return _LINUX if own_numbers else _LINUX | _LINUX_GENERIC


_UNNAMED = unnamed(sys.platform, os.uname().machine if hasattr(os, "uname") else "")


def number_of(constant: str) -> int | None:
    """The number of an option on this platform; None if the platform does not have it."""
    found: int | None = getattr(socket, constant, _UNNAMED.get(constant))
    return found
