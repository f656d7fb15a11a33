#!/usr/bin/env python3
"""A game for people with `nc`: each player is a square that the lines `left`, `right`, `up` and `down` move.

The game loop is pygame's, sixty frames a second; the only line of it that knows of the network is `guest.tick(60)`, which stands where
`clock.tick(60)` would. Each player is a task. Needs pygame.
"""

import argparse
import signal
import sys
from collections.abc import Generator
from typing import Any

from eventsock import EventLoop, SocketError, Stream, a_sync, await_serve, await_yield, basic, embed

SIZE = 480
STEPS = {b"left": (-20, 0), b"right": (20, 0), b"up": (0, -20), b"down": (0, 20)}
COLOURS = ["tomato", "gold", "skyblue", "palegreen", "orchid"]


class Game:
    """The players and their squares; each player is a task, which ends when they leave."""

    def __init__(self) -> None:
        self.squares: dict[Stream, list[int]] = {}

    def play(self, stream: Stream, address: basic.SocketAddress) -> Generator[Any, Any, None]:
        square = self.squares[stream] = [SIZE // 2, SIZE // 2]
        try:
            while (line := (yield from stream.await_getline())) is not None:
                step = STEPS.get(line.strip())
                if step is None:
                    yield from stream.await_put_bytes(b"left, right, up or down?\n")
                    continue
                for axis in (0, 1):
                    square[axis] = min(max(square[axis] + step[axis], 0), SIZE)
                yield from await_yield()  # the next frame: by then it has been drawn
                yield from stream.await_put_bytes(b"%d %d\n" % (square[0], square[1]))
        finally:
            del self.squares[stream]

    def draw(self, pygame: Any, screen: Any) -> None:
        screen.fill("black")
        for number, (x, y) in enumerate(self.squares.values()):
            pygame.draw.rect(screen, COLOURS[number % len(COLOURS)], (x - 10, y - 10, 20, 20))
        pygame.display.flip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8300, help="where to listen on 127.0.0.1; 0: a free one (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        import pygame
    except ImportError as error:
        sys.exit(f"game_loop: {error}; pip install pygame")
    try:
        listener = basic.listen_on_ipv4_socket("127.0.0.1", arguments.port)
    except SocketError as error:
        sys.exit(f"game_loop: {error}")
    pygame.display.init()
    screen = pygame.display.set_mode((SIZE, SIZE))
    game, going = Game(), True

    def leave(number: int) -> None:
        nonlocal going
        going = False

    with listener, EventLoop() as loop, embed.pygame.attach(pygame.time.Clock(), loop) as guest:
        print(f"play at {basic.socket_name(listener)}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_watch(number, leave)
        a_sync(await_serve, game.play, listener)
        while going:
            going = not any(event.type == pygame.QUIT for event in pygame.event.get())
            game.draw(pygame, screen)
            guest.tick(60)
    pygame.quit()


if __name__ == "__main__":
    main()
