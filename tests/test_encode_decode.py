"""The way of a clip through the codec: what goes in comes out, with its times, its sound and its tags."""

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from clips import VARIANTS, Clip, make_clip, psnr
from conftest import TINY, cli, colourful, make_model, make_video, screen

import pacodec
from pacodec.errors import CorruptFileError, ModelError, QualityError, UsageError
from pacodec.gop.grid_transforms import latent_grids
from pacodec.models.files import ModelFile
from pacodec.models.library import MODEL_FOLDER_VARIABLE

SMALL = {"width": 16, "height": 12}
KEPT = ["width", "height", "pixel_aspect", "rotation"]


def through(tmp_path, source, target="out.mp4", *, decoding=None, **encoding):
    """Encode and decode again; the report, and what is in the file that came out."""
    coded = tmp_path / "coded.pac"
    report = pacodec.encode(str(source), str(coded), overwrite=True, **encoding)
    pacodec.decode(str(coded), str(tmp_path / target), overwrite=True, **(decoding or {}))
    return report, Clip(tmp_path / target)


# --- what must survive ---


@pytest.mark.parametrize("name", VARIANTS)
def test_lossless_keeps_every_pixel_and_all_that_the_file_says(name, tmp_path):
    make_clip(tmp_path / "in.mp4", **{**SMALL, **VARIANTS[name]})
    source = Clip(tmp_path / "in.mp4")
    report, copy = through(tmp_path, tmp_path / "in.mp4", lossless=True, decoding={"lossless": True})
    assert (report.frames, report.psnr, report.warnings) == (len(source.frames), 100, source.warnings)
    np.testing.assert_array_equal(copy.pictures, source.pictures)
    assert copy.times == source.times
    # FFmpeg's average of a variable rate depends on the decoding times, which B-frames change.
    for field in KEPT if "variable" in name else [*KEPT, "frame_rate"]:
        assert getattr(copy.format, field) == getattr(source.format, field), field
    with pacodec.open(tmp_path / "coded.pac") as video:
        np.testing.assert_array_equal(video[:], source.pictures)
        np.testing.assert_allclose(video.times(), [float(pts) for pts, _ in source.times])


@pytest.mark.parametrize(
    "name", ["bt709 full", "bt601", "bt2020 pq", "turned", "wide pixels", "late start", "odd size"]
)
def test_h264_output_has_the_colours_and_tags_of_the_source(name, tmp_path):
    make_clip(tmp_path / "in.mp4", **{"width": 32, "height": 24, "frames": 4, **VARIANTS[name]})
    source = Clip(tmp_path / "in.mp4")
    _, copy = through(tmp_path, tmp_path / "in.mp4", quality=5, decoding={"crf": 4})
    assert copy.times == source.times
    for field in [*KEPT, "color"]:
        assert getattr(copy.format, field) == getattr(source.format, field), field
    assert min(psnr(a, b) for a, b in zip(source.pictures, copy.pictures, strict=True)) > 33


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.mp4", {"audio": "aac"}),
        ("in.mp4", {"audio": "flac", "times": [40_001, 40_513, 41_025], "audio_start": 100_000}),
        ("in.mov", {"audio": "pcm_s16le"}),
        ("in.mkv", {"audio": "flac"}),
    ],
)
@pytest.mark.parametrize("gop_seconds", [10, 0.2])
def test_audio_packets_come_back_bit_for_bit(name, options, gop_seconds, tmp_path):
    make_clip(tmp_path / name, **{**SMALL, "frames": 30, "codec": "libx264rgb", "pixel_format": "rgb24", **options})
    source = Clip(tmp_path / name)
    assert len(source.sound) > 10
    _, copy = through(tmp_path, tmp_path / name, f"out{name[2:]}", quality=1, gop_seconds=gop_seconds)
    assert copy.sound == source.sound
    assert copy.format.audio == source.format.audio
    assert [pts for pts, _ in copy.times] == [pts for pts, _ in source.times]


def test_audio_can_be_left_out_on_either_way(tmp_path):
    make_clip(tmp_path / "in.mp4", **SMALL, frames=5, audio="aac")
    _, copy = through(tmp_path, tmp_path / "in.mp4", quality=1, audio=False)
    assert (copy.format.audio, copy.sound, len(copy.frames)) == ((), [], 5)
    assert pacodec.info(tmp_path / "coded.pac").audio_tracks == 0
    _, copy = through(tmp_path, tmp_path / "in.mp4", quality=1, decoding={"audio": False})
    assert (copy.format.audio, copy.sound, len(copy.frames)) == ((), [], 5)
    assert pacodec.info(tmp_path / "coded.pac").audio_tracks == 1


