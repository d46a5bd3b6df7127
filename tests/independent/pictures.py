"""Section "Transforms": codes to pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from independent.networks import latents_to_pictures
from independent.plain import unsqueeze
from independent.postfilter import PostFilter
from independent.quantizers import dequantize
from independent.reader import Video
from independent.refusal import expect
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
"""[frames, height, width, 3]."""
Codes = NDArray[np.uint8]
"""[frames, channels, height, width]."""
COLOUR_TRANSFORMS = ("palette", "shades", "filtered")
MAX_STEP, MAX_SHADE_BYTES = 64, 260352
Parameters = Mapping[str, Any]


def paint(video: Video) -> Pictures:
    """The pictures of all frames; `Refused` where one cannot be made."""
    header = video.header
    name, quantizer = header["transform"]["name"], header["quantizer"]
    height, width = header["video"]["height"], header["video"]["width"]
    pictures = [np.empty((0, height, width, 3), np.uint8)]
    given = header["transform"]["params"]
    if name in COLOUR_TRANSFORMS:
        given = {**_colours_of_model(video), **given}
        _check_grid(name, given, header["grid"], height, width)
    postfilter = _postfilter(video) if name == "filtered" else None
    for found in video.groups:
        if name in COLOUR_TRANSFORMS:
            parameters = {**given, **found.group.transform}
            painted = _painters[name](found.codes, parameters)
            if postfilter is not None:
                painted = np.stack([postfilter.correct(picture) for picture in painted])
            pictures.append(painted)
            continue
        expect(video.model is not None, "the transform needs a model")
        assert video.model is not None
        latents = dequantize(quantizer["name"], {**quantizer["params"], **found.group.quantizer}, found.codes)
        pictures.append(latents_to_pictures(name, video.model, latents, height, width))
    return np.concatenate(pictures)


def _colours_of_model(video: Video) -> dict[str, bytes]:
    if video.model is None:
        return {}
    tensors = video.model.tensors
    expect(video.model.arch == "predictive" and "palette" in tensors, "the model has no palette")
    return {key: tensors[key].tobytes() for key in ("palette", "shades") if key in tensors}


def _postfilter(video: Video) -> PostFilter:
    expect(video.model is not None, "the transform needs a model")
    assert video.model is not None
    return PostFilter(video.model)


def _check_grid(name: str, parameters: Parameters, grid: Parameters, height: int, width: int) -> None:
    channels = 2 if name == "shades" else _channels(parameters)
    shape = (grid["channels"], grid["height"], grid["width"])
    expect(shape == (channels, height, width) and not grid["ordinal"], "the grid is not the transform's")


def _channels(parameters: Parameters) -> int:
    step = parameters.get("correction_step")
    expect(type(step) is int and 0 <= step <= MAX_STEP, "the correction step is not in 0..64")
    return 4 if step else 1


def _palette(parameters: Parameters, added: bytes = b"") -> NDArray[np.uint8]:
    stored = parameters.get("palette")
    expect(isinstance(stored, bytes) and isinstance(added, bytes), "the palette is missing")
    assert isinstance(stored, bytes)
    colours = stored + added
    expect(len(colours) % 3 == 0 and 3 <= len(colours) <= 768, "the palette has no colours, or too many")
    return np.frombuffer(colours, np.uint8).reshape(-1, 3)


def _paint_palette(codes: Codes, parameters: Parameters) -> Pictures:
    colours = _palette(parameters, parameters.get("added", b""))
    expect(_channels(parameters) == codes.shape[1], "a GOP's palette does not fit the grid")
    expect(int(codes[:, 0].max()) < len(colours), "a code is beyond the palette")
    step = parameters["correction_step"]
    values = colours[codes[:, 0]].astype(np.int64)
    if step == 0:
        return values.astype(np.uint8)
    corrections = np.moveaxis(codes[:, 1:], 1, -1).astype(np.int64)
    if step == 1:
        return ((values + corrections) % 256).astype(np.uint8)
    signed = np.where(corrections < 128, corrections, corrections - 256)
    corrected: Pictures = (values + step * signed).clip(0, 255).astype(np.uint8)
    return corrected


def _paint_shades(codes: Codes, parameters: Parameters) -> Pictures:
    palette = _palette(parameters)
    colours = np.zeros((256, 256, 3), np.uint8)
    known = np.zeros((256, 256), np.bool_)
    known[:, 0] = True
    for i in range(256):
        colours[i, 0] = palette[i] if i < len(palette) else (36 * (i >> 5), 36 * ((i >> 2) % 8), 85 * (i % 4))
    for key in ("shades", "added"):
        if key in parameters:
            expect(isinstance(parameters[key], bytes), "shades are no bytes")
            _read_shades(unsqueeze(parameters[key], "shades", MAX_SHADE_BYTES), colours, known)
    index, shade = codes[:, 0], codes[:, 1]
    expect(bool(known[index, shade].all()), "a shade has no colour")
    return colours[index, shade]


def _read_shades(data: bytes, colours: NDArray[np.uint8], known: NDArray[np.bool_]) -> None:
    expect(len(data) >= 256, "shades are cut")
    total = sum(data[:256])
    expect(len(data) == 256 + 4 * total, "shades are of another size than they say")
    steps, red, green, blue = (data[256 + k * total : 256 + (k + 1) * total] for k in range(4))
    at = 0
    for i in range(256):
        shade = 0
        for _ in range(data[i]):
            shade += steps[at]
            expect(steps[at] >= 1 and shade <= 254, "shades do not ascend")
            difference = np.array([red[at], green[at], blue[at]], np.uint8)
            colours[i, shade], known[i, shade] = colours[i, 0] + difference, True
            at += 1


_painters = {"palette": _paint_palette, "shades": _paint_shades, "filtered": _paint_palette}
