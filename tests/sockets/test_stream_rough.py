"""Streams in a rough life: several tasks on each do anything in any order, are cancelled and timed out, and close or break it meanwhile.

Whatever happens, an error is one of those that the verbs promise, it reaches who called, the loop goes on, and nothing stays open.
Knows the public face. A failure is repeated by its seed.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from eventsock import (
    BusyError,
    ConnectError,
    SocketError,
    Stream,
    StreamError,
    TaskCancelled,
    a_sync,
    await_connect_to_ipv4_host,
    await_serve,
    await_yield,
    run,
    running_event_loop,
    timeout,
)
from eventsock.basic import SocketAddress, listen_on_ipv4_socket
from stream_kit import Steps

PROMISED = (SocketError, StreamError, BusyError, TimeoutError)


class Life:
    """What chance makes of a stream."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.unpromised: list[BaseException] = []

    def note(self, error: BaseException, where: str = "") -> None:
        if not isinstance(error, PROMISED):
            self.unpromised.append(error)

    def act(self, stream: Stream) -> Callable[[], Any]:
        pick = self.chance.choice
        size = pick([0, 1, 5, 1000, 70_000, 300_000])
        verbs: list[Callable[[], Any]] = [
            stream.await_getline,
            lambda: stream.await_getblock(size),
            lambda: stream.await_getsome(max(1, size)),
            lambda: stream.await_getuntil(b"\n"),
            lambda: stream.await_getsomelines(lambda line, stop: stop() if len(line) % 3 else None),
            lambda: stream.await_put_bytes(b"x\n" * size),
            lambda: stream.await_put_bytes(b"y\n" * size),
            lambda: stream.await_put_file(io.BytesIO(b"z\n" * size)),
            lambda: stream.await_put_file(Path(__file__), count=pick([None, 10])),
            stream.await_flush,
        ]
        seldom: list[Callable[[], Any]] = [stream.await_put_eof, lambda: stream.await_close(pick([0, 0.01])), stream.await_getall]
        return pick(seldom if self.chance.random() < 0.08 else verbs)

    def meddle(self, stream: Stream) -> None:
        loop = running_event_loop()
        assert loop is not None
        assert stream.socket is not None
        kinds: list[Callable[[], object]] = [
            stream.close,
            stream.abort,
            stream.socket.close,
            lambda: loop.forget(stream) if stream.fileno() >= 0 else None,
            lambda: setattr(stream, "gather", not stream.gather),
            lambda: setattr(stream, "idle", self.chance.choice([None, 0.005])),
        ]
        self.chance.choice(kinds)()

    def use(self, stream: Stream) -> Steps:
        for _ in range(self.chance.randrange(1, 25)):
            try:
                if self.chance.random() < 0.1:
                    self.meddle(stream)
                if self.chance.random() < 0.3:
                    with timeout(self.chance.choice([0, 0.001])):
                        yield from self.act(stream)()
                else:
                    yield from self.act(stream)()
            except Exception as error:
                self.note(error)
                yield from await_yield()

    def share(self, stream: Stream) -> Steps:
        """Several tasks use the stream, for a while."""
        tasks = [a_sync(self.use, stream) for _ in range(self.chance.randrange(1, 4))]
        try:
            with timeout(0.1):
                for task in tasks:
                    yield from task.await_result()
        except TimeoutError:
            for task in tasks:
                task.cancel()
                try:
                    yield from task.await_result()
                except TaskCancelled:
                    pass

    def serve(self, stream: Stream, address: SocketAddress) -> Steps:
        yield from self.share(stream)

    def visit(self, port: int) -> Steps:
        try:
            sock = yield from await_connect_to_ipv4_host("127.0.0.1", port)
        except ConnectError as error:
            return self.note(error)
        if self.chance.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        stream = Stream(sock, limit=self.chance.choice([10, 65536]), gather=self.chance.random() < 0.5)
        try:
            yield from self.share(stream)
        finally:
            try:
                stream.close()
            except SocketError as error:
                self.note(error)
            assert not stream.unwritten
        return None

    def all(self) -> Steps:
        with listen_on_ipv4_socket(True, 0, 1024) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            server = a_sync(lambda: await_serve(self.serve, listener, on_error=self.note))
            for visit in [a_sync(self.visit, listener.getsockname()[1]) for _ in range(20)]:
                yield from visit.await_result()
            server.cancel()
            try:
                yield from server.await_result()
            except TaskCancelled:
                pass


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_the_loop_goes_on_and_errors_are_those_that_are_promised(seed: int) -> None:
    life = Life(seed)
    run(life.all)
    assert life.unpromised == []