def test_sound_in_another_container_than_the_source(tmp_path):
    make_clip(tmp_path / "in.mkv", **SMALL, frames=25, audio="aac")
    source = Clip(tmp_path / "in.mkv")
    _, copy = through(tmp_path, tmp_path / "in.mkv", "out.mp4", quality=1)
    assert [data for *_, data in copy.sound] == [data for *_, data in source.sound]


# --- parts of a clip ---


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, range(24)),
        (0.2, 0.4, range(5, 10)),
        (0.12, 0.28, range(3, 7)),
        (0.21, 0.41, range(5, 11)),
        (0.5, None, range(12, 24)),
        (0, 0.04, range(1)),
        (0.9, 99, range(22, 24)),
    ],
)
def test_decode_cuts_out_a_time_range(start, end, expected, screens, screens_pac, tmp_path):
    target = tmp_path / "out.mp4"
    report = pacodec.decode(str(screens_pac), str(target), start=start, end=end, lossless=True)
    clip = Clip(target)
    assert report.frames == len(expected)
    np.testing.assert_array_equal(clip.pictures, [screen(n) for n in expected])
    assert [pts for pts, _ in clip.times] == [Fraction(n, 25) for n in range(len(expected))]


def test_a_cut_has_the_sound_of_its_pictures(tmp_path):
    make_clip(tmp_path / "in.mp4", **SMALL, frames=25, audio="flac")
    source = Clip(tmp_path / "in.mp4")
    _, cut = through(tmp_path, tmp_path / "in.mp4", quality=1, decoding={"start": 0.4, "end": 0.8})
    kept = [packet for packet in source.sound if Fraction(2, 5) <= packet[1] < Fraction(4, 5)]
    assert [packet[-1] for packet in cut.sound] == [packet[-1] for packet in kept]
    assert [packet[1] for packet in cut.sound] == [packet[1] - Fraction(2, 5) for packet in kept]


@pytest.mark.parametrize(
    "range_",
    [
        {"start": -1},
        {"start": 2, "end": 2},
        {"start": 3, "end": 1},
        {"start": float("nan")},
        {"start": float("inf")},
        {"end": float("nan")},
        {"end": float("inf")},
    ],
)
def test_time_ranges_that_are_none(range_, screens_pac, tmp_path):
    with pytest.raises(UsageError):
        pacodec.decode(str(screens_pac), str(tmp_path / "out.mp4"), **range_)
    assert not list(tmp_path.iterdir())


def test_a_time_range_after_the_end_is_an_error(screens_pac, tmp_path):
    with pytest.raises(CorruptFileError, match=r"no frame in that time range"):
        pacodec.decode(str(screens_pac), str(tmp_path / "out.mp4"), start=10)
    assert not list(tmp_path.iterdir())


# --- GOPs, repeats, jobs, coders ---


@pytest.mark.parametrize(("seconds", "gops"), [(10, 1), (0.4, 3), (0.5, 2), (0.04, 24), (1e-9, 24)])
def test_gop_length(seconds, gops, screens, tmp_path):
    report = pacodec.encode(str(screens), str(tmp_path / "out.pac"), gop_seconds=seconds)
    assert report.gops == pacodec.info(tmp_path / "out.pac").gops == gops
    with pacodec.open(tmp_path / "out.pac") as video:
        np.testing.assert_array_equal(video[:], [screen(n) for n in range(24)])


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_gop_lengths_that_are_none(seconds, screens, tmp_path):
    with pytest.raises(UsageError, match="GOP"):
        pacodec.encode(str(screens), str(tmp_path / "out.pac"), gop_seconds=seconds)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [None, "conv5"])
