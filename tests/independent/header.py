"""Section "Header"."""

import math
import re
from collections.abc import Mapping
from typing import Any

from independent.plain import field, plain_map
from independent.refusal import bounded, expect

MAX_SIDE, MAX_PIXELS, MAX_CODES = 16384, 1 << 26, 1 << 28
MAX_NUMBER = (1 << 31) - 1
Map = Mapping[str, Any]


def read_header(payload: bytes) -> Map:
    """The map of a HEAD chunk, all of it checked."""
    header = plain_map(payload, "header")
    _name(field(header, "writer", str, "header"))
    _video(field(header, "video", dict, "header"))
    grid = field(header, "grid", dict, "header")
    channels, height, width = (field(grid, key, int, "grid") for key in ("channels", "height", "width"))
    bounded("the height of the grid", height, MAX_SIDE, 1)
    bounded("the width of the grid", width, MAX_SIDE, 1)
    bounded("the channels of the grid", channels, MAX_CODES, 1)
    bounded("the codes of a frame", channels * height * width, MAX_CODES)
    field(grid, "ordinal", bool, "grid")
    for part in ("transform", "quantizer", "predictor"):
        component = field(header, part, dict, "header")
        _name(field(component, "name", str, part))
        field(component, "params", dict, part)
    if header.get("model") is not None:
        model = field(header, "model", dict, "header")
        _name(field(model, "name", str, "model"))
        expect(len(field(model, "sha256", bytes, "model")) == 32, "the model's sha256 has not 32 bytes")
    return header


def _name(text: str) -> None:
    expect(len(text) <= 256 and text.isprintable(), "a name is too long or not printable")


def _video(video: Map) -> None:
    width, height = (bounded(key, field(video, key, int, "video"), MAX_SIDE, 1) for key in ("width", "height"))
    bounded("the pixels of a picture", width * height, MAX_PIXELS)
    _fraction(field(video, "time_base", list, "video"))
    for key in ("frame_rate", "pixel_aspect"):
        if video.get(key) is not None:
            _fraction(field(video, key, list, "video"))
    bounded("the rotation", field(video, "rotation", int, "video"), 360, -360)
    color = field(video, "color", dict, "video")
    for key, most in (("range", 2), ("matrix", 255), ("primaries", 255), ("transfer", 255)):
        bounded(f"colour {key}", field(color, key, int, "color"), most)
    tracks = field(video, "audio", list, "video")
    bounded("audio tracks", len(tracks), 32)
    for track in tracks:
        expect(isinstance(track, dict), "an audio track is no map")
        _track(track)


def _track(track: Map) -> None:
    _fraction(field(track, "time_base", list, "audio"))
    bounded("the sample rate", field(track, "sample_rate", int, "audio"), MAX_NUMBER, 1)
    bounded("the bit rate", field(track, "bit_rate", int, "audio"), MAX_NUMBER)
    field(track, "extradata", bytes, "audio")
    patterns = {
        "codec": r"[a-z0-9_.]{1,32}",
        "sample_format": r"[a-z0-9_.]{1,32}",
        "layout": r"[a-z0-9.]{1,16}(\([a-z0-9-]{1,16}\))?",
    }
    if track.get("language") is not None:
        patterns["language"] = r"[A-Za-z0-9-]{1,16}"
    for key, pattern in patterns.items():
        expect(re.fullmatch(pattern, field(track, key, str, "audio")) is not None, f"audio: {key} is no name")


def _fraction(value: list[Any]) -> None:
    whole = len(value) == 2 and all(type(part) is int and 1 <= part <= MAX_NUMBER for part in value)
    expect(whole and math.gcd(*value) == 1, "a fraction is not one in lowest terms")
