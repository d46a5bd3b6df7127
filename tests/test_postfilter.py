"""The post-filter: the same pixels however they are computed, how it is fitted, and files that name it."""

import contextlib
import json
import struct

import numpy as np
import pytest
import zstandard
from authored import filter_model, make_filter, plainly_filtered, recording_model
from conftest import COLOURS, cli, make_video, screen
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pacodec
from pacodec.errors import CorruptFileError, LimitError, PacodecError
from pacodec.training.fit_filter import fit_filter
from pacodec.training.footage import Pairs
from pacodec.transforms.postfilter import KEY_BITS, MAX_ENTRIES, NEIGHBOURHOODS, REACH, Entries, PostFilter, with_border

sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
seeds = st.integers(0, 2**32 - 1)
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)


def footage(frames, height, width, seed, colours=5):
    """Codes [n, h, w] of which each grid has a few patches that the one before has not, and some none."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(rng.integers(0, colours, (1, height, width), np.uint8), frames, 0)
    for number in range(1, frames):
        for _ in range(rng.integers(4)):
            top, left = rng.integers(height), rng.integers(width)
            patch = np.s_[number:, top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)]
            codes[patch] = rng.integers(0, colours)
    return codes


def filtered(postfilter, codes):
    return postfilter.filter(codes[:, None], PALETTE[codes])


# The same pixels, however they are computed


@settings(max_examples=30, deadline=None)
@given(sizes, st.integers(1, 5), seeds)
@example((1, 1), 3, 0)
@example((1, 20), 3, 1)
@example((19, 1), 3, 1)
def test_pictures_together_are_those_one_by_one(size, frames, seed):
    codes = footage(frames, *size, seed)
    pictures = PALETTE[codes]
    before = pictures.copy()
    postfilter = make_filter(codes, seed)
    found = postfilter.filter(codes[:, None], pictures)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(pictures, before)
    assert np.array_equal(found, np.concatenate([filtered(postfilter, grid[None]) for grid in codes]))
    table = postfilter.to_bytes()
    assert np.array_equal(found[-1], plainly_filtered(table, size, codes[-1], pictures[-1]))


@settings(max_examples=20, deadline=None)
@given(sizes, seeds)
def test_a_table_comes_back_from_its_bytes(size, seed):
    codes = footage(2, *size, seed)
    made = make_filter(codes, seed)
    found = PostFilter.from_bytes(made.to_bytes(), made.size)
    assert found.to_bytes() == made.to_bytes()
    assert np.array_equal(filtered(found, codes), filtered(made, codes))


def test_in_pictures_of_another_size_places_do_not_count():
    codes = footage(1, 12, 9, 0)
    made = make_filter(codes)
    other = PostFilter(made.levels, (9, 12))
    found = filtered(other, codes)
    assert not np.array_equal(found, filtered(made, codes))
    assert np.array_equal(found[0], plainly_filtered(other.to_bytes(), other.size, codes[0], PALETTE[codes[0]]))


def test_no_pictures():
    assert filtered(make_filter(footage(1, 20, 30, 0)), np.empty((0, 20, 30), np.uint8)).shape == (0, 20, 30, 3)


def test_a_pixel_depends_on_no_more_than_the_reach():
    codes = footage(1, 24, 24, 2)
    far = footage(1, 24, 24, 3)
    around = np.s_[:, 12 - REACH : 13 + REACH, 12 - REACH : 13 + REACH]
    far[around] = codes[around]
    postfilter = make_filter(np.concatenate([codes, far]))
    found, other = filtered(postfilter, codes), filtered(postfilter, far)
    assert np.array_equal(found[:, 12, 12], other[:, 12, 12])
    assert not np.array_equal(found, other)


# How it is fitted


def fitted(pictures, codes):
    """What footage says of itself."""
    pairs = Pairs(1)
    for picture, grid in zip(pictures, codes, strict=True):
        pairs.add(picture, grid, 0)
    return fit_filter(pairs, PALETTE)


def test_what_the_codes_around_tell_is_learned_and_holds_elsewhere():
    """The pictures are the colours, lighter by as many levels as the codes to the left and above say."""

    def shown(codes):
        lighter = 3 * np.roll(codes, 1, 2).astype(int) + 2 * np.roll(codes, 1, 1)
        return (PALETTE[codes] + lighter[..., None]).clip(0, 255).astype(np.uint8)

    codes, others = footage(60, 24, 24, 1), footage(20, 24, 24, 1)
    postfilter = fitted(shown(codes), codes)
    meant = shown(others)
    before = np.abs(PALETTE[others].astype(int) - meant).mean()
    after = np.abs(filtered(postfilter, others).astype(int) - meant).mean()
    assert after < before / 4


def test_footage_that_its_colours_show_needs_no_entries():
    codes = footage(5, 16, 16, 0)
    assert all(not len(entries.keys) for entries in fitted(PALETTE[codes], codes).levels)


# What it refuses


def table_of(*levels):
    """Bytes of tables with keys that step by these."""
    parts = []
    for steps in levels:
        columns = [bytes(step >> 8 * byte & 255 for step in steps) for byte in range(3)]
        parts += [struct.pack("<I", len(steps)), *columns, bytes(3 * len(steps))]
    return zstandard.ZstdCompressor().compress(b"".join(parts))


NOTHING = [()] * (len(NEIGHBOURHOODS) - 1)
LAST_KEY = (1 << KEY_BITS) - 1


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (table_of((), *NOTHING), None),
        (table_of((LAST_KEY - 1, 0), *NOTHING), None),
        (table_of((LAST_KEY - 1, 1), *NOTHING), CorruptFileError),
        (table_of((0xFFFFFF,) * 300, *NOTHING), CorruptFileError),
        (table_of(*NOTHING), CorruptFileError),
        (table_of((), (), *NOTHING), CorruptFileError),
        (table_of((5,), *NOTHING)[:-3], CorruptFileError),
        (zstandard.ZstdCompressor().compress(struct.pack("<I", MAX_ENTRIES + 1)), LimitError),
        (zstandard.ZstdCompressor().compress(bytes(1 << 24)), LimitError),
        (zstandard.ZstdCompressor().compress(b""), CorruptFileError),
        (b"no zstd at all", CorruptFileError),
        (b"", CorruptFileError),
    ],
)
def test_tables(table, error):
    if error is None:
        codes = footage(1, 9, 9, 0)
        assert filtered(PostFilter.from_bytes(table, (9, 9)), codes).shape == (1, 9, 9, 3)
        return
    with pytest.raises(error, match="post-filter"):
        PostFilter.from_bytes(table, (9, 9))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_damaged_tables_are_refused_or_read(at, bits):
    codes = footage(2, 12, 12, 0)
    table = bytearray(make_filter(codes).to_bytes())
    table[at % len(table)] ^= bits
    with contextlib.suppress(PacodecError):
        postfilter = PostFilter.from_bytes(bytes(table), (12, 12))
        assert filtered(postfilter, codes).shape == (2, 12, 12, 3)


# Files


FRAMES = 12


def grainy(frames=FRAMES):
    """Pictures in the colours that the model knows, with noise of few levels."""
    noise = np.random.default_rng(0)
    shown = [screen(number).astype(int) for number in range(frames)]
    return [(rgb + noise.integers(-6, 7, rgb.shape)).clip(0, 255).astype(np.uint8) for rgb in shown]


HEIGHT, WIDTH = screen(0).shape[:2]


def darkening():
    """A post-filter that makes everything darker by 5 levels: a correction for every code by itself."""
    codes = np.arange(256, dtype=np.uint8)[None]
    keys = np.unique(NEIGHBOURHOODS[0].keys(with_border(codes), np.zeros(256, np.intp), np.arange(256)))
    nothing = Entries(np.empty(0, np.int32), np.empty((0, 3), np.int8))
    every = Entries(keys, np.full((len(keys), 3), -5, np.int8))
    return PostFilter([every, *[nothing] * (len(NEIGHBOURHOODS) - 1)], (HEIGHT, WIDTH))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of noisy footage whose post-filter has effects that can be foreseen."""
    path = tmp_path_factory.mktemp("home") / "darker.pacmodel"
    path.write_bytes(filter_model(COLOURS, darkening()))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clips") / "grainy.mkv", grainy())


