"""The parts of a comparison: frames, metrics, codecs, curves against curves."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import make_video
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pacodec.base_layer.encoders import LADDER
from pacodec.common.metrics import psnr
from pacodec.errors import CorruptFileError, ModelError, PacodecError, UsageError
from pacodec.evaluation.bd_rate import bd_rate, break_even, equal_psnr, front, rate_at
from pacodec.evaluation.clips import Clip, prepare
from pacodec.evaluation.codecs import DifferencesCodec, WebpCodec
from pacodec.evaluation.curves import (
    PEERS,
    Curve,
    Setting,
    available,
    chosen_peers,
    default_families,
    pacodec_curve,
    peer_curve,
)
from pacodec.evaluation.matrix import Cache, CodingTask, Matrix, Measurement, describe, key_of
from pacodec.evaluation.quality import Planes, Quality, better_chroma, measure
from pacodec.evaluation.results import BdRate, ClipResult, CurveResult, EqualPsnr, Evaluation, Point
from pacodec.evaluation.tables import Table, clip_tables, tables
from pacodec.evaluation.viewer import frames_to_show, matching
from pacodec.evaluation.worker import codec_of

WIDTH, HEIGHT, FRAMES = 64, 48, 6


def moving(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    """Coloured noise, smoothed, that moves two pixels a frame."""
    noise = np.random.default_rng(3).uniform(0, 255, (height // 4, (width + 2 * frames) // 4, 3))
    large = np.repeat(np.repeat(noise, 4, 0), 4, 1)
    return [large[:, 2 * n : 2 * n + width].astype(np.uint8) for n in range(frames)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("clip")
    return prepare(str(make_video(folder / "in.mp4", moving())), folder)


def point(size: int, value: float, model_bytes: int = 0) -> Point:
    """A point of a clip of one second whose frames all have that PSNR."""
    error = 255**2 / 10 ** (value / 10) if np.isfinite(value) else 0.0
    return Point(
        "", size * 8 / 1000, Measurement(size, {"model_bytes": model_bytes}, Quality([error], [1.0], [1.0]), Path())
    )


def curve(sizes: list[int], values: list[float]) -> list[Point]:
    return [point(size, value) for size, value in zip(sizes, values, strict=True)]


# Frames


def test_a_clip_holds_the_frames_of_the_video_twice(clip: Clip) -> None:
    assert (clip.frames, clip.width, clip.height, clip.rate) == (FRAMES, WIDTH, HEIGHT, 25)
    assert np.array_equal(clip.pictures(), np.stack(moving()))
    assert np.array_equal(np.stack(list(clip.stream())), np.stack(moving()))
    with av.open(str(clip.video)) as video:
        assert np.array_equal(np.stack([f.to_ndarray(format="rgb24") for f in video.decode(video=0)]), moving())
    assert clip.kbps(1000) == pytest.approx(1000 * 8 / 1000 / (FRAMES / 25))
    assert Clip.from_dict(clip.to_dict()) == clip


def test_a_clip_can_be_cut_and_resized_and_is_named_by_its_content(clip: Clip, tmp_path: Path) -> None:
    cut = prepare(str(clip.video), tmp_path, frames=4)
    assert cut.frames == 4
    assert cut.sha256 != clip.sha256
    small = prepare(str(clip.video), tmp_path, size=(32, 24))
    assert small.pictures().shape == (FRAMES, 24, 32, 3)
    assert abs(small.pictures().astype(int).mean() - clip.pictures().mean()) < 2
    assert prepare(str(clip.video), tmp_path).sha256 == clip.sha256


def test_a_damaged_clip_is_refused(clip: Clip, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    data = bytearray(clip.video.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    broken.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"broken\.mp4"):
        prepare(str(broken), tmp_path)


@pytest.mark.parametrize("chroma", ["nearest", "bicubic"])
def test_peers_get_the_chroma_conversion_that_costs_them_less(chroma, clip: Clip) -> None:
    planes = Planes("yuv420p", chroma)
    made = np.stack([planes.to_rgb(planes.to_frame(rgb)) for rgb in clip.pictures()])
    assert better_chroma("yuv420p", made) == chroma


# Metrics


def test_metrics_of_equal_frames() -> None:
    found = measure(moving(), moving())
    assert found.exact
    assert found.exact
    assert found.ssim == found.ms_ssim == [1.0] * FRAMES


def test_similarity_of_every_third_frame() -> None:
    decoded = [frame if n % 3 == 0 else 255 - frame for n, frame in enumerate(moving())]
    assert measure(moving(), decoded, stride=3).ssim == [1.0, 1.0]
    assert len(measure(moving(), decoded, stride=3).squared_error) == FRAMES


def test_two_kinds_of_psnr() -> None:
    originals = np.full((2, 16, 16, 3), 100, np.uint8)
    decoded = originals.copy()
    decoded[0] += 1
    decoded[1] += 10
    found = measure(originals, decoded)
    assert found.squared_error == [1, 100]
    assert found.psnr == pytest.approx(float(psnr(originals, decoded).mean()))
    assert found.distortion.psnr == pytest.approx(10 * np.log10(255**2 / 50.5))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100), height=st.integers(1, 40), width=st.integers(1, 40))
@example(seed=29, height=1, width=1)
def test_more_noise_is_worse_at_any_size(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    original = rng.integers(60, 196, (height, width, 3), np.uint8)
    noise = rng.choice([-1.0, 1.0], original.shape)
    little, much = (measure([original], [(original + s * noise).astype(np.uint8)]) for s in (2, 50))
    assert little.psnr > much.psnr
    assert 1 >= little.ssim[0] > much.ssim[0]
    assert 1 >= little.ms_ssim[0] >= much.ms_ssim[0] >= 0


def test_ssim_is_what_its_definition_gives() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 11, 11, 3), np.uint8)
    axis = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis)[..., None] / axis.sum() ** 2  # one window fits
    mean_a, mean_b = ((window * x).sum((0, 1)) for x in (a, b))
    var_a, var_b = ((window * x.astype(float) ** 2).sum((0, 1)) - m**2 for x, m in ((a, mean_a), (b, mean_b)))
    both = (window * a * b.astype(float)).sum((0, 1)) - mean_a * mean_b
    c1, c2 = 6.5025, 58.5225
    expected = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    assert measure([a], [b]).ssim == pytest.approx([expected.mean()], abs=1e-4)


@pytest.mark.parametrize("decoded", [moving(FRAMES - 1), moving(FRAMES + 1), moving(width=WIDTH - 4)])
def test_frames_that_do_not_match_are_no_measurement(decoded) -> None:
    with pytest.raises(ValueError, match=r"shape|argument"):
        measure(moving(), decoded)


# Codecs


@pytest.mark.parametrize("peer", [p for p in PEERS if p.rates], ids=lambda p: p.name)
def test_a_peer_keeps_every_frame_and_its_rates_go_from_good_to_small(peer, clip: Clip) -> None:
    if not available(peer.family):
        pytest.skip(f"{peer.family} is not on the PATH")
    assert len(peer.rates) >= 5
    found = []
    for rate in (peer.rates[0], peer.rates[-1]):
        codec = codec_of(describe(peer.codec(rate, "nearest")))
        coded = codec.encode(clip)
        found.append((coded.size, measure(clip.stream(), codec.decode(clip, coded.packets)).psnr))
    assert found[0][0] > found[1][0]
    assert found[0][1] > found[1][1] > 15


@pytest.mark.parametrize("peer", [p for p in PEERS if p.lossless], ids=lambda p: p.name)
def test_lossless_is_lossless(peer, clip: Clip) -> None:
    if not available(peer.family):
        pytest.skip(f"{peer.family} is not on the PATH")
    codec = codec_of(describe(peer.lossless))
    coded = codec.encode(clip)
    assert measure(clip.stream(), codec.decode(clip, coded.packets)).exact
    assert 0 < coded.size < clip.pictures().nbytes


def test_the_base_layer_is_a_codec_of_its_own(clip: Clip) -> None:
    settings = peer_curve(chosen_peers(["base-layer"])[0], clip).settings
    assert [setting.label for setting in settings] == [f"quality {n}" for n in (5, 4, 3, 2, 1)]
    coded = settings[2].codec.encode(clip)
    assert coded.notes["codec"] in ("av1", "h264")
    found = measure(clip.stream(), settings[2].codec.decode(clip, coded.packets)).distortion
    assert found.psnr == pytest.approx(LADDER[3], abs=1)


def test_webp_shows_frames_that_repeat_as_often(tmp_path: Path) -> None:
    first, second = moving(2)
    for pictures in ([first] * 3, [first, second, second, first, second]):
        clip = prepare(str(make_video(tmp_path / "in.mp4", pictures)), tmp_path)
        codec = WebpCodec()
        decoded = list(codec.decode(clip, codec.encode(clip).packets))
        assert np.array_equal(decoded, pictures)


def test_peers_by_family() -> None:
    assert {peer.name for peer in chosen_peers(["x264", "vp9"])} == {
        "x264 4:4:4",
        "x264 4:2:0",
        "VP9 4:4:4",
        "VP9 4:2:0",
    }
    assert {"x264", "x265", "vp9", "svtav1", "x264rgb", "ffv1", "webp", "zstd", "base-layer"} <= set(default_families())
    with pytest.raises(UsageError, match=r"unknown peer 'h266'; known are base-layer, x264, .*svtav1"):
        chosen_peers(["h266"])


def test_aomenc_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "aomenc" not in default_families()
    with pytest.raises(UsageError, match="aomenc"):
        chosen_peers(["aomenc"])


# Curves


@given(factor=st.floats(0.2, 5), gap=st.floats(1, 4))
def test_bd_rate_of_a_curve_at_so_many_times_the_bytes(factor: float, gap: float) -> None:
    sizes, values = [2000, 4100, 7900, 16500, 31000], [30 + gap * n for n in range(5)]
    found = bd_rate(curve([round(size * factor) for size in sizes], values), curve(sizes, values))
    assert found.percent == pytest.approx(100 * (factor - 1), abs=0.5)
    assert (found.low, found.high) == pytest.approx((30, 30 + 4 * gap))


def test_bd_rate_refuses_curves_that_do_not_overlap() -> None:
    low, high = curve([100, 200, 300], [20, 22, 24]), curve([100, 200, 300], [40, 42, 44])
    assert bd_rate(low, high).percent is None
    assert bd_rate(low, high).reason == "too little in common: 20.0 to 24.0 dB and 40.0 to 44.0 dB"
    touching = curve([100, 200, 300], [23.9, 32, 40])
    assert bd_rate(low, touching).percent is None
    assert bd_rate(low, curve([100, 200], [20, 24])).reason == "under 3 lossy points"


def test_curves_without_a_bd_rate_are_compared_at_one_psnr() -> None:
    ours, narrow = curve([100, 200, 400], [28, 38, 48]), curve([400, 600, 800, 1600], [20, 24, 28.5, 30])
    found = bd_rate(ours, narrow)
    assert found.percent is None
    assert found.instead is not None
    assert found.instead.bound is None
    assert found.instead.psnr == pytest.approx(29)
    theirs = rate_at(narrow, 29)
    assert theirs is not None
    assert found.instead.percent == pytest.approx(100 * (0.8 * 2**0.1 / theirs - 1))
    assert json.loads(json.dumps(found.to_dict()))["instead"]["psnr"] == pytest.approx(29)
    (row,) = _bd_table(found).rows
    assert row[2] == "none"
    assert row[3].endswith(f"; {found.instead.percent:+.1f}% at 29.0 dB")


def test_curves_that_share_no_psnr_are_bounded() -> None:
    good, poor = curve([100, 200, 300], [40, 42, 44]), curve([250, 400, 500], [20, 25, 30])
    found = bd_rate(good, poor)
    assert found.instead == EqualPsnr(30, pytest.approx(-80), "at most")
    assert _bd_table(found).rows[0][3].endswith("; at most -80.0% at 30.0 dB")
    assert bd_rate(poor, good).instead == EqualPsnr(30, pytest.approx(400), "at least")
    worse_and_smaller = curve([20, 30, 40], [20, 25, 30])
    assert bd_rate(good, worse_and_smaller).instead is None
    assert bd_rate(worse_and_smaller, good).instead is None
    assert bd_rate(good, [point(100, np.inf)]).instead is None
    assert bd_rate(good, [point(400, 42)]).instead == EqualPsnr(42, pytest.approx(-50))


@given(
    sizes=st.lists(st.integers(10, 10**6), min_size=3, max_size=6, unique=True).map(sorted),
    low=st.floats(20, 50),
    step=st.floats(0.5, 3),
)
def test_at_one_psnr_the_two_directions_agree(sizes: list[int], low: float, step: float) -> None:
    one = curve(sizes, [low + step * n for n in range(len(sizes))])
    other = curve([300, 600, 900], [30, 35, 40])
    there, back = equal_psnr(one, other), equal_psnr(other, one)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert (1 + there.percent / 100) * (1 + back.percent / 100) == pytest.approx(1)
        assert there.psnr == pytest.approx(back.psnr)
        assert {there.bound, back.bound} in ({None}, {"at most", "at least"})


def _bd_table(found: BdRate) -> Table:
    clip = Clip("c", "", 25, 2, 2, Fraction(25), Path())
    return clip_tables(ClipResult(clip, [], {"ours": {"theirs": found}}))[1]


def test_many_clips_are_compared_at_the_quality_of_ours_and_without_loss() -> None:
    ours = CurveResult("ours", True, [point(2000, 30), point(3000, np.inf)], 0, None)
    lossy = CurveResult("lossy", False, [point(1000, 20), point(4000, 40)], 0, None)
    exact = CurveResult("exact", False, [point(5000, np.inf)], 0, None)
    clip = Clip("c", "", 25, 2, 2, Fraction(25), Path())
    table = tables(Evaluation([ClipResult(clip, [ours, lossy, exact], {})] * 2, {}))[-1]
    assert table.header[3:] == ("ours", "lossy", "exact")
    assert table.rows[:2] == [
        ["c", "25 of 2x2", "30.00", "2.0", "2.0", ""],
        ["c", "25 of 2x2", "exact", "3.0", "", "5.0"],
    ]


def test_the_front_has_no_point_that_another_beats() -> None:
    good = curve([100, 200, 300], [20, 25, 30])
    dominated = [point(250, 24), point(200, 23), point(400, 30)]
    assert front([*dominated, good[2], point(900, np.inf), good[0], good[1]]) == good


def test_rate_between_points() -> None:
    points = curve([100, 400], [20, 30])
    assert rate_at(points, 25) == pytest.approx(points[0].kbps * 2)
    assert rate_at(points, 20) == pytest.approx(points[0].kbps)
    assert rate_at(points, 31) is None
    assert rate_at(points[:1], 20) == pytest.approx(points[0].kbps)
    assert rate_at([], 20) is None


def test_break_even_against_the_best_peer() -> None:
    peers = [
        CurveResult("worse", False, curve([4000, 8000], [30, 40]), 0, None),
        CurveResult("best", False, [*curve([2000, 4000], [30, 40]), point(9000, np.inf)], 0, None),
    ]
    found = break_even(point(1000, 30, model_bytes=120_000), peers)
    assert (found.peer, found.peer_kbps, found.minutes) == (
        "best",
        pytest.approx(16),
        pytest.approx(2),
    )  # saves 1000 bytes a second
    assert break_even(point(1000, 30), peers).minutes == 0
    assert break_even(point(2500, 30), peers).minutes is None
    assert break_even(point(1000, 45), peers).peer is None
    exact = break_even(point(8000, np.inf, model_bytes=60_000), peers)
    assert (exact.peer, exact.minutes) == ("best", pytest.approx(1))


def test_a_peer_is_set_to_the_bytes_of_ours() -> None:
    def at(rate: int) -> Setting:
        return Setting(str(rate), DifferencesCodec())

    sizes = [1600, 800, 400, 200]
    found = [point(size, 30).measurement for size in sizes]
    wanted = {5000: "10", 1600: "10", 800: "20", 1131: "15", 283: "35", 200: "40", 1: "40"}
    assert {size: matching(at, (10, 20, 30, 40), found, size).label for size in wanted} == wanted


def test_an_autoencoder_has_a_point_for_every_quantizer_and_quality(zoo: Path) -> None:
    curve = pacodec_curve(str(zoo / "conv4.pacmodel"), "cpu")
    labels = [setting.label for setting in curve.settings]
    assert labels[:2] == ["none q4", "naive q4"]
    assert labels[2:] == [f"{name} q{quality}" for name in ("scale", "kmeans") for quality in (1, 2, 3, 4)]
    assert labels[curve.reference] == "scale q4"
    with pytest.raises(ModelError, match="nowhere"):
        pacodec_curve("nowhere", "cpu")


def test_a_model_s_bytes_are_counted_beside_the_file(zoo: Path, clip: Clip) -> None:
    model = zoo / "conv4.pacmodel"
    codec = pacodec_curve(str(model), "cpu").settings[1].codec
    coded = codec.encode(clip)
    assert coded.notes["model_bytes"] == model.stat().st_size
    assert coded.size == len(coded.packets[0])
    assert len(list(codec.decode(clip, coded.packets))) == FRAMES


def test_the_worst_frames_come_first_and_stand_apart() -> None:
    values = np.array([40.0, 30, 29, 31, 40, 40, 40, 35, 40, 40])
    shown = frames_to_show(values, apart=3)
    assert shown[:2] == [2, 7]
    assert len(shown) == len(set(shown))
    assert frames_to_show(np.array([50.0]), apart=30) == [0]


# Measuring


def task_of(clip: Clip, peer_name: str = "x264 4:4:4") -> CodingTask:
    peer = next(peer for peer in PEERS if peer.name == peer_name)
    setting = Setting("crf 23", peer.codec(23, "nearest"))
    return CodingTask(clip, Curve(peer.name, False, (setting,), 0), setting)


def test_speed_and_memory_are_those_of_the_codec_alone(clip: Clip, tmp_path: Path) -> None:
    ballast = np.ones(400 << 20, np.uint8)  # the measuring process's own memory must not count
    matrix, task = Matrix(Cache(tmp_path), 1, lambda *_: None), task_of(clip)
    (timing,) = matrix.time([task], matrix.measure([task]), repeats=2)
    assert len(timing.encode_seconds) == len(timing.decode_seconds) == 2
    assert all(0 < seconds < 10 for seconds in timing.encode_seconds + timing.decode_seconds)
    assert 10 << 20 < timing.decode_memory < 300 << 20 < ballast.nbytes
    assert 10 << 20 < timing.encode_memory < 300 << 20


def test_results_are_kept_by_content(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, cache = task_of(clip), Cache(tmp_path)
    first = Matrix(cache, 1, lambda *_: None).measure([task])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert Matrix(cache, 1, lambda *_: None).measure([task]) == first
    other = task_of(clip, "x264 4:2:0")
    assert key_of(clip, other.setting.codec) != task.key
    with pytest.raises(PacodecError, match="x264 4:2:0 crf 23: the measurement failed"):
        Matrix(cache, 1, lambda *_: None).measure([other])
    (tmp_path / f"{task.key}.json").write_text("{")
    with pytest.raises(PacodecError, match="the measurement failed"):
        Matrix(cache, 1, lambda *_: None).measure([task])


def test_an_interrupted_run_goes_on_where_it_stopped(clip: Clip, tmp_path: Path) -> None:
    tasks = [task_of(clip), task_of(clip, "x264 4:2:0"), task_of(clip, "x265 4:4:4")]

    def interrupt(done: int, total: int, name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Matrix(Cache(tmp_path), 1, interrupt).measure(tasks)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(kept) == 2
    Matrix(Cache(tmp_path), 1, lambda *_: None).measure(tasks)
    assert len(list(tmp_path.glob("*.json"))) == 3
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_a_peer_is_measured_without_torch(clip: Clip) -> None:
    names = "'torch', 'cv2', 'matplotlib'"
    code = f"import sys, pacodec.evaluation.worker; sys.exit(any(n in sys.modules for n in ({names})))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_rate_of_a_clip_at_an_odd_rate(tmp_path: Path) -> None:
    video = make_video(tmp_path / "in.mp4", moving(), rate=Fraction(30000, 1001))  # type: ignore[arg-type]
    clip = prepare(str(video), tmp_path)
    assert clip.rate == Fraction(30000, 1001)
    assert clip.duration == pytest.approx(FRAMES * 1001 / 30000)
