"""Faults of the predictors' payloads, and of codes that no pictures can be made of."""

import struct
from collections.abc import Mapping

import zstandard
from vectors.making import surgery
from vectors.making.surgery import Change
from vectors.making.tampering import (
    BOMB,
    LIMIT,
    TIMES,
    Fault,
    fault,
    flip,
    in_gop,
    with_dictionary,
    zstd,
)


def in_two(frame: bytes) -> bytes:
    """The content of a zstd frame in two of them."""
    content = zstandard.ZstdDecompressor().decompressobj().decompress(frame)
    return zstd(content[:1000], size=False) + zstd(content[1000:], size=False)


def words(change: Change) -> Change:
    """Change the words of the range coder in the first GOP."""

    def changed(payload: bytes) -> bytes:
        at = 4 + int.from_bytes(payload[:4], "little")
        return payload[:at] + change(payload[at:])

    return surgery.codes(changed)


def first_grid(frame: bytes) -> Change:
    """Another first grid in the first GOP."""

    def changed(payload: bytes) -> bytes:
        at = 4 + int.from_bytes(payload[:4], "little")
        return struct.pack("<I", len(frame)) + frame + payload[at:]

    return surgery.codes(changed)


CODES: Mapping[str, Fault] = {
    "none-cut": in_gop("zstd of the codes cut", surgery.codes(lambda p: p[:-3]), base="palette-none"),
    "none-more": in_gop(
        "more codes than frames", surgery.codes(lambda _: zstd(bytes(1 << 16), size=False)), base="palette-none"
    ),
    "none-bomb": in_gop("zstd of 2^26 bytes for codes", surgery.codes(lambda _: BOMB), base="palette-none"),
    "none-fewer": in_gop("fewer codes than frames", surgery.codes(lambda _: zstd(bytes(9))), base="palette-none"),
    "none-no-zstd": in_gop("codes that are no zstd", surgery.codes(lambda p: b"codes" + p), base="palette-none"),
    "none-empty": in_gop("no codes", surgery.codes(lambda _: b""), base="palette-none"),
    "none-after": in_gop("something after the codes", surgery.codes(lambda p: p + b"rest"), base="palette-none"),
    "none-two-frames": in_gop("codes in two zstd frames", surgery.codes(in_two), base="palette-none"),
    "none-skippable": in_gop(
        "a skippable zstd frame before the codes",
        surgery.codes(lambda p: b"\x50\x2a\x4d\x18\0\0\0\0" + p),
        base="palette-none",
    ),
    "none-dictionary": in_gop(
        "zstd of the codes with a dictionary", surgery.codes(lambda _: with_dictionary(TIMES)), base="palette-none"
    ),
    "none-window": in_gop(
        "zstd of the codes with a window of 2^27 bytes",
        surgery.codes(lambda _: surgery.wide_window(TIMES)),
        base="palette-none",
    ),
    "adaptive-short": in_gop("a payload of 3 bytes", surgery.codes(lambda _: b"\1\0\0")),
    "adaptive-first-long": in_gop(
        "a first grid longer than the payload", surgery.codes(lambda p: b"\xff\xff\0\0" + p[4:])
    ),
    "adaptive-first-bomb": in_gop("a first grid of 2^26 bytes", first_grid(BOMB)),
    "adaptive-first-short": in_gop("a first grid too short", first_grid(zstd(bytes(5)))),
    "adaptive-bytes": in_gop("words that are no multiple of 4 bytes", words(lambda w: w + b"\0")),
    "adaptive-too-many": in_gop("more words than there are codes", words(lambda w: w + bytes(12))),
    "adaptive-cut": in_gop("half of the words", words(lambda w: w[: len(w) // 8 * 4])),
    "adaptive-impossible": in_gop("words that no encoder writes", words(lambda w: b"\xff" * len(w))),
    "adaptive-changed": in_gop("one bit of the words changed", words(flip(9))),
    "ordinal-changed": fault("one bit of the words changed", words(flip(9)), base="conv4-scale"),
    "learned-empty": in_gop("an empty payload", surgery.codes(lambda _: b""), base="learned"),
    "learned-screen": in_gop(
        "begins with a screen that the model lacks", surgery.codes(lambda p: b"\x07" + p[5:]), base="learned-screen"
    ),
    "learned-no-screens": in_gop(
        "begins with a screen, and the model has none", surgery.codes(lambda p: b"\0" + p[5:]), base="learned"
    ),
    "learned-changed": in_gop(
        "one bit of the words changed", surgery.codes(lambda p: flip(len(p) - 30)(p)), base="learned"
    ),
    "learned-view": in_gop(
        "pictures of which the network would see more than 2^30 numbers",
        surgery.header(video={"width": 8192, "height": 8192}, grid={"width": 8192, "height": 8192}),
        LIMIT,
        base="learned",
    ),
    "learned-hedge": in_gop(
        "announces a payload of none and has another", surgery.codes(lambda p: b"\xfe" + p[1:]), base="learned"
    ),
}
PICTURES: Mapping[str, Fault] = {
    "palette-missing": fault("no palette", surgery.header(transform={"params": {"palette": None}})),
    "palette-empty": fault("a palette of no colours", surgery.header(transform={"params": {"palette": b""}})),
    "palette-large": fault("257 colours", surgery.header(transform={"params": {"palette": bytes(771)}})),
    "palette-bytes": fault("a palette of 4 bytes", surgery.header(transform={"params": {"palette": bytes(4)}})),
    "palette-index": fault("codes beyond the palette", surgery.header(transform={"params": {"palette": bytes(3)}})),
    "palette-step": fault("corrections of step 65", surgery.header(transform={"params": {"correction_step": 65}})),
    "palette-gop-step": fault(
        "a GOP whose palette asks for more channels", surgery.side(1, transform={"correction_step": 1})
    ),
    "palette-gop-large": fault("a GOP that adds too many colours", surgery.side(1, transform={"added": bytes(771)})),
    "grid-channels": fault("pictures smaller than the grid", surgery.header(video={"width": 16})),
    "shades-missing": fault(
        "shades that nothing names", surgery.header(transform={"params": {"shades": None}}), base="shades-none"
    ),
    "shades-cut": fault(
        "fewer bytes than the shades take",
        surgery.header(transform={"params": {"shades": b"\0" + b"\1" * 256}}),
        base="shades-none",
    ),
    "shades-bomb": fault(
        "shades of 2^26 bytes",
        surgery.header(transform={"params": {"shades": b"\1" + BOMB}}),
        LIMIT,
        base="shades-none",
    ),
    "shades-zero": fault(
        "a shade numbered 0",
        surgery.header(transform={"params": {"shades": b"\0\1" + bytes(255) + b"\0\1\1\1"}}),
        base="shades-none",
    ),
    "scale-missing": fault("no range of levels", surgery.side(quantizer=None), base="conv4-scale"),
    "scale-back": fault(
        "a range that ends before it begins", surgery.side(quantizer={"low": 2.0, "high": 1.0}), base="conv4-scale"
    ),
    "scale-far": fault("a range beyond 10^6", surgery.side(quantizer={"high": 1e6}), base="conv4-scale"),
    "scale-channels-few": fault(
        "ranges of two channels of 128", surgery.side(quantizer={"channels": bytes([0, 255] * 2)}), base="conv4-scale"
    ),
    "scale-channels-back": fault(
        "a channel's range that ends before it begins",
        surgery.side(quantizer={"channels": bytes([9, 8])}),
        base="conv4-scale",
    ),
    "scale-channels-array": fault(
        "channels' ranges that are no bytes", surgery.side(quantizer={"channels": [0, 255]}), base="conv4-scale"
    ),
    "scale-level": fault("one level", surgery.side(quantizer={"levels": 1}), base="conv4-scale"),
    "kmeans-code": fault(
        "codes beyond the codebook", surgery.side(quantizer={"codebook": bytes(8)}), base="conv4-kmeans"
    ),
    "kmeans-nan": fault(
        "a codebook with NaN", surgery.side(quantizer={"codebook": b"\0\0\xc0\x7f" * 256}), base="conv4-kmeans"
    ),
    "kmeans-bytes": fault("a codebook of 7 bytes", surgery.side(quantizer={"codebook": bytes(7)}), base="conv4-kmeans"),
    "filtered-no-model": fault(
        "filtered, and no model is named",
        surgery.header(model=None, transform={"params": {"palette": bytes(72)}}),
        base="filtered-q5",
    ),
    "filtered-other-model": fault(
        "filtered, by a model that has no post-filter",
        surgery.header(transform={"name": "filtered"}),
        base="palette-of-model",
    ),
    "filtered-channels": fault(
        "filtered, corrections where the grid has no room for them",
        surgery.header(transform={"params": {"correction_step": 1}}),
        base="filtered-q5",
    ),
    "filtered-index": fault(
        "filtered, codes beyond the palette",
        surgery.header(transform={"params": {"palette": bytes(3)}}),
        base="filtered-q5",
    ),
    "transform-other": fault(
        "a transform that is not the model's", surgery.header(transform={"name": "conv5"}), base="conv4-scale"
    ),
    "transform-no-model": fault(
        "a transform that needs a model, and none is named", surgery.header(model=None), base="conv4-scale"
    ),
}
