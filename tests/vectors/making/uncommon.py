"""Files that are right but seldom met."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import clips
import msgpack
import numpy as np
import predictive
import zstandard
from independent.groups import read_group
from vectors.making import damaged, surgery
from vectors.making.authored import FORMAT, GREYS, authored
from vectors.making.clumsy import clumsily
from vectors.making.damaged import from_base
from vectors.making.valid import brightened, grainy
from vectors.making.vectors import stored
from vectors.making.workshop import Recipe, Workshop, flat, smooth

from pacodec.media import AudioPacket, AudioStream, VideoFormat

Change = Callable[[bytes], bytes]
LARGEST_TIME = 1 << 59
PCM = AudioStream("pcm_s16le", Fraction(1, 8000), 8000, "mono", "s16")
OPUS = replace(PCM, codec="opus", extradata=b"OpusHead", bit_rate=64000, language="de-AT")


def of_grids(about: str, gops: Callable[[], list[Any]], **options: Any) -> Recipe:
    """A file made from codes."""
    return Recipe(about, lambda shop: authored(gops(), **options))


def filtered_grids(about: str, gops: Callable[[], list[Any]], model: str = "filtering", **parameters: Any) -> Recipe:
    """A file made from codes, whose pictures a post-filter corrects."""
    given = {"correction_step": 0, **parameters}
    return Recipe(about, lambda shop: authored(gops(), transform="filtered", parameters=given, model=shop.model(model)))


def changed(about: str, vector: str, change: Change) -> Recipe:
    """One of the valid vectors, changed."""
    return Recipe(about, lambda _: change(stored(f"valid/{vector}")))


def noise(name: str, *shape: int, most: int = 255) -> Any:
    """Codes that no predictor foresees, which only their name decides."""
    return ((predictive.integers(name, shape, 9) & 255) % (most + 1)).astype(np.uint8)


def clip(**options: Any) -> Callable[[Workshop], bytes]:
    """What `encode` makes of a clip with properties."""

    def make(shop: Workshop) -> bytes:
        path = shop.folder / "clip.mp4"
        clips.make_clip(path, width=32, height=24, **options)
        return shop.encode(path)

    return make


def moved_palette(data: bytes) -> bytes:
    """The file with half of its palette in the GOPs, the first of which overrides all of it."""
    palette: bytes = msgpack.unpackb(surgery.split(data)[0][1])["transform"]["params"]["palette"]
    half = len(palette) // 6 * 3
    data = surgery.header(transform={"params": {"palette": palette[:half]}})(data)
    data = surgery.side(0, transform={"palette": palette})(data)
    for which in (1, 2):
        data = surgery.side(which, transform={"added": palette[half:]})(data)
    return data


def moved_shades(data: bytes) -> bytes:
    """The file with all of its shades in the GOPs."""
    shades = msgpack.unpackb(surgery.split(data)[0][1])["transform"]["params"]["shades"]
    for which, (kind, _) in enumerate(surgery.split(data)[1:-2]):
        assert kind == "GOPC"
        data = surgery.side(which, transform={"added": shades})(data)
    return surgery.header(transform={"params": {"shades": None}})(data)


def moved_quantizer(data: bytes) -> bytes:
    """The file with the range of its first GOP in the header."""
    payload = next(payload for kind, payload in surgery.split(data) if kind == "GOPC")
    side = msgpack.unpackb(payload[24 : 24 + surgery.GOP_FIELDS.unpack_from(payload)[4]])
    data = surgery.header(quantizer={"params": side["quantizer"]})(data)
    return surgery.side(0, quantizer=None)(data)


def squeezed_times(data: bytes) -> bytes:
    """The file with timestamps in zstd, varints longer than they need be, and the zeros at the end written."""
    first = read_group(next(payload for kind, payload in surgery.split(data) if kind == "GOPC"))
    step = 2 * (first.times[1] - first.times[0])
    values = [2 * first.times[0], step] + [0] * (first.frames - 1)
    varints = b"".join(bytes([value & 127 | 128, value >> 7 & 127 | 128, value >> 14 | 128, 0]) for value in values)
    return surgery.side(0, pts=b"\1" + zstandard.ZstdCompressor().compress(varints))(data)


def framed(content: bytes) -> bytes:
    """The same content in a zstd frame of several blocks, with its size and a checksum."""
    content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=True).compressobj(size=len(content))
    parts = []
    for at in range(0, len(content), 1000):
        parts.append(compressor.compress(content[at : at + 1000]))
        parts.append(compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    return b"".join(parts) + compressor.flush()


def large() -> list[Any]:
    """Two grids of more blocks and places than one batch holds, most of which stand still."""
    grids = np.zeros((2, 1, 1040, 1032), np.uint8)
    grids[1, 0, 1000:1003, 500:900] = 7
    grids[1, 0, 40:44, 3:8] = noise("large", 4, 5, most=99)
    return [grids]


def wide() -> list[Any]:
    """Two grids of more than a few hundred places of a side, most of which stand still."""
    grids = np.zeros((2, 1, 283, 531), np.uint8)
    grids[:, 0, 250:262, 200:300] = noise("wide", 12, 100, most=23)
    grids[1, 0, 5:9, 250:262] = noise("wide", 4, 12, most=23)
    return [grids]


def busy(channels: int) -> list[Any]:
    """Grids of which everything changes, more than one batch holds."""
    return [noise("busy", 2, channels, 64, 130, most=1)]


GOOD: Mapping[str, Recipe] = {
    "rotated": Recipe("rotation, pixel aspect", clip(frames=4, rotation=90, pixel_aspect=Fraction(4, 3))),
    "colour-tags": Recipe("limited range, BT.709", clip(frames=4, color=(1, 1, 1, 1))),
    "variable-rate": Recipe(
        "timestamps at uneven distances",
        clip(times=[0, 500, 512, 3000, 3001, 9000, 20000], time_base=Fraction(1, 12800)),
    ),
    "odd-size": Recipe("37 x 19 pixels", lambda shop: shop.encode(flat(width=37, height=19))),
    "odd-size-learned": Recipe(
        "37 x 19 pixels, learned",
        lambda shop: shop.encode(flat(range(4), 37, 19), model="foresight", foresee=True),
    ),
    "odd-size-filtered": Recipe(
        "37 x 19 pixels, filtered",
        lambda shop: shop.encode(grainy(range(4), 37, 19), model="filtering", predictor="adaptive", quality=3),
    ),
    "one-pixel-filtered": filtered_grids(
        "1 x 1 pixel, filtered by a post-filter of width 1 without blocks",
        lambda: [noise("pixel", 9, 1, 1, 1, most=20)],
        model="filtering-narrow",
    ),
    "one-column-filtered": filtered_grids("1 x 40 pixels, filtered", lambda: [noise("column", 3, 1, 40, 1, most=20)]),
    "large-filtered": filtered_grids("531 x 283 pixels, filtered", wide),
    "corrections-filtered": filtered_grids(
        "filtered: corrections of step 3 to colours that are not the model's, then the post-filter",
        lambda: [noise("step", 2, 4, 9, 8, most=127)],
        palette=GREYS,
        correction_step=3,
    ),
    "odd-size-conv5": Recipe(
        "45 x 33 pixels, no multiples of 32", lambda shop: shop.encode(smooth((0, 4), 45, 33), model="conv5")
    ),
    "resampled": Recipe(
        "45 x 33 pixels by a network of 32 x 24", lambda shop: shop.encode(smooth((0, 4), 45, 33), model="vae")
    ),
    "one-frame": Recipe("one frame", lambda shop: shop.encode(flat((3,)))),
    "no-frames": of_grids("no frames", list),
    "one-pixel": of_grids("1 x 1 pixel", lambda: [noise("pixel", 9, 1, 1, 1, most=20)]),
    "one-column": of_grids("1 x 40 pixels", lambda: [noise("column", 3, 1, 40, 1, most=20)]),
    "correction-step-2": of_grids(
        "corrections of step 2",
        lambda: [noise("step", 2, 4, 8, 8, most=127)],
        parameters={"palette": GREYS, "correction_step": 2},
    ),
    "correction-step-64": of_grids(
        "corrections of step 64, the largest",
        lambda: [noise("step", 2, 4, 8, 8, most=127)],
        parameters={"palette": GREYS, "correction_step": 64},
    ),
    "fixed-colours": of_grids(
        "shades without shades: indices beyond a palette of two colours",
        lambda: [np.stack([noise("fixed", 2, 8, 8), np.zeros((2, 8, 8), np.uint8)], 1)],
        transform="shades",
        parameters={"palette": GREYS[:6]},
    ),
    "many-batches": of_grids("more blocks than a batch holds", large),
    "many-places": of_grids("adaptive: more places than a batch holds", lambda: busy(1)),
    "many-places-learned": Recipe(
        "learned: more places than a batch holds",
        lambda shop: authored(busy(1), predictor="learned", model=shop.model("narrow"), foresee=True),
    ),
    "screen-and-shades": Recipe(
        "learned: a screen of the model, then two channels",
        lambda shop: shop.encode(brightened(range(2)), model="screens", foresee=True, lossless=True),
    ),
    "long": Recipe(
        "one GOP of 120 frames", lambda shop: shop.encode(flat([n // 3 * 5 for n in range(120)], 16, 16), gop_seconds=9)
    ),
    "long-learned": Recipe(
        "learned: one GOP of 24 frames",
        lambda shop: shop.encode(flat(range(24), 16, 16), model="foresight", foresee=True, gop_seconds=9),
    ),
    "floats-of-all-kinds": Recipe(
        "quantizer none with infinities and NaNs, which count as 0",
        lambda shop: authored(
            [noise("floats", 2, 512, 2, 2) | np.array([0, 0, 128, 127], np.uint8).repeat(128)[:, None, None]],
            transform="conv4",
            parameters={},
            quantizer="none",
            model=shop.model("conv4"),
            ordinal=True,
            video=replace(FORMAT, width=32, height=32),
        ),
    ),
    "one-level": Recipe(
        "a k-means codebook of one value",
        lambda shop: authored(
            [np.zeros((2, 128, 2, 2), np.uint8)],
            transform="conv4",
            parameters={},
            quantizer="kmeans",
            quantizer_parameters={"codebook": struct.pack("<f", 0.5)},
            model=shop.model("conv4"),
            ordinal=True,
            video=replace(FORMAT, width=32, height=32),
        ),
    ),
    "palette-in-gops": from_base("colours of the header, of GOPs, and a GOP's own palette", moved_palette),
    "palette-in-gops-filtered": changed(
        "filtered: a GOP with a palette of its own",
        "filtered-q5",
        surgery.side(0, transform={"palette": bytes(range(255, 183, -1))}),
    ),
    "shades-in-gops": changed("shades of GOPs, none of the header", "shades", moved_shades),
    "quantizer-in-header": changed("the quantizer's range in the header", "conv4-scale", moved_quantizer),
    "scale-channels": changed(
        "scale: a range for each channel",
        "conv4-scale",
        surgery.side(0, quantizer={"channels": bytes(edge for n in range(128) for edge in (n, 255 - n))}),
    ),
    "scale-channels-alike": changed(
        "scale: one part of the range for all channels",
        "conv4-scale",
        surgery.side(0, quantizer={"channels": bytes([20, 60])}),
    ),
    "times-negative": of_grids(
        "negative timestamps, a pause between GOPs, a last frame of no duration",
        lambda: [noise("times", n, 1, 4, 4, most=9) for n in (3, 2)],
        times=[[-500, -400, -1, -1], [70, 80, 81]],
    ),
    "times-largest": of_grids(
        "the earliest and the latest timestamps",
        lambda: [noise("times", 2, 1, 4, 4, most=9)],
        times=[[-LARGEST_TIME, 0, LARGEST_TIME]],
    ),
    "two-tracks": of_grids(
        "two audio tracks, packets before the pictures, dts apart from pts",
        lambda: [noise("times", 2, 1, 4, 4, most=9)],
        video=VideoFormat(4, 4, FORMAT.time_base, audio=(PCM, OPUS)),
        packets=[
            AudioPacket(n % 3 % 2, 100 * n - 250, 90 * n - 400, 80 * (n % 4), n % 5 == 0, bytes([n]) * (n + 1))
            for n in range(12)
        ],
    ),
    "empty-audio": from_base(
        "an audio chunk without packets",
        lambda data: surgery.inserted(data, ("audp", b"\0\0\0\0\1\0\0\0\0"), "GOPC", 1),
    ),
    "front-copied": from_base("a copy of the front", damaged.with_copy),
    "unknown-chunks": from_base(
        "optional chunks of unknown type in several places",
        lambda data: surgery.inserted(
            surgery.inserted(data, ("abcX", b"private"), "GOPC"), ("zzzz", bytes(300)), "GOPC", 2
        ),
    ),
    "chunks-to-ignore": from_base(
        "a second HEAD and a modl chunk between GOPs",
        lambda data: surgery.inserted(
            surgery.inserted(data, ("HEAD", b"\x80"), "GOPC", 1), ("modl", b"none"), "GOPC", 2
        ),
    ),
    "minor-version": from_base(
        "written by a later version that version 1 can read; unknown flags, and a reserved field in use",
        lambda data: surgery.preamble(12, version=7, min_reader=1, flags=0xFFFF0001, reserved=99) + data[32:],
    ),
    "unknown-keys": from_base(
        "keys of a later version in the header and the side map",
        lambda data: surgery.side(0, later=[1, {"x": -2.5}])(
            surgery.header(later=b"1", video={"later": "2"}, grid={"later": 3}, model=None)(data)
        ),
    ),
    "clumsy-msgpack": from_base(
        "maps in another order and in longer forms than they need", lambda data: surgery.changed(data, "HEAD", clumsily)
    ),
    "clumsy-times": from_base("timestamps in zstd, in longer varints, with zeros at the end", squeezed_times),
    "frames-unknown": from_base("the number of frames not declared", lambda data: surgery.preamble() + data[32:]),
    "clumsy-zstd": changed("codes in zstd blocks with size and checksum", "palette-none", surgery.codes(framed)),
}
RECIPES: Mapping[str, Recipe] = {**GOOD, **damaged.RECIPES}