def test_identical_frames_cost_a_flag(model, zoo, tmp_path):
    sizes = {}
    for still in (1, 400):
        pictures = [screen(0), *[screen(1)] * still, screen(2)]
        make_video(tmp_path / "in.mp4", pictures)
        chosen = str(zoo / f"{model}.pacmodel") if model else None
        report, copy = through(
            tmp_path,
            tmp_path / "in.mp4",
            gop_seconds=20,
            model=chosen,
            decoding={"model": chosen, "lossless": True},
        )
        assert (report.frames, report.repeats) == (still + 2, still - 1)
        assert len(copy.frames) == still + 2
        if model is None:
            np.testing.assert_array_equal(copy.pictures, pictures)
        assert all(np.array_equal(rgb, copy.pictures[1]) for rgb in copy.pictures[2:-1])
        sizes[still] = report.bytes
    assert sizes[400] - sizes[1] < 399 / 8 + 20


@pytest.mark.parametrize("model", [None, "vanilla-500"])
def test_bytes_do_not_depend_on_the_number_of_jobs(model, screens, zoo, tmp_path):
    files = []
    for jobs in (1, 3):
        target = tmp_path / f"{jobs}.pac"
        chosen = str(zoo / f"{model}.pacmodel") if model else None
        pacodec.encode(str(screens), str(target), gop_seconds=0.12, jobs=jobs, model=chosen)
        files.append(target.read_bytes())
    assert files[0] == files[1]
    decoded = []
    for jobs in (1, 3):
        chosen = str(zoo / f"{model}.pacmodel") if model else None
        options = {"jobs": jobs, "model": chosen, "lossless": True}
        pacodec.decode(str(target), str(tmp_path / f"{jobs}.mp4"), **options)
        decoded.append(Clip(tmp_path / f"{jobs}.mp4").pictures)
    np.testing.assert_array_equal(*decoded)


@pytest.mark.parametrize("model", [None, "conv4"])
def test_coders_give_the_same_codes(model, screens, zoo, tmp_path):
    chosen = str(zoo / f"{model}.pacmodel") if model else None
    codes = []
    for coder in ("none", "engine"):
        target = tmp_path / f"{coder}.pac"
        report = pacodec.encode(str(screens), str(target), model=chosen, coder=coder, effort=1, verify=True)
        assert report.coders == pacodec.info(target).coders == {coder: report.gops}
        with pacodec.open(target) as video:
            codes.append([video.codes(i) for i in range(len(video))])
    np.testing.assert_array_equal(*codes)


def test_the_smaller_coder_is_taken(screens, tmp_path):
    sizes = {}
    for coder in ("none", "engine", None):
        sizes[coder] = pacodec.encode(str(screens), str(tmp_path / f"{coder}.pac"), coder=coder, effort=1).bytes
    assert sizes[None] <= min(sizes["none"], sizes["engine"])


def test_an_unknown_coder(screens, tmp_path):
    with pytest.raises(UsageError, match="oracle"):
        pacodec.encode(str(screens), str(tmp_path / "out.pac"), coder="oracle")
    assert not list(tmp_path.iterdir())


# --- choice and quality ---


def test_flat_footage_gets_a_palette(screens, zoo, monkeypatch, tmp_path):
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(zoo))
    report = pacodec.encode(str(screens), str(tmp_path / "out.pac"))
    assert (report.transform, report.model, report.psnr) == ("palette", None, 100)
    assert "all of it has 17 colours" in report.reason
    assert pacodec.info(tmp_path / "out.pac").model is None


def test_a_quantizer_gets_the_best_of_the_installed_autoencoders(monkeypatch, tmp_path):
    pictures = colourful(12)
    source = make_video(tmp_path / "in.mp4", pictures)
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(folder))
    make_model(folder / "random.pacmodel", "conv5", {})
    make_model(folder / "fitted.pacmodel", "vanilla-500", TINY["vanilla-500"], like=pictures)
    (folder / "broken.pacmodel").write_text("not a model")
    best = pacodec.encode(str(source), str(tmp_path / "best.pac"), quantizer="scale")
    assert (best.transform, best.model) == ("vanilla-500", "fitted")
    assert "fitted" in best.reason


def test_footage_unlike_a_models_is_said_so(screens, tmp_path):
    model = make_model(tmp_path / "fitted.pacmodel", "vanilla-500", TINY["vanilla-500"], like=colourful(12))
    report = pacodec.encode(str(screens), str(tmp_path / "out.pac"), model=str(model))
    assert len(report.warnings) == 1
    assert "usual range of fitted" in report.warnings[0]
    assert "pacodec train" in report.warnings[0]
    like = make_video(tmp_path / "like.mp4", colourful(12))
    assert pacodec.encode(str(like), str(tmp_path / "like.pac"), model=str(model)).warnings == []


