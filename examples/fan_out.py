#!/usr/bin/env python3
"""Send what comes in on standard input (a terminal or a pipe) to everyone who has connected: a fan-out.

Nobody is waited for: who is still busy with what came before misses what comes now. It ends with its input.
"""

import argparse
import os
import sys
from collections.abc import Generator
from typing import Any

from eventsock import ListenError, Meeting, Stream, a_sync, after, await_choice, await_serve, readable, run
from eventsock.basic import SocketAddress, listen_on_ipv4_socket

CHUNK = 65536  # bytes

listeners: set[Meeting[bytes]] = set()


def listen(stream: Stream, address: SocketAddress) -> Generator[Any, Any, None]:
    """Serve one who has connected, until the input ends or it says or closes something."""
    assert stream.socket is not None
    news: Meeting[bytes] = Meeting()
    listeners.add(news)
    try:
        # None is what `readable` gives; an empty piece is the end of the input.
        while piece := (yield from await_choice(news.receiving(), readable(stream.socket))):
            yield from stream.await_put_bytes(piece)
    finally:
        listeners.discard(news)


def publish() -> Generator[Any, Any, None]:
    """Offer each piece of input to all who listen at that moment; the empty one at the end as well."""
    while True:
        yield from readable(sys.stdin).await_()
        piece = os.read(sys.stdin.fileno(), CHUNK)
        for news in list(listeners):
            yield from await_choice(news.sending(piece), after(0))
        if not piece:
            return


def serve(host: str, port: int) -> Generator[Any, Any, None]:
    with listen_on_ipv4_socket(host, port) as listener:
        print(f"listening on {host}:{listener.getsockname()[1]}", flush=True)
        a_sync(await_serve, listen, listener)
        yield from publish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="the IPv4 address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        run(serve, arguments.host, arguments.port)
    except ListenError as error:
        sys.exit(f"fan_out: {error}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