@pytest.fixture(scope="module")
def coded(clip, model):
    target = clip.with_suffix(".pac")
    pacodec.encode(str(clip), str(target), model=str(model), gop_seconds=0.2)
    return target


def decoded(path, model, **options):
    with pacodec.Decoder(path, model=str(model), **options) as video:
        return np.stack(list(video))


@pytest.mark.parametrize("quality", [1, 2, 3, 4, 5])
def test_every_quality_is_filtered(quality, clip, model, tmp_path):
    target = tmp_path / "out.pac"
    result = cli("encode", clip, target, "-m", model, "-q", quality, "--verify", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["transform"] == "filtered"
    with pacodec.open(target, model=str(model)) as video:
        assert video.metadata.transform == "filtered"
        codes = np.stack([video.codes(number) for number in range(FRAMES)])
        shown = np.stack(list(video))
    assert np.array_equal(shown, np.maximum(COLOURS[codes[:, 0]].astype(int) - 5, 0))
    assert pacodec.verify(target, model=str(model)) == []


def test_lossless_is_exact_and_not_filtered(clip, model, tmp_path):
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), lossless=True, verify=True)
    assert report.transform in ("palette", "shades")
    assert np.array_equal(decoded(tmp_path / "out.pac", model), grainy())


@pytest.mark.parametrize(("least", "transforms"), [(25, {"filtered"}), (45, {"palette"}), (95, {"palette", "shades"})])
def test_the_least_psnr_is_reached_with_it_or_without(least, transforms, clip, model, tmp_path):
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), quality=1, min_psnr=least)
    assert report.psnr >= least
    assert report.transform in transforms