def test_each_quality_is_larger_and_better_than_the_one_below(tmp_path):
    source = make_video(tmp_path / "in.mp4", colourful(6))
    reports = [
        pacodec.encode(str(source), str(tmp_path / f"{quality}.pac"), quality=quality, coder="engine")
        for quality in (1, 2, 3, 4, 5)
    ]
    reports.append(pacodec.encode(str(source), str(tmp_path / "lossless.pac"), lossless=True, coder="engine"))
    for lower, higher in itertools.pairwise(reports):
        assert lower.bytes < higher.bytes
        assert lower.psnr < higher.psnr
    assert reports[-1].psnr == 100


def test_each_quality_of_a_model_is_no_smaller_than_the_one_below(tmp_path):
    source = make_video(tmp_path / "in.mp4", colourful(12))
    model = make_model(tmp_path / "fitted.pacmodel", "vanilla-500", TINY["vanilla-500"], like=colourful(12))
    reports = [
        pacodec.encode(str(source), str(tmp_path / f"{quality}.pac"), model=str(model), quality=quality)
        for quality in (1, 2, 3, 4, 5)
    ]
    assert all(a.bytes <= b.bytes for a, b in itertools.pairwise(reports))
    assert reports[0].bytes < reports[-1].bytes
    assert reports[0].psnr < reports[-1].psnr


@pytest.mark.parametrize("options", [{"coder": "engine", "gop_seconds": 0.2}, {"coder": "none"}, {}])
def test_the_reported_psnr_counts_every_frame_as_often_as_it_is_shown(options, tmp_path):
    still, *moving = colourful(4)
    shown = [still] * 7 + [moving[0], moving[1], moving[1], moving[2]]
    source, target = make_video(tmp_path / "in.mp4", shown), tmp_path / "out.pac"
    result = cli("encode", source, target, "-q", 1, "--json", *command_line(options))
    report = json.loads(result.stdout)
    with pacodec.open(target) as video:
        errors = np.square(np.float64(shown) - video[:]).mean((1, 2, 3))
    assert report["psnr"] == pytest.approx(10 * np.log10(255**2 / errors.mean()), abs=1e-6)
    assert report["psnr_low"] == pytest.approx(10 * np.log10(255**2 / errors.max()), abs=1e-6)
    assert (report["psnr_frames"], report["repeats"] >= 6) == (len(shown), True)
    printed = cli("encode", source, target, "-q", 1, "-y", *command_line(options)).stderr
    assert f"{report['psnr']:.2f} dB PSNR in RGB (worst frame {report['psnr_low']:.2f} dB" in printed


def command_line(options):
    return [text for name, value in options.items() for text in (f"--{name.removesuffix('_seconds')}", value)]


def test_min_psnr_raises_the_quality_until_every_frame_was_measured_and_it_is_kept(tmp_path):
    source = make_video(tmp_path / "in.mp4", colourful(6))
    plain = pacodec.encode(str(source), str(tmp_path / "plain.pac"), quality=1, coder="engine")
    kept = pacodec.encode(str(source), str(tmp_path / "kept.pac"), quality=1, min_psnr=plain.psnr + 4, coder="engine")
    assert plain.psnr + 4 <= kept.psnr < 100
    assert kept.psnr_frames == 6
    exact = pacodec.encode(str(source), str(tmp_path / "exact.pac"), min_psnr=90, coder="engine")
    assert exact.psnr == 100


def test_min_psnr_holds_for_what_the_sample_did_not_show(tmp_path):
    # A few frames are noise: the sample of 16 does not see it, the palette of the rest does not fit it.
    rng = np.random.default_rng(2)
    pictures = [screen(n % 5, 32, 24) for n in range(100)]
    for n in range(50, 70, 2):
        pictures[n] = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    source = make_video(tmp_path / "in.mp4", pictures)
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"), min_psnr=99)
    assert report.psnr >= 99


