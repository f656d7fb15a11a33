#!/usr/bin/env python3
"""A key-value server in memory that speaks the protocol of Redis (RESP 2), well enough for `redis-cli` and `redis-benchmark`.

Shows a protocol of lines and counted blocks, read straight down with `await_getline` and `await_getblock`, and answers that are gathered.
Try it with

    redis-cli -p 6380 set greeting hello
    redis-benchmark -p 6380 -t ping,set,get -P 16
    echo "incr visits" | nc localhost 6380

It knows PING, ECHO, SET, GET, DEL, EXISTS, INCR and QUIT. Who can connect can read and write everything: keep it on this machine.
"""

import argparse
import re
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from eventsock import LineTooLong, SocketError, Stream, await_serve, run
from eventsock.basic import SocketAddress, listen_on_ipv4_socket, listen_on_ipv6_socket, socket_name

MOST_ARGUMENTS = 1024
MOST_BYTES = 16 * 1024 * 1024  # of all arguments of a request together

Reading = Generator[Any, Any, list[bytes] | None]


class ProtocolError(Exception):
    """After this, nobody knows where the next request begins."""


class CommandError(Exception):
    """A request that is understood and refused."""


# What comes in


def await_request(stream: Stream) -> Reading:
    """The next request as a list of words, which is empty for an empty line; None at the end of input."""
    line = yield from stream.await_getline()
    if line is None:
        return None
    if not line.startswith(b"*"):
        return line.split()  # as people type it
    words: list[bytes] = []
    left = MOST_BYTES
    for _ in range(counted(line, b"*", MOST_ARGUMENTS)):
        header = yield from stream.await_getline()
        if header is None:
            return None
        size = counted(header, b"$", left)
        word = yield from stream.await_getblock(size + 2)
        if word is None or len(word) < size + 2:
            return None
        words.append(word[:-2])
        left -= size
    return words


def counted(line: bytes, mark: bytes, most: int) -> int:
    """The number in a line such as `$5`."""
    digits = line[1:].removesuffix(b"\r")
    if line[:1] != mark:
        raise ProtocolError(f"expected '{mark.decode()}', got {quoted(line[:1])}")
    if not digits.isdigit() or len(digits) > 10 or int(digits) > most:
        raise ProtocolError(f"invalid length {quoted(digits)}")
    return int(digits)


# What goes out


def bulk(data: bytes | None) -> bytes:
    return b"$-1\r\n" if data is None else b"$%d\r\n%b\r\n" % (len(data), data)


def quoted(data: bytes) -> str:
    """Harmless in a line of ours, whatever it is."""
    return repr(data[:40])[1:]


class Store:
    """The keys, their values, and the commands on them: each takes the words behind its name and gives the answer."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        # Each with the smallest and the largest number of words.
        self._commands: dict[bytes, tuple[Callable[..., bytes], int, int]] = {
            b"PING": (self._ping, 0, 1),
            b"ECHO": (bulk, 1, 1),
            b"SET": (self._set, 2, 2),
            b"GET": (self._get, 1, 1),
            b"DEL": (self._del, 1, MOST_ARGUMENTS),
            b"EXISTS": (self._exists, 1, MOST_ARGUMENTS),
            b"INCR": (self._incr, 1, 1),
            b"QUIT": (lambda: b"+OK\r\n", 0, 0),
            b"COMMAND": (lambda *_: b"*0\r\n", 0, MOST_ARGUMENTS),  # redis-cli asks for its help texts
            b"CONFIG": (self._config, 2, 2),
        }

    def answer(self, words: list[bytes]) -> bytes:
        try:
            command, fewest, most = self._commands[words[0].upper()]
        except KeyError:
            return f"-ERR unknown command {quoted(words[0])}\r\n".encode()
        if not fewest <= len(words) - 1 <= most:
            return b"-ERR wrong number of arguments for '%b' command\r\n" % words[0].lower()
        try:
            return command(*words[1:])
        except CommandError as error:
            return f"-ERR {error}\r\n".encode()

    def _ping(self, text: bytes | None = None) -> bytes:
        return b"+PONG\r\n" if text is None else bulk(text)

    def _set(self, key: bytes, value: bytes) -> bytes:
        self._values[key] = value
        return b"+OK\r\n"

    def _get(self, key: bytes) -> bytes:
        return bulk(self._values.get(key))

    def _del(self, *keys: bytes) -> bytes:
        return b":%d\r\n" % sum(self._values.pop(key, None) is not None for key in keys)

    def _exists(self, *keys: bytes) -> bytes:
        return b":%d\r\n" % sum(key in self._values for key in keys)

    def _incr(self, key: bytes) -> bytes:
        value = self._values.get(key, b"0")
        if not re.fullmatch(rb"0|-?[1-9][0-9]{0,18}", value) or not -(2**63) <= int(value) + 1 < 2**63:
            raise CommandError("value is not an integer or out of range")
        self._values[key] = b"%d" % (int(value) + 1)
        return b":%b\r\n" % self._values[key]

    def _config(self, verb: bytes, name: bytes) -> bytes:
        """redis-benchmark asks for `save` and `appendonly`, to show them."""
        if verb.upper() != b"GET":
            raise CommandError("there is nothing to configure")
        return b"*2\r\n" + bulk(name) + bulk(b"")

    # A connection

    def serve(self, stream: Stream, address: SocketAddress) -> Generator[Any, Any, None]:
        stream.gather = True  # the answers to requests that came together go together
        with suppress(SocketError):  # a client that resets has left like any other
            try:
                yield from self._converse(stream)
            except ProtocolError as error:
                yield from stream.await_put_bytes(f"-ERR Protocol error: {error}\r\n".encode())
            except LineTooLong:
                yield from stream.await_put_bytes(b"-ERR Protocol error: too big inline request\r\n")
            yield from stream.await_close()  # in good order, so that the last words arrive even if not all was read

    def _converse(self, stream: Stream) -> Generator[Any, Any, None]:
        while (words := (yield from await_request(stream))) is not None:
            if words:
                yield from stream.await_put_bytes(self.answer(words))
                if words[0].upper() == b"QUIT":
                    break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="a numeric address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=6380, help="the port; 0: one that is free (default: %(default)s)")
    arguments = parser.parse_args()
    listen = listen_on_ipv6_socket if ":" in arguments.host else listen_on_ipv4_socket
    try:
        listener = listen(arguments.host, arguments.port)
    except (SocketError, ValueError) as error:
        sys.exit(f"key_value_server: {error}")
    with listener, suppress(KeyboardInterrupt):
        print(f"listening on {socket_name(listener)}", flush=True)
        run(await_serve, Store().serve, listener)


if __name__ == "__main__":
    main()