def test_the_psnr_is_that_of_filtered_pictures(clip, model, tmp_path):
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), min_psnr=1)
    error = np.square(decoded(tmp_path / "out.pac", model).astype(float) - grainy()).mean((1, 2, 3))
    assert report.psnr == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=0.01)
    assert report.psnr_low == pytest.approx(10 * np.log10(255**2 / error.max()), abs=0.01)


def test_pictures_come_back_in_any_order_and_by_any_number_of_threads(coded, model):
    shown = decoded(coded, model)
    with pacodec.Decoder(coded, model=str(model)) as video:
        for number in (9, 3, 4, 11, 0, 10, 5, 9):
            assert np.array_equal(video[number], shown[number])
        assert np.array_equal(np.stack(video[3:11]), shown[3:11])
    assert np.array_equal(decoded(coded, model, jobs=2), shown)


def test_the_command_line_decodes_it(coded, model, tmp_path):
    result = cli("decode", coded, tmp_path / "out.mkv", "-m", model, "--lossless")
    assert result.exit_code == 0, result.stderr
    report = pacodec.encode(str(tmp_path / "out.mkv"), str(tmp_path / "again.pac"), lossless=True)
    assert report.frames == FRAMES
    with pacodec.open(tmp_path / "again.pac") as video:
        assert np.array_equal(np.stack(list(video)), decoded(coded, model))


def test_info_names_it_without_the_model(coded):
    found = json.loads(cli("info", coded, "--json").stdout)
    assert (found["transform"], found["quantizer"], found["model"]) == ("filtered", "palette", "darker")


def test_without_the_model_there_are_no_pictures(coded, tmp_path):
    result = cli("decode", coded, tmp_path / "out.mkv")
    assert result.exit_code == 4
    assert "the model darker (sha256 " in result.stderr


@pytest.mark.parametrize("noise", [0, None])
def test_a_model_of_clean_footage_filters_nothing(noise, clip, tmp_path):
    model = filter_model(COLOURS, darkening(), noise)
    (tmp_path / "clean.pacmodel").write_bytes(model)
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(tmp_path / "clean.pacmodel"))
    assert report.transform == "palette"


def test_a_model_of_noisy_footage_may_have_no_post_filter(clip, tmp_path):
    (tmp_path / "old.pacmodel").write_bytes(recording_model(COLOURS, noise=8))
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(tmp_path / "old.pacmodel"))
    assert report.transform == "palette"


@pytest.mark.parametrize(
    "fault",
    [
        {"arrays": {"postfilter": np.zeros(9, np.uint8)}},
        {"arrays": {"postfilter": np.zeros((3, 3), np.uint8)}},
        {"arrays": {"postfilter": np.frombuffer(table_of(), np.uint8)}},
        {"grid": None},
    ],
)
def test_encoding_by_a_model_whose_post_filter_is_malformed(fault, clip, tmp_path):
    whole = {"arrays": {"postfilter": np.frombuffer(darkening().to_bytes(), np.uint8)}, "grid": [1, HEIGHT, WIDTH]}
    (tmp_path / "odd.pacmodel").write_bytes(recording_model(COLOURS, noise=8, **(whole | fault)))
    result = cli("encode", clip, tmp_path / "out.pac", "-m", tmp_path / "odd.pacmodel")
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert "odd" in line or "post" in line
    assert not (tmp_path / "out.pac").exists()


def test_a_random_post_filter_end_to_end(clip, model, tmp_path):
    """What a file's pictures are, computed plainly."""
    pacodec.encode(str(clip), str(tmp_path / "first.pac"), model=str(model))
    with pacodec.open(tmp_path / "first.pac", model=str(model)) as video:
        wild = make_filter(np.stack([video.codes(number)[0] for number in range(FRAMES)]))
    (tmp_path / "wild.pacmodel").write_bytes(filter_model(COLOURS, wild))
    pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(tmp_path / "wild.pacmodel"))
    with pacodec.open(tmp_path / "out.pac", model=str(tmp_path / "wild.pacmodel")) as video:
        codes = [video.codes(number)[0] for number in range(FRAMES)]
    shown = decoded(tmp_path / "out.pac", tmp_path / "wild.pacmodel")
    table = wild.to_bytes()
    for number in (0, FRAMES - 1):
        plain = plainly_filtered(table, (HEIGHT, WIDTH), codes[number], COLOURS[codes[number]])
        assert np.array_equal(shown[number], plain)
