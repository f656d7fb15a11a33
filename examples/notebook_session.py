#!/usr/bin/env python3
"""A notebook without pages: cells come over a socket, IPython runs them, and tasks that one cell started go on while the next is awaited.

This is how a Jupyter kernel works (there it takes one line, `%load_ext eventsock`): asyncio runs the session, and the default loop is its
guest. A cell ends with an empty line; what it prints comes back, less its empty lines, and then one. Try `nc 127.0.0.1 8400`. It runs
whatever code it is sent, so it listens on this machine only. Needs IPython.
"""

import argparse
import asyncio
import contextlib
import io
import signal
import sys
from typing import Any

from eventsock import embed, set_default_event_loop


class Session:
    """One IPython for all who connect, as one kernel serves several windows."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while (cell := await self._read_cell(reader)) is not None:
                writer.write(f"{await self._run(cell)}\n".encode())
                await writer.drain()

    async def _read_cell(self, reader: asyncio.StreamReader) -> str | None:
        lines: list[str] = []
        while line := (await reader.readline()).decode(errors="replace"):
            if not line.strip() and lines:
                return "".join(lines)
            lines.append(line)
        return None

    async def _run(self, cell: str) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            await self._shell.run_cell_async(cell, store_history=False, transformed_cell=self._shell.transform_cell(cell))
        return "".join(line for line in printed.getvalue().splitlines(keepends=True) if line.strip())


async def serve(shell: Any, port: int) -> None:
    server = await asyncio.start_server(Session(shell).talk, "127.0.0.1", port)
    with set_default_event_loop() as loop, embed.asyncio.attach(asyncio.get_running_loop(), loop):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, lambda number: server.close())
        print(f"the session is at 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        with contextlib.suppress(asyncio.CancelledError):  # the server was closed
            await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8400, help="where to listen on 127.0.0.1; 0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config
    except ImportError as error:
        sys.exit(f"notebook_session: {error}; pip install ipython")
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        asyncio.run(serve(shell, arguments.port))
    except OSError as error:
        sys.exit(f"notebook_session: {error}")


if __name__ == "__main__":
    main()
