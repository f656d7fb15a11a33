#!/usr/bin/env python3
"""Several conversations with `examples/echo_server.py` at once, each a task: an `async def` that reads like a dialogue.

The lines to say are given on the command line.
"""

import argparse
import sys

from eventsock import SocketError, Stream, Task, a_sync, await_connect_to_ipv4_host, await_connect_to_ipv6_host, run


async def converse(number: int, host: str, port: int, lines: list[str]) -> None:
    await_connect = await_connect_to_ipv6_host if ":" in host else await_connect_to_ipv4_host
    sock = await await_connect(host, port=port)
    with Stream(sock) as stream:
        print(f"client {number} is greeted: {await hear(stream)}")
        await hear(stream)
        for line in lines:
            await stream.await_put_string(f"{line}\n")
            print(f"client {number} hears: {await hear(stream)}")
        await stream.await_put_string("\n")


async def hear(stream: Stream) -> str:
    line = await stream.await_getline()
    if line is None:
        raise EOFError("the server has closed the connection")
    return line.decode()


async def all_at_once(clients: int, host: str, port: int, lines: list[str]) -> None:
    conversations: list[Task[None]] = [a_sync(converse, number, host, port, lines) for number in range(1, clients + 1)]
    for conversation in conversations:
        await conversation.await_result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="::1", help="a name or numeric address; with a colon it is an IPv6 one (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the server's port (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=2, help="how many conversations to have (default: %(default)s)")
    parser.add_argument("lines", metavar="LINE", nargs="*", default=["one line", "another line"], help="what each of them says")
    arguments = parser.parse_args()
    try:
        run(all_at_once, arguments.clients, arguments.host, arguments.port, arguments.lines)
    except (SocketError, EOFError, ValueError) as error:
        sys.exit(f"echo_client: {error}")


if __name__ == "__main__":
    main()
