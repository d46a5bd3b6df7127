"""The core makes the same bytes however it is built, and wherever it runs: `python tests/same_bytes.py`.

Builds `same_bytes.c` with the core by gcc, clang and zig, with and without optimisation and AVX2, under sanitizers, and
by zig for other processors, which qemu-user runs; gives each the same vectors; and prints a line a build. Ends with 1
where one differs.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Grids
from pacodec.engine.compile import FOLDER
from pacodec.engine.library import general_start

DRIVER = Path(__file__).with_suffix(".c")
ZIG = (sys.executable, "-m", "ziglang", "cc")
COMPILERS = {"gcc": ("gcc",), "clang": ("clang",), "zig": ZIG}
PROCESSORS = ("aarch64", "riscv64", "s390x", "arm")
"""Others than x86-64: s390x is big-endian, arm has 32 bits."""
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-fstack-protector-strong", f"-I{FOLDER / 'core'}")
BASELINE = "-DPACODEC_BASELINE"


@dataclass(frozen=True)
class Build:
    """A way to build the core, and the command that its program needs in front."""

    name: str
    compiler: Sequence[str]
    flags: Sequence[str]
    emulator: Sequence[str] = ()

    @property
    def possible(self) -> bool:
        """Whether this machine has all that it takes."""
        return all(shutil.which(command[0]) for command in (self.compiler, self.emulator) if command)


@dataclass(frozen=True)
class Vector:
    """Segments of grids, each uint8 [n, C, h, w], that one state codes, `step` at a time (0: all)."""

    segments: Sequence[Grids]
    ordinal: bool = False
    step: int = 0
    costs: NDArray[np.uint16] | None = None

    def packed(self) -> bytes:
        """As `same_bytes.c` reads it."""
        _, channels, height, width = self.segments[0].shape
        numbers = [self.ordinal, channels, height, width, self.step, self.costs is not None]
        parts = [_words(*numbers), b"" if self.costs is None else self.costs.astype("<u2").tobytes()]
        parts.append(_words(len(self.segments)))
        for grids in self.segments:
            parts += [_words(len(grids)), grids.tobytes()]
        return b"".join(parts)


def builds() -> Iterator[Build]:
    """All builds that are compared."""
    for name, compiler in COMPILERS.items():
        for optimisation in ("-O0", "-O3"):
            yield Build(f"{name} {optimisation}", compiler, (optimisation,))
            yield Build(f"{name} {optimisation} baseline", compiler, (optimisation, BASELINE))
    for sanitizers in ("address,undefined", "memory"):
        flags = ("-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
        yield Build(f"clang {sanitizers}", COMPILERS["clang"], flags)
    for processor in PROCESSORS:
        target = f"--target={processor}-linux-musl{'eabihf' if processor == 'arm' else ''}"
        for optimisation in ("-O0", "-O3"):
            flags = (target, "-static", optimisation)
            yield Build(f"zig {optimisation} {processor}", ZIG, flags, (f"qemu-{processor}",))


def vectors() -> Iterator[Vector]:
    """Grids of every nature, and such as lead to every part of the engine."""
    for seed, (channels, ordinal) in enumerate([(1, False), (2, False), (3, False), (4, False), (1, True), (5, True)]):
        for levels in (2, 24, 256):
            yield Vector(
                [scattered(seed, (4, channels, 13, 18), levels), scattered(9, (2, channels, 13, 18), 3)], ordinal
            )
    yield Vector([scrolling(6, 1)])
    yield Vector([scrolling(6, 2)])
    yield Vector([sprite(8), sprite(4, 8), sprite(3, 2)])
    for step in (1, 2, 3):
        yield Vector([sprite(8), sprite(4, 8)], step=step)
    yield Vector([sprite(5), scattered(4, (3, 1, 40, 64), 9)], costs=near_costs(), step=2)
    yield Vector([scattered(1, (4100, 1, 1, 1), 3)])  # more than the history holds
    yield Vector([scattered(2, (3, 1, 1, 70), 5)])
    yield Vector([scattered(3, (3, 1, 70, 1), 5)])


def scattered(seed: int, shape: tuple[int, int, int, int], levels: int) -> Grids:
    """Grids of which about a tenth of all codes changes from each to the next, uint8 of that shape."""
    rng = np.random.default_rng(seed)
    grids = [rng.integers(0, levels, shape[1:], np.uint8)]
    for _ in range(shape[0] - 1):
        grids.append(np.where(rng.random(shape[1:]) < 0.1, rng.integers(0, levels, shape[1:], np.uint8), grids[-1]))
    return np.stack(grids)


def sprite(frames: int, first: int = 0) -> Grids:
    """A checked square that moves over stripes, uint8 [frames, 1, 40, 64]."""
    grids = np.repeat((np.arange(64, dtype=np.uint8) // 5 * 9)[None, None, None], frames, 0).repeat(40, 2)
    square = (np.indices((9, 9)).sum(0) % 3).astype(np.uint8) + 130
    for number in range(frames):
        at = first + number
        grids[number, 0, at % 31 : at % 31 + 9, 2 * at % 55 : 2 * at % 55 + 9] = square
    return grids


def scrolling(frames: int, planes: int) -> Grids:
    """A page that moves two rows down and a column to the left from grid to grid, uint8 [frames, planes, 48, 80]."""
    page = np.random.default_rng(7).integers(0, 4, (48 + 2 * frames, 80 + frames), np.uint8)
    page[np.arange(len(page)) % 4 != 1] = 0
    grids = np.stack([page[2 * number :, number:][:48, :80] for number in range(frames)])
    return np.stack([grids, 5 * grids + 1][:planes], 1)


def near_costs() -> NDArray[np.uint16]:
    """Costs that grow with the distance of two codes, uint16 [256, 256]."""
    codes = np.arange(256)
    return np.minimum(np.abs(codes[:, None] - codes) * 40, 60000).astype(np.uint16)


def written(path: Path) -> int:
    """Write all vectors as `same_bytes.c` reads them; how many they are."""
    found, start = list(vectors()), general_start()
    path.write_bytes(_words(len(found), len(start)) + start + b"".join(vector.packed() for vector in found))
    return len(found)


def outcome(build: Build, vector_file: Path, folder: Path, flags: Sequence[str] = ()) -> str:
    """What a build made of the vectors, a line each; subprocess.CalledProcessError where it does not compile or run."""
    target = folder / build.name.replace(" ", "").replace(",", "")
    sources = sorted(map(str, (FOLDER / "core").glob("*.c")))
    compiling = [*build.compiler, *FLAGS, *build.flags, *flags, str(DRIVER), *sources, "-o", str(target)]
    subprocess.run(compiling, check=True)
    command = [*build.emulator, str(target), str(vector_file)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    """Compare, print, and fail where a build is missing or another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="words of the builds' names; all by default")
    words = parser.parse_args().names
    outcomes = list[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = written(folder / "vectors")
        for build in builds():
            if words and not any(word in build.name.split() for word in words):
                continue
            if not build.possible:
                print(f"{build.name:24} cannot be built or run here")
                outcomes.append("")
                continue
            began = time.monotonic()
            outcomes.append(outcome(build, folder / "vectors", folder))
            digest = hashlib.sha256(outcomes[-1].encode()).hexdigest()[:16]
            print(f"{build.name:24} {digest}  {time.monotonic() - began:6.1f} s", flush=True)
    wrong = outcomes[0].count("wrong")
    same = len(set(outcomes)) == 1 and outcomes[0]
    print(f"{len(outcomes)} builds, {count} vectors: {'the same' if same else 'they differ'}, {wrong} wrong")
    return 0 if same and not wrong else 1


def _words(*numbers: int) -> bytes:
    return np.array(numbers, "<u4").tobytes()


if __name__ == "__main__":
    sys.exit(main())
