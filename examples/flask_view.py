#!/usr/bin/env python3
"""A Flask view that asks an echo server: a synchronous program uses task code through a loop in a background thread.

`LoopThread` starts its thread at the first request, in whatever process that is, so it may be made at import time, as here, and a
prefork server may fork afterwards. Needs Flask, and an echo server: `python3 -m eventsock echo --port 8000`. Then
`curl 'http://127.0.0.1:8500/echo?words=hello'`.
"""

import argparse
import sys
from collections.abc import Generator
from typing import Any

from eventsock import SocketError, Stream, await_connect_to_host
from eventsock.embed import LoopThread

loop_thread = LoopThread()


def ask(port: int, words: str) -> Generator[Any, Any, str]:
    """Task code as any other: it could as well run in a server made of tasks."""
    with Stream((yield from await_connect_to_host("127.0.0.1", port=port))) as stream:
        yield from stream.await_put_bytes(words.encode() + b"\n")
        answer = yield from stream.await_getline()
        return "" if answer is None else answer.decode()


def make_app(echo_port: int) -> Any:
    import flask

    app = flask.Flask(__name__)

    def echo() -> Any:
        words = flask.request.args.get("words", "").replace("\n", " ")
        try:
            return {"answer": loop_thread.call(ask, echo_port, words, timeout=2)}
        except (SocketError, TimeoutError) as error:
            return {"error": str(error)}, 502

    app.add_url_rule("/echo", view_func=echo)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8500, help="where to serve HTTP on 127.0.0.1 (default: %(default)s)")
    parser.add_argument("--echo-port", type=int, default=8000, help="where the echo server is (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        app = make_app(arguments.echo_port)
    except ImportError as error:
        sys.exit(f"flask_view: {error}; pip install flask")
    app.run("127.0.0.1", arguments.port, threaded=True)


if __name__ == "__main__":
    main()
