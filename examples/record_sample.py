"""Record a stretch of Ms. Pac-Man, played by a small look-ahead player, as a lossless clip.

    pip install ale-py av numpy
    python record_sample.py ms_pacman.mp4

The game's ROM comes with `ale-py`. The same seed gives the same pictures again. The console redraws some sprites only
every second picture, so a frame (30 a second) is the brighter, pixel by pixel, of two pictures (60 a second).
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from ale_py import Action, ALEInterface, LoggerMode, roms
from numpy.typing import NDArray

GAME = "ms_pacman"
WIDTH, HEIGHT = 160, 210
FRAMES_PER_SECOND = 30
WARM_UP_SECONDS = 4.5
"""The game plays its tune before anything moves."""
DIRECTIONS = (Action.UP, Action.RIGHT, Action.LEFT, Action.DOWN)
TRIES = 3
"""Futures that the player looks at for each direction."""
DEPTH = 12
"""Turns of a future."""
TURN = 5
"""Pictures for which a future keeps a direction."""
LIFE = 400.0
"""Points that a lost life counts for."""

Picture = NDArray[np.uint8]
"""RGB, uint8 [HEIGHT, WIDTH, 3]."""


class Player:
    """Plays the game by trying futures of it on a copy of its state."""

    def __init__(self, seed: int) -> None:
        ALEInterface.setLoggerMode(LoggerMode.Error)
        self.game = ALEInterface()
        self.game.setInt("random_seed", seed)
        self.game.setFloat("repeat_action_probability", 0.0)
        rom = roms.get_rom_path(GAME)
        if rom is None:
            raise SystemExit(f"ale-py comes without the ROM of {GAME}")
        self.game.loadROM(rom)
        self.chance = random.Random(seed)
        self.direction = Action.LEFT

    def frames(self) -> Iterator[Picture]:
        """Frames for ever; the player thinks again every few of them."""
        while True:
            if self.game.game_over():
                self.game.reset_game()
            self.direction = max(DIRECTIONS, key=self.worth)
            for _ in range(self.chance.randint(2, 5)):
                yield np.maximum(self.picture(), self.picture())

    def picture(self) -> Picture:
        """The next picture of the console."""
        self.game.act(self.direction)
        screen: Picture = self.game.getScreenRGB()
        return screen

    def worth(self, direction: Action) -> float:
        """Points that random futures beginning with a direction bring."""
        now, lives = self.game.cloneState(), self.game.lives()
        points = 6.0 if direction == self.direction else 0.0  # so that it does not dither where all are alike
        for _ in range(TRIES):
            heading = direction
            for _ in range(DEPTH):
                points += sum(self.game.act(heading) for _ in range(TURN))
                if self.game.game_over() or self.game.lives() < lives:
                    points -= LIFE
                    break
                if self.chance.random() < 0.5:
                    heading = self.chance.choice(DIRECTIONS)
            self.game.restoreState(now)
        return points


def record(target: Path, seed: int, seconds: float) -> None:
    """Write the clip: H.264 in RGB, lossless."""
    frames = Player(seed).frames()
    for _ in range(round(WARM_UP_SECONDS * FRAMES_PER_SECOND)):
        next(frames)
    with av.open(str(target), "w") as output:
        video: Any = output.add_stream("libx264rgb", rate=FRAMES_PER_SECOND)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "rgb24"
        video.options = {"qp": "0", "preset": "slow"}
        for _ in range(round(seconds * FRAMES_PER_SECOND)):
            output.mux(video.encode(av.VideoFrame.from_ndarray(next(frames), format="rgb24")))
        output.mux(video.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a lossless clip of Ms. Pac-Man.")
    parser.add_argument("target", type=Path, help="file to write, e.g. ms_pacman.mp4")
    parser.add_argument("--seed", type=int, default=7, help="decides how the game goes (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=16.0, help="length of the clip (default: %(default)s)")
    options = parser.parse_args()
    record(options.target, options.seed, options.seconds)


if __name__ == "__main__":
    main()
