"""The conversion to RGB of decoded pictures, held against what FFmpeg shows by default."""

import av
import numpy as np
import pytest

from pacodec.base_layer.colour import FORMATS, PLANAR_RGB, Colour
from pacodec.errors import CorruptFileError, LimitError

MATRICES = {"BT.709": 1, "untagged": 2, "FCC": 4, "BT.470BG": 5, "BT.601": 6, "SMPTE 240M": 7, "BT.2020": 9}
SIZES = [(64, 48), (63, 48), (64, 47), (35, 21), (16, 16), (1, 1)]
LIMITED, FULL = 1, 2


def made(pixel_format, width, height, seed=0, smooth=False):
    """A frame of random samples, or of soft shapes in colours far and near."""
    rng = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, pixel_format)
    bits = frame.format.components[0].bits
    kind = np.uint8 if bits == 8 else np.uint16
    for number, plane in enumerate(frame.planes):
        rows = np.zeros((plane.height, plane.line_size // kind().itemsize), kind)
        values = rng.integers(0, 1 << bits, (plane.height, plane.width))
        if smooth:
            y, x = np.mgrid[: plane.height, : plane.width]
            values = ((np.sin((x + 9 * number) / 7) + np.cos(y / 5) + 2) / 4 * ((1 << bits) - 1)).astype(int)
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    return frame


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
def test_every_format_range_and_matrix_looks_as_in_ffmpeg(pixel_format, color_range):
    for width, height in SIZES:
        for matrix in MATRICES.values():
            for smooth in (False, True):
                frame = made(pixel_format, width, height, smooth=smooth)
                frame.colorspace, frame.color_range = matrix, color_range
                colour = Colour.of(frame)
                assert colour is not None
                off = np.abs(colour.rgb(frame).astype(int) - frame.to_ndarray(format="rgb24"))
                assert off.max() <= 1, (width, height, matrix, smooth)


def test_planes_of_rgb_are_what_they_are():
    frame = made(PLANAR_RGB, 20, 10)
    colour = Colour.of(frame)
    assert colour is not None
    np.testing.assert_array_equal(colour.rgb(frame), frame.to_ndarray(format="rgb24"))


def test_what_is_not_converted_here_is_none():
    for pixel_format in ("rgb24", "gray", "yuv411p", "pal8"):
        assert Colour.of(av.VideoFrame(16, 16, pixel_format)) is None


def test_fields_are_converted_one_by_one():
    frame = made("yuv420p", 32, 32)
    woven = Colour("yuv420p", 1, full_range=False).rgb(frame)
    apart = Colour("yuv420p", 1, full_range=False, interlaced=True).rgb(frame)
    assert (woven != apart).any()
    planes = [np.frombuffer(memoryview(p), np.uint8).reshape(-1, p.line_size)[:, : p.width] for p in frame.planes]
    for field in (0, 1):
        half = av.VideoFrame(32, 16, "yuv420p")
        for plane, rows in zip(half.planes, planes, strict=True):
            padded = np.zeros((plane.height, plane.line_size), np.uint8)
            padded[:, : plane.width] = rows[field::2]
            plane.update(padded.tobytes())
        np.testing.assert_array_equal(apart[field::2], Colour("yuv420p", 1, full_range=False).rgb(half))


def test_a_description_survives_and_a_wrong_one_is_refused():
    colour = Colour("yuv422p10le", 9, full_range=True, siting=(0, 128), interlaced=True)
    assert Colour.from_dict(colour.to_dict()) == colour
    for key, value in {"pixel_format": "rgb24", "siting": [0], "matrix": "1", "full_range": 1}.items():
        with pytest.raises(CorruptFileError):
            Colour.from_dict({**colour.to_dict(), key: value})
    for key, value in {"matrix": 256, "siting": [0, 300]}.items():
        with pytest.raises(LimitError):
            Colour.from_dict({**colour.to_dict(), key: value})
    with pytest.raises(CorruptFileError):
        colour.rgb(made("yuv420p", 8, 8))
