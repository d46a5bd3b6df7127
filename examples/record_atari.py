"""Recording Atari games: what a million frames take beside other ways of keeping them, and what recording costs.

    pip install 'pacodec[gymnasium]' ale-py zarr
    python examples/record_atari.py sizes --frames 500    # of each of ten games, as 84x84 grey and as 160x210 RGB
    python examples/record_atari.py loop --steps 100000   # a loop of env.step with and without RecordPac

Hours are those of one core (processor time, of all threads and processes together); actions are random.
"""

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ale_py
import av
import gymnasium
import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image
from zarr.codecs import BloscCodec

import pacodec
from pacodec.integrations.gymnasium import RecordPac

GAMES = (
    "Breakout",
    "Pong",
    "MsPacman",
    "SpaceInvaders",
    "Seaquest",
    "Qbert",
    "Enduro",
    "Freeway",
    "MontezumaRevenge",
    "Asteroids",
)
MILLION = 1_000_000
CHUNK = 100
"""Frames of a chunk of zarr."""
Frames = NDArray[np.uint8]


def environment(game: str, *, grey: bool) -> gymnasium.Env:
    """As raw 160x210 RGB, or as agents mostly see it: 84x84 grey, every fourth frame."""
    if not grey:
        return gymnasium.make(f"ALE/{game}-v5")
    return gymnasium.wrappers.AtariPreprocessing(gymnasium.make(f"ALE/{game}-v5", frameskip=1))


def footage(game: str, count: int, *, grey: bool) -> Frames:
    """Observations of random play, one episode after the other."""
    env = environment(game, grey=grey)
    env.action_space.seed(0)
    shown = [env.reset(seed=0)[0]]
    while len(shown) < count:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        shown.append(env.reset()[0] if terminated or truncated else observation)
    env.close()
    return np.stack(shown)


def by_pacodec(frames: Frames) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.pac"
        with pacodec.Writer(path) as writer:
            for frame in frames:
                writer.write(frame)
        return path.stat().st_size


def by_npz(frames: Frames) -> int:
    file = io.BytesIO()
    np.savez_compressed(file, frames)
    return len(file.getvalue())


def by_zarr(frames: Frames) -> int:
    store: dict[str, object] = {}
    array = zarr.create_array(
        zarr.storage.MemoryStore(store),
        shape=frames.shape,
        chunks=(CHUNK, *frames.shape[1:]),
        dtype="uint8",
        compressors=BloscCodec(cname="zstd", clevel=9, shuffle="bitshuffle"),
    )
    array[:] = frames
    return sum(len(value) for value in store.values())


def by_webp(frames: Frames) -> int:
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame).convert("RGB") for frame in frames)
    first.save(file, "WEBP", save_all=True, append_images=others, lossless=True, quality=75, method=4, duration=66)
    return len(file.getvalue())


def by_x264(frames: Frames) -> int:
    encoder, kind = ("libx264", "gray") if frames.ndim == 3 else ("libx264rgb", "rgb24")
    context = av.CodecContext.create(encoder, "w")
    context.height, context.width = frames.shape[1:3]
    context.pix_fmt, context.framerate = kind, 15
    context.time_base, context.thread_count = 1 / context.framerate, 1
    context.options = {"qp": "0", "preset": "medium"}
    size = 0
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), kind)
        picture.pts = number
        size += sum(packet.size for packet in context.encode(picture))
    return size + sum(packet.size for packet in context.encode(None))


WAYS: dict[str, Callable[[Frames], int]] = {
    "pacodec.Writer": by_pacodec,
    "npz, compressed": by_npz,
    "zarr, blosc zstd -9": by_zarr,
    "animated WebP, lossless": by_webp,
    "x264, lossless": by_x264,
}


def processor_seconds() -> float:
    """Of this process and those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def sizes(count: int) -> None:
    print(f"{count} frames of each of {len(GAMES)} games; a million of them take:\n")
    print("| frames | kept by | GB | hours of a core |")
    print("|---|---|--:|--:|")
    for grey in (True, False):
        taken, seconds = dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, 0.0)
        raw = 0
        for game in GAMES:
            frames = footage(game, count, grey=grey)
            raw += frames.nbytes
            for name, way in WAYS.items():
                began = processor_seconds()
                taken[name] += way(frames)
                seconds[name] += processor_seconds() - began
        scale = MILLION / (count * len(GAMES))
        kind = "84x84 grey" if grey else "160x210 RGB"
        print(f"| {kind} | raw | {raw * scale / 1e9:.3g} | |")
        for name in WAYS:
            print(
                f"| {kind} | {name} | {taken[name] * scale / 1e9:.3g} | {seconds[name] * scale / 3600:.2f} |",
                flush=True,
            )


def resident() -> float:
    """MiB of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def run(env: gymnasium.Env, steps: int) -> tuple[float, list[float]]:
    """Seconds of a loop of random steps, and the memory in each tenth of it."""
    env.action_space.seed(0)
    env.reset(seed=0)
    memory, began = [], time.perf_counter()
    for number in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        if number % max(1, steps // 10) == 0:
            memory.append(resident())
    return time.perf_counter() - began, memory


def loop(steps: int) -> None:
    for grey in (False, True):
        plain, _ = run(environment("MsPacman", grey=grey), steps)
        with tempfile.TemporaryDirectory() as folder:
            env = RecordPac(environment("MsPacman", grey=grey), folder)
            recorded, memory = run(env, steps)
            began = time.perf_counter()
            env.close()
            finishing = time.perf_counter() - began
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
        kind = "84x84 grey" if grey else "160x210 RGB"
        print(f"Ms. Pac-Man as {kind}: {steps / plain:.0f} steps/s alone, {steps / recorded:.0f} recorded")
        print(f"  slowdown {recorded / plain:.2f}; {finishing:.1f} s more to finish; {size} bytes")
        print("  MiB of memory: " + ", ".join(f"{each:.0f}" for each in memory), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sizes").add_argument("--frames", type=int, default=500, help="of each game and kind")
    commands.add_parser("loop").add_argument("--steps", type=int, default=100_000)
    given = parser.parse_args()
    gymnasium.register_envs(ale_py)
    if given.command == "sizes":
        sizes(given.frames)
    else:
        loop(given.steps)


if __name__ == "__main__":
    main()
