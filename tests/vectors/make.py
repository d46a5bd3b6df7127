"""Files of format version 2 that every later version has to read: `python tests/vectors/make.py` writes them anew.

Beside the files, `manifest.json` says of each what a reader must find: of valid ones the SHA-256 of all pictures (of
files with networks, whose pictures depend on the machine, of all codes), of the times and of the sound; of faulty ones
which error it is.
"""

import hashlib
import io
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
MANIFEST = FOLDER / "manifest.json"
sys.path[:0] = [str(FOLDER.parents[1]), str(FOLDER.parent), str(FOLDER.parent / "fuzz")]

import seeds  # noqa: E402
from authored import GREYS, authored, filter_model, make_filter  # noqa: E402
from clips import lossy_clip  # noqa: E402
from conftest import colourful, make_video, screen  # noqa: E402
from mutators import join, split  # noqa: E402

import pacodec  # noqa: E402
from pacodec.container import Reader, Writer  # noqa: E402
from pacodec.container.header import PREAMBLE_BYTES  # noqa: E402
from pacodec.errors import PacodecError  # noqa: E402
from pacodec.models.files import ModelFile  # noqa: E402

SEEDS = ("palette", "floor", "shades")
"""Those of fuzzing that are of a kind of their own."""
EARLIER = ("valid-recorded", "valid-vanilla-500-scale")
"""Files that carry a model without its parity, as no writer does any more: they stay as they are."""
CRC = struct.Struct("<I")


def described(path: Path) -> dict[str, Any]:
    """What a reader finds in a file; PacodecError where it is not to be read."""
    with Reader(path) as reader:
        sound = hashlib.sha256()
        for packet in reader.audio():
            sound.update(repr((packet.stream, packet.pts, packet.dts, packet.data)).encode())
        transform = reader.header.transform.name
        exact = transform == "picture" or not reader.header.grid.ordinal
    if pacodec.verify(path):
        return {"damaged": True}
    codes, pictures = hashlib.sha256(), hashlib.sha256()
    with pacodec.open(path) as video:
        for number, picture in enumerate(video[:]):
            pictures.update(picture.tobytes())
            if not exact:
                codes.update(video.codes(number).tobytes())
        found = {"frames": len(video), "transform": transform, "sound": sound.hexdigest()}
        found["times"] = hashlib.sha256(repr([round(time * 1e6) for time in video.times()]).encode()).hexdigest()
    return found | ({"pictures": pictures.hexdigest()} if exact else {"codes": codes.hexdigest()})


def files() -> Iterator[tuple[str, bytes]]:
    """All vectors by name: `valid-`, `uncommon-` or `faulty-` and what it is."""
    started = seeds.seeds()["decode"]
    made = {f"valid-{name}": started[name] for name in SEEDS} | dict(_encoded()) | dict(_authored())
    made["valid-embedded-model"] = started["recorded"]
    yield from made.items()
    yield from ((name, (FOLDER / f"{name}.pac").read_bytes()) for name in EARLIER)
    yield from _uncommon(made)
    yield from _faulty(made)


