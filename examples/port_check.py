#!/usr/bin/env python3
"""Which of these ports answer? A script without an event loop: connects to each and says how it went.

Shows a blocking connect with a time limit for all of it, the look-up too, and what its errors say. The exit status is 1 if any
is not open. Try it with

    python3 examples/port_check.py localhost:22 example.org:80 [::1]:8000
"""

import argparse
import sys
from time import perf_counter

from eventsock import ConnectError
from eventsock.basic import connect_to_host, peer_name


def place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"write HOST:PORT or [IPv6 address]:PORT, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check(host: str, port: int, seconds: float) -> tuple[bool, str]:
    begin = perf_counter()
    try:
        with connect_to_host(host, port=port, timeout=seconds) as sock:
            return True, f"open: {peer_name(sock)} after {(perf_counter() - begin) * 1000:.1f} ms"
    except ConnectError as error:
        return False, f"{error.strerror}{', it may be tried again later' if error.transient else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to wait for each (default: %(default)s)")
    parser.add_argument("places", metavar="HOST:PORT", nargs="+", type=place, help="where to connect to")
    arguments = parser.parse_args()
    all_open = True
    for host, port in arguments.places:
        is_open, how = check(host, port, arguments.seconds)
        all_open &= is_open
        print(f"{host} port {port}: {how}", flush=True)
    sys.exit(0 if all_open else 1)


if __name__ == "__main__":
    main()
