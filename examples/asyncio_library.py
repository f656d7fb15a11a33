#!/usr/bin/env python3
"""An asyncio library used from tasks: a line server that answers each line with a page fetched over HTTP, by aiohttp.

One thread: asyncio is the host, aiohttp's client and a small web server are its own, and each line connection is a task of ours, which
waits for the client with `yield from await_future(...)`. A line is a path: `echo /hello | nc 127.0.0.1 8600`. Needs aiohttp.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from eventsock import EventLoop, SocketError, Stream, TaskCancelled, a_sync, await_serve, basic, embed, timeout
from eventsock.embed.asyncio import as_awaitable, await_future


class Gateway:
    """Turns lines into requests. `session` is an `aiohttp.ClientSession`."""

    def __init__(self, session: Any, address: str) -> None:
        self._session = session
        self._address = address

    def serve(self, stream: Stream, address: basic.SocketAddress) -> Generator[Any, Any, None]:
        while (line := (yield from stream.await_getline())) is not None:
            try:
                with timeout(1):  # a time limit of ours cancels what asyncio does for us
                    answer = yield from await_future(self._fetch(line.decode()))
            except (OSError, ValueError) as error:
                answer = f"no answer: {error or type(error).__name__}"
            yield from stream.await_put_bytes(answer.encode() + b"\n")

    async def _fetch(self, path: str) -> str:
        async with self._session.get(self._address + path) as response:
            return f"{response.status} {await response.text()}"


async def start_web_server(web: Any) -> Any:
    """Something to fetch from: says its path, and takes its time for one."""

    async def answer(request: Any) -> Any:
        if request.path == "/slow":
            await asyncio.sleep(60)
        return web.Response(text=f"this is {request.path}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def serve(aiohttp: Any, web: Any, listener: Any) -> None:
    runner = await start_web_server(web)
    web_address = "http://{}:{}".format(*runner.addresses[0])
    with EventLoop() as loop, embed.asyncio.attach(asyncio.get_running_loop(), loop):
        async with aiohttp.ClientSession() as session:
            serving = a_sync(await_serve, Gateway(session, web_address).serve, listener)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_watch(number, lambda number: serving.cancel("a signal came"))
            print(f"listening on {basic.socket_name(listener)}", flush=True)
            with suppress(TaskCancelled):
                await as_awaitable(serving)
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8600, help="where to listen on 127.0.0.1; 0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        import aiohttp
        from aiohttp import web
    except ImportError as error:
        sys.exit(f"asyncio_library: {error}; pip install aiohttp")
    try:
        listener = basic.listen_on_ipv4_socket("127.0.0.1", arguments.port)
    except SocketError as error:
        sys.exit(f"asyncio_library: {error}")
    with listener:
        asyncio.run(serve(aiohttp, web, listener))


if __name__ == "__main__":
    main()