def _encoded() -> Iterator[tuple[str, bytes]]:
    """Files that `encode` and `Writer` make, of every kind of GOP."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "out.pac"
        screens = make_video(folder / "screens.mp4", [screen(n * 2 // 3, 24, 16) for n in range(20)])
        for effort, named in ((1, "no-reference"), (2, "reference")):
            pacodec.encode(str(screens), str(target), gop_seconds=0.2, effort=effort, overwrite=True)
            yield f"valid-{named}", target.read_bytes()
        source = make_video(folder / "colours.mp4", colourful(3, 12, 10))
        pacodec.encode(str(source), str(target), lossless=True, overwrite=True)
        yield "valid-lossless", target.read_bytes()
        for crf, named in (("12", "av1"), ("38", "source-packets")):
            clip = lossy_clip(folder / f"{named}.mp4", frames=12, options={"crf": crf})
            pacodec.encode(str(clip), str(target), overwrite=True)
            yield f"valid-{named}", target.read_bytes()
        clip = lossy_clip(folder / "whole.mp4", frames=12, options={"crf": "12"}, pixel_format="yuv444p")
        pacodec.encode(str(clip), str(target), overwrite=True)
        yield "valid-h264", target.read_bytes()
        for shape in ((12, 10), (2, 9, 7, 3)):
            with pacodec.Writer(target, overwrite=True) as writer:
                for number in range(6):
                    writer.write(np.random.default_rng(number // 2).integers(0, 9, shape, np.uint8))
            yield f"valid-arrays-{len(shape)}", target.read_bytes()


def _authored() -> Iterator[tuple[str, bytes]]:
    """Files of what `encode` makes of unusual footage alone, or of much of it."""
    codes = np.random.default_rng(0).integers(0, 128, (4, 4, 5, 6), np.uint8)
    for step in (1, 3):
        parameters = {"palette": GREYS, "correction_step": step}
        yield f"valid-corrections-{step}", authored([codes[:2], codes[2:]], parameters=parameters)
    model = filter_model(np.frombuffer(GREYS, np.uint8).reshape(3, -1).T, make_filter(codes[:2, 0]))
    found = ModelFile.parse(model, "filter", "filter")
    filtered = {"transform": "filtered", "parameters": {"correction_step": 0}, "model": found}
    yield "valid-post-filter", authored([codes[:2, :1], codes[2:, :1]], **filtered)
    two = {"palette": b"\0\xff" * 3, "correction_step": 0}
    yield "valid-copy-of-the-header", authored([codes[:, :1] % 2] * 400, coder="none", parameters=two)


def _uncommon(made: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What few writers would write, and any reader has to take."""
    plain = made["valid-palette"]
    yield "uncommon-newer-version", _with_preamble(plain, version=9, flags=0x8001)
    yield "uncommon-frames-not-known", _with_preamble(plain, frames=0)
    *others, index, tail = split(plain)
    yield "uncommon-unknown-chunk", join(plain, [*others, (b"priv", b"secret"), index, tail])
    yield "uncommon-one-pixel", authored([np.zeros((3, 1, 1, 1), np.uint8)])
    file = io.BytesIO()
    with Reader(plain) as reader:
        Writer(file, reader.header).close()
    yield "uncommon-no-frames", file.getvalue()


def _faulty(made: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What has to be refused, and how."""
    plain = made["valid-palette"]
    pieces = split(plain)
    yield "faulty-newer-reader-needed", _with_preamble(plain, reader=3)
    yield "faulty-version-1", _with_preamble(plain, version=1, reader=1)
    yield "faulty-critical-chunk", join(plain, [pieces[0], (b"CRIT", b"important"), *pieces[1:]])
    yield "faulty-cut", plain[: len(plain) * 2 // 3]
    yield "faulty-no-header", plain[:PREAMBLE_BYTES]
    yield "faulty-flipped", plain[:-200] + bytes([plain[-200] ^ 4]) + plain[-199:]
    yield "faulty-not-pac", b"\x89PNG" + plain[4:]
    wrong = [(kind, data[:12] + b"\1\2\3\4" + data[16:] if kind == b"GOPC" else data) for kind, data in pieces]
    yield "faulty-other-codes", join(plain, wrong)
    huge = [(kind, data[:4] + b"\0\0\0\x80" + data[8:] if kind == b"GOPC" else data) for kind, data in pieces]
    yield "faulty-too-many-frames", join(plain, huge)


def _with_preamble(data: bytes, version: int = 2, reader: int = 2, flags: int = 0, frames: int | None = None) -> bytes:
    kept = struct.unpack_from("<I", data, 12)[0] if frames is None else frames
    fields = data[:8] + struct.pack("<BBHI", version, reader, flags, kept)
    return fields + CRC.pack(zlib.crc32(fields)) + data[PREAMBLE_BYTES:]


def main() -> None:
    """Write all files, and what is to be found in them."""
    manifest, made = {}, sorted(files())
    for old in FOLDER.glob("*.pac"):
        old.unlink()
    for name, data in made:
        path = FOLDER / f"{name}.pac"
        path.write_bytes(data)
        try:
            found = described(path)
        except PacodecError as error:
            found = {"error": type(error).__name__}
        manifest[name] = {"sha256": hashlib.sha256(data).hexdigest(), **found}
        print(f"{name:32} {len(data):7} bytes  {found}")
    MANIFEST.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
