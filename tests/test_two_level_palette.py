"""Palette index and shade: exact for what the sample showed, for what it did not, and safe with bad parameters."""

import numpy as np
import pytest
from conftest import make_video
from hypothesis import given, settings
from hypothesis import strategies as st

import pacodec
from pacodec.common.zstd_frames import pack
from pacodec.decoder import Decoder
from pacodec.errors import CorruptFileError, LimitError, QualityError
from pacodec.gop.survey import SAMPLE_FRAMES
from pacodec.transforms.palette import learn_palette
from pacodec.transforms.two_level_palette import TwoLevelPalette, frequent_colours, occurring_palette, without
from pacodec.video.reader import sample_frames


def noise(*shape, seed=0, levels=256):
    return np.random.default_rng(seed).integers(0, levels, (*shape, 3), dtype=np.uint8)


def made_for(pictures):
    found = frequent_colours([pictures])
    palette = occurring_palette(learn_palette([pictures]), found)
    return TwoLevelPalette(palette, without(found, palette))


def distinct(n, offset=0):
    """A row of n colours, none of them twice, uint8 [1, 1, n, 3]."""
    number = np.arange(offset, offset + n)
    return np.stack([number & 255, number >> 8 & 255, number >> 16], 1).astype(np.uint8)[None, None]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.sampled_from([2, 9, 40, 256]))
def test_what_the_sample_did_not_show_is_exact_too(seed, height, width, levels):
    seen, unseen = noise(2, height, width, seed=seed, levels=levels), noise(3, height, width, seed=seed + 1)
    coder = made_for(seen)
    header, codes = coder.parameters, coder.encode(unseen)
    assert codes.shape == (3, *coder.grid(height, width))
    reader = TwoLevelPalette.from_parameters({**header, **coder.additions()})
    assert np.array_equal(reader.decode(codes), unseen)
    codes = coder.encode(seen)
    assert not coder.additions()
    assert np.array_equal(TwoLevelPalette.from_parameters(header).decode(codes), seen)


def test_frequent_colours_come_first_and_get_small_numbers():
    picture = np.repeat(distinct(4), (2, 9, 1, 5), axis=2)
    found = frequent_colours([picture])
    assert found.tolist() == distinct(4)[0, 0, [1, 3, 0, 2]].tolist()
    palette = np.array([[1, 1, 1], [200, 200, 200]], np.uint8)
    codes = TwoLevelPalette(palette, found).encode(found[None, None])
    assert codes[0, :, 0].tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]]


def test_a_gop_lists_its_own_colours_only():
    coder = made_for(distinct(10))
    header = coder.parameters
    first, codes = coder.encode(distinct(500, 1000)), coder.encode(distinct(3, 1000))
    large = coder.additions()
    again = coder.encode(distinct(3, 1000))
    small = coder.additions()
    assert np.array_equal(codes, again)
    assert len(small["added"]) < len(large["added"])
    assert np.array_equal(TwoLevelPalette.from_parameters({**header, **large}).decode(first), distinct(500, 1000))
    reader = TwoLevelPalette.from_parameters({**header, **small})
    assert np.array_equal(reader.decode(again), distinct(3, 1000))
    with pytest.raises(CorruptFileError):
        reader.decode(first)


def test_labels_run_out_within_a_gop_and_come_back_after_many():
    coder = TwoLevelPalette(np.zeros((1, 3), np.uint8), np.empty((0, 3), np.uint8))
    header = coder.parameters
    coder.encode(distinct(60_000))
    with pytest.raises(QualityError, match="too many"):
        coder.encode(distinct(10_000, 70_000))
    coder.additions()
    for _ in range(300):
        coder.additions()
    codes = coder.encode(distinct(60_000, 1 << 20))
    reader = TwoLevelPalette.from_parameters({**header, **coder.additions()})
    assert np.array_equal(reader.decode(codes), distinct(60_000, 1 << 20))
    early = coder.encode(distinct(5))
    reader = TwoLevelPalette.from_parameters({**header, **coder.additions()})
    assert np.array_equal(reader.decode(early), distinct(5))


def test_a_palette_of_occurring_colours():
    for pictures in (noise(1, 4, 4), noise(1, 100, 100)):
        found = frequent_colours([pictures])
        palette = occurring_palette(learn_palette([pictures]), found)
        assert len(palette) <= 256
        assert len(without(palette, found)) == 0
        assert len(without(found, palette)) == len(found) - len(palette)


@pytest.mark.parametrize(
    "wrong",
    [
        {"palette": None},
        {"palette": b""},
        {"palette": bytes(4)},
        {"palette": bytes(3 * 257)},
        {"shades": 7},
        {"added": [1]},
        {"shades": b""},
        {"shades": pack(b"")},
        {"shades": pack(bytes(255))},
        {"shades": pack(bytes([1]) + bytes(255))},
        {"shades": pack(bytes([1]) + bytes(255) + bytes(4))},  # number 0
        {"shades": pack(bytes([2]) + bytes(255) + bytes([200, 55]) + bytes(6))},  # number 255
        {"added": pack(bytes([1]) + bytes(255) + bytes([1]) + bytes(4))},
    ],
)
def test_malformed_parameters(wrong):
    good = made_for(distinct(300)).parameters
    with pytest.raises(CorruptFileError):
        TwoLevelPalette.from_parameters({**good, **wrong})


def test_a_declared_size_is_checked_before_memory_is_taken():
    with pytest.raises(LimitError):
        TwoLevelPalette.from_parameters({"palette": bytes(3), "shades": pack(bytes(1 << 20))})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_read_or_refused(data, squeezed):
    try:
        made = TwoLevelPalette.from_parameters({"palette": bytes(3), "shades": pack(data) if squeezed else data})
    except (CorruptFileError, LimitError):
        return
    assert TwoLevelPalette.from_parameters(made.parameters).parameters == made.parameters


def test_lossless_footage_of_many_colours(tmp_path):
    ramp = np.stack(np.broadcast_arrays(np.arange(48) * 5, np.arange(32)[:, None] * 7, 99), 2).astype(np.uint8)
    pictures = [np.roll(ramp, n, 1) for n in range(12)]
    source = make_video(tmp_path / "in.mp4", pictures)
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"), lossless=True)
    assert (report.transform, report.psnr) == ("shades", 100)
    with Decoder(tmp_path / "out.pac") as video:
        assert all(np.array_equal(video[n], picture) for n, picture in enumerate(pictures))


def test_footage_that_outgrows_the_sample_is_still_lossless(tmp_path):
    pictures = [np.full((264, 264, 3), n % 7, np.uint8) for n in range(40)]
    pictures[20] = noise(264, 264)
    source = make_video(tmp_path / "in.mp4", pictures)
    assert len(frequent_colours(sample_frames(source, SAMPLE_FRAMES))) == 7
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"), lossless=True, coder="none")
    with Decoder(tmp_path / "out.pac") as video:
        assert all(np.array_equal(video[n], picture) for n, picture in enumerate(pictures))
    assert (report.transform, report.psnr) == ("palette", 100)