def test_min_psnr_out_of_reach_is_an_error_and_leaves_nothing(zoo, tmp_path):
    source = make_video(tmp_path / "in.mp4", colourful(3))
    for options in ({"model": str(zoo / "conv5.pacmodel"), "min_psnr": 40}, {"min_psnr": 101}):
        with pytest.raises(QualityError, match="dB"):
            pacodec.encode(str(source), str(tmp_path / "out.pac"), **options)
        assert not (tmp_path / "out.pac").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 0},
        {"quality": 6},
        {"lossless": True, "quality": 5},
        {"lossless": True, "quantizer": "scale"},
        {"quantizer": "vector"},
    ],
)
def test_wishes_that_make_no_sense(options, screens, tmp_path):
    with pytest.raises(UsageError):
        pacodec.encode(str(screens), str(tmp_path / "out.pac"), **options)
    assert not list(tmp_path.iterdir())


# --- every model and every quantizer ---


@pytest.mark.parametrize(
    ("arch", "quantizer"),
    [*((arch, "scale") for arch in TINY), *itertools.product(["conv4", "vanilla-500"], ["none", "naive", "kmeans"])],
)
def test_every_model_and_every_quantizer(arch, quantizer, zoo, monkeypatch, tmp_path):
    pictures = [screen(n, 40, 26) for n in (0, 1, 1, 2)]
    source, coded, target = make_video(tmp_path / "in.mp4", pictures), tmp_path / "a.pac", tmp_path / "out.mp4"
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(zoo))
    report = pacodec.encode(str(source), str(coded), model=arch, quantizer=quantizer, verify=True)
    assert (report.frames, report.repeats, report.model, report.quantizer) == (4, 1, arch, quantizer)
    found = pacodec.info(coded)
    model = ModelFile.read(zoo / f"{arch}.pacmodel")
    assert (found.model, found.model_sha256, found.transform) == (arch, model.sha256.hex(), arch)
    assert (found.quantizer, found.frames, found.bytes) == (quantizer, 4, coded.stat().st_size)
    assert pacodec.verify(coded) == []

    coder = latent_grids(model, quantizer, 26, 40)
    latents = coder.analyse(np.stack([pictures[0], pictures[1], pictures[3]]))
    assert latents.min() >= 0
    assert latents.max() <= 1
    parameters = coder.fit(latents)
    expected = coder.quantize(latents, parameters)
    rebuilt = coder.decode(expected, {}, parameters)
    with pacodec.open(coded) as video:
        np.testing.assert_array_equal([video.codes(i) for i in (0, 1, 3)], expected)
        np.testing.assert_array_equal(video.codes(2), video.codes(1))
        assert max(np.abs(video[i].astype(int) - rgb).max() for i, rgb in zip((0, 1, 3), rebuilt, strict=True)) <= 1

    assert pacodec.decode(str(coded), str(target), lossless=True).frames == 4
    assert [rgb.shape for rgb in Clip(target).pictures] == [(26, 40, 3)] * 4


def test_an_embedded_model_needs_no_other(screens, zoo, tmp_path):
    coded, model = tmp_path / "a.pac", zoo / "conv4.pacmodel"
    report = pacodec.encode(str(screens), str(coded), model=str(model), embed_model=True)
    assert pacodec.info(coded).sizes["model"] > model.stat().st_size
    assert report.bytes > model.stat().st_size
    assert pacodec.decode(str(coded), str(tmp_path / "out.mp4")).frames == 24


def test_a_missing_or_another_model(screens, zoo, monkeypatch, tmp_path):
    coded = tmp_path / "a.pac"
    pacodec.encode(str(screens), str(coded), model=str(zoo / "conv4.pacmodel"))
    assert pacodec.verify(coded) == []
    for given in (None, str(zoo / "conv5.pacmodel"), "conv4", str(tmp_path / "none.pacmodel")):
        with pytest.raises(ModelError):
            pacodec.decode(str(coded), str(tmp_path / "out.mp4"), model=given)
        with pacodec.open(coded, model=given) as video:
            assert (len(video), video.codes(3).dtype) == (24, np.uint8)
            with pytest.raises(ModelError):
                video[3]
    assert not (tmp_path / "out.mp4").exists()

    # Another model of the same name is not taken for it, and one of another name but the same contents is.
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(folder))
    (folder / "conv4.pacmodel").write_bytes((zoo / "conv5.pacmodel").read_bytes())
    with pytest.raises(ModelError, match="another"):
        pacodec.decode(str(coded), str(tmp_path / "out.mp4"))
    (folder / "renamed.pacmodel").write_bytes((zoo / "conv4.pacmodel").read_bytes())
    assert pacodec.decode(str(coded), str(tmp_path / "out.mp4")).frames == 24
