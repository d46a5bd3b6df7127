"""GOPs of standard codecs' packets: our own AV1 and H.264, the source's packets, and which of them is used."""

import os
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import grain, lossy_clip, make_clip
from conftest import COLOURS, cli, make_video, run, screen

import pacodec
from pacodec.base_layer.choose_codec import GridTrial, Untried, decide, probe
from pacodec.base_layer.encoders import LADDER
from pacodec.base_layer.source_packets import SourcePackets
from pacodec.base_layer.stream import StoredPacket, pack, pack_obus, unpack, unpack_obus
from pacodec.container import Reader
from pacodec.errors import CorruptFileError, PacodecError, UsageError
from pacodec.options import EncodeOptions


def shown(path):
    """What PyAV shows of a video, uint8 [n, H, W, 3]."""
    with av.open(str(path)) as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)])


def packets(path):
    """(data, time of showing, keyframe) of the video's packets."""
    with av.open(str(path)) as source:
        found = [packet for packet in source.demux(video=0) if packet.size]
        return [(bytes(packet), packet.pts * packet.time_base, packet.is_keyframe) for packet in found]


def video_bytes(path):
    """Bytes of the video stream: its packets and its global header."""
    with av.open(str(path)) as source:
        header = source.streams.video[0].codec_context.extradata
    return sum(len(data) for data, _, _ in packets(path)) + len(header or b"")


def pooled(a, b):
    return 10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-9))


HIGH = {"crf": "12"}
"""x264 at a quality far above what is asked for below."""


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """A clip that AV1 makes much smaller at the usual quality."""
    return lossy_clip(tmp_path_factory.mktemp("camera") / "in.mp4", options=HIGH)


@pytest.fixture(scope="module")
def coded(camera, tmp_path_factory):
    """The same as a .pac file, and the report."""
    path = tmp_path_factory.mktemp("coded") / "coded.pac"
    return path, pacodec.encode(str(camera), str(path))


# --- our own packets ---


def test_footage_that_no_palette_holds_becomes_av1_of_the_quality_it_says(camera, coded):
    path, report = coded
    assert report.coders == {"av1": 1}
    assert path.stat().st_size < 0.6 * video_bytes(camera)
    with pacodec.open(path) as video:
        pictures = np.stack(video[:])
    assert report.psnr == pytest.approx(pooled(shown(camera), pictures), abs=0.01)
    assert report.psnr >= LADDER[3] - 0.5
    assert report.psnr_low <= report.psnr
    assert report.psnr_frames == report.frames == len(pictures)


def test_one_line_says_what_was_chosen_and_what_the_others_take(coded):
    _, report = coded
    assert report.reason.startswith(f"AV1 at {LADDER[3]:.1f} dB about ")
    assert "the source's own packets" in report.reason


@pytest.mark.parametrize("size", [(16, 140), (170, 22), (22, 78), (62, 64)])
def test_pictures_too_small_for_svt_av1_are_coded_by_another(size, tmp_path):
    """It waits for ever at the end of some of these."""
    source = lossy_clip(tmp_path / "in.mp4", options=HIGH, size=size)
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"))
    assert set(report.coders) == {"h264"}
    assert LADDER[3] - 0.5 <= report.psnr <= LADDER[3] + 1.5


def test_a_quality_is_a_psnr(camera, tmp_path):
    sizes = []
    for quality in (1, 2, 3):
        report = pacodec.encode(str(camera), str(tmp_path / "out.pac"), quality=quality, overwrite=True)
        assert report.coders == {"av1": 1}
        assert LADDER[quality] - 0.5 <= report.psnr <= LADDER[quality] + 1.5
        sizes.append(report.bytes)
    assert sizes == sorted(sizes)


def test_a_floor_is_kept(camera, tmp_path):
    report = pacodec.encode(str(camera), str(tmp_path / "out.pac"), min_psnr=40)
    assert report.psnr >= 40


def test_ten_bits_and_odd_sides(tmp_path):
    options = {"x265-params": "log-level=none", "crf": "10"}
    for name, kind in {
        "ten.mp4": {"codec": "libx265", "pixel_format": "yuv420p10le", "options": options},
        "odd.mp4": {"size": (67, 45), "pixel_format": "yuv444p", "options": HIGH},
        "halved.mp4": {"pixel_format": "yuv422p", "options": HIGH},
    }.items():
        source = lossy_clip(tmp_path / name, **kind)
        report = pacodec.encode(str(source), str(tmp_path / "out.pac"), overwrite=True)
        assert set(report.coders) <= {"av1", "h264"}, name
        with pacodec.open(tmp_path / "out.pac") as video:
            assert report.psnr == pytest.approx(pooled(shown(source), np.stack(video[:])), abs=0.01)


def test_several_gops_and_still_pictures(tmp_path):
    source = lossy_clip(tmp_path / "in.mp4", frames=60, options=HIGH, make=lambda n, *size: grain(n // 20, *size))
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"), gop_seconds=1, quality=2)
    assert report.gops in (1, 3)
    with pacodec.open(tmp_path / "out.pac") as video:
        assert len(video) == 60
        forwards = np.stack(video[:])
        assert report.psnr == pytest.approx(pooled(shown(source), forwards), abs=0.01)
        for number in (59, 3, 31, 30):
            np.testing.assert_array_equal(video[number], forwards[number])


def test_every_gop_stands_alone_and_a_flipped_byte_costs_one(tmp_path, camera):
    path = tmp_path / "out.pac"
    report = pacodec.encode(str(camera), str(path), gop_seconds=0.5)
    assert report.gops == 4
    assert pacodec.verify(str(path)) == []
    with pacodec.open(path) as video:
        whole = np.stack(video[:])
    with Reader(path) as reader:
        entry = reader.gops[1]
    data = bytearray(path.read_bytes())
    data[entry.offset + entry.length // 2] ^= 1
    path.write_bytes(data)
    assert pacodec.verify(str(path))
    result = cli("decode", path, tmp_path / "out.mkv", "--lossless", "--keep-going")
    assert result.exit_code == 3
    left = np.concatenate([whole[: entry.first_frame], whole[entry.first_frame + entry.frames :]])
    np.testing.assert_array_equal(shown(tmp_path / "out.mkv"), left)


def test_exact_footage_stays_exact_from_quality_4(tmp_path):
    source = make_video(tmp_path / "in.mp4", [screen(n) for n in range(12)])
    for quality in (4, 5):
        report = pacodec.encode(str(source), str(tmp_path / "out.pac"), quality=quality, overwrite=True)
        assert report.psnr == 100


# --- the source's packets ---


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("h264.mp4", "libx264", {"g": "10"}),
        ("h264.mkv", "libx264", {}),
        ("open.mp4", "libx264", {"g": "10", "x264-params": "open-gop=1:bframes=3"}),
        ("hevc.mp4", "libx265", {"x265-params": "log-level=none:keyint=12"}),
        ("mpeg4.mp4", "mpeg4", {"g": "12", "bf": "2"}),
        ("vp8.webm", "libvpx", {"b": "300k"}),
        ("vp9.webm", "libvpx-vp9", {"b": "300k", "cpu-used": "8"}),
        ("av1.mp4", "libsvtav1", {"preset": "12", "crf": "40"}),
    ],
)
def test_packets_of_the_source_are_kept_and_given_back(name, codec, options, tmp_path):
    source = lossy_clip(tmp_path / name, codec, options=options)
    path, copy = tmp_path / "out.pac", tmp_path / f"copy.{name.rpartition('.')[2]}"
    report = pacodec.encode(str(source), str(path), lossless=True)
    assert set(report.coders) == {"source"}
    assert report.psnr == 100
    assert path.stat().st_size <= 1.01 * video_bytes(source) + 1000
    pictures = shown(source)
    with pacodec.open(path) as video:
        np.testing.assert_array_equal(np.stack(video[:]), pictures)
        np.testing.assert_array_equal(video[len(video) - 1], pictures[-1])
        np.testing.assert_array_equal(video[3], pictures[3])
    assert cli("decode", path, copy, "--copy").exit_code == 0
    assert packets(copy) == packets(source)


def test_a_source_that_nothing_makes_smaller_is_kept(tmp_path):
    source = lossy_clip(tmp_path / "in.mp4", options={"crf": "45"})
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"), quality=5)
    assert set(report.coders) == {"source"}
    assert (tmp_path / "out.pac").stat().st_size <= 1.01 * video_bytes(source) + 1000


def test_sound_comes_along_when_packets_are_copied(tmp_path):
    make_clip(tmp_path / "in.mp4", audio="aac")
    pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "out.pac"), lossless=True)
    pacodec.decode(str(tmp_path / "out.pac"), str(tmp_path / "out.mp4"))
    with av.open(str(tmp_path / "in.mp4")) as before, av.open(str(tmp_path / "out.mp4")) as after:
        sounds = [[bytes(packet) for packet in each.demux(audio=0) if packet.size] for each in (before, after)]
    assert sounds[0] == sounds[1]
    assert packets(tmp_path / "out.mp4") == packets(tmp_path / "in.mp4")


def test_frames_that_an_edit_list_hides_stay_hidden(tmp_path):
    source = lossy_clip(tmp_path / "whole.mp4", options={"g": "100"})
    with av.open(str(source)) as given, av.open(str(tmp_path / "in.mp4"), "w") as output:
        track = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                shift = int(Fraction(2, 5) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, track
                output.mux(packet)
    report = pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "out.pac"), lossless=True)
    pictures = shown(tmp_path / "in.mp4")
    assert report.frames == len(pictures)
    with pacodec.open(tmp_path / "out.pac") as video:
        np.testing.assert_array_equal(np.stack(video[:]), pictures)


# --- copying ---


def test_av1_packets_go_into_an_mp4_as_they_are(coded, tmp_path):
    path, _ = coded
    with pacodec.open(path) as video:
        pictures = np.stack(video[:])
    for name in ("out.mp4", "out.mkv"):
        assert cli("decode", path, tmp_path / name).exit_code == 0
        np.testing.assert_array_equal(shown(tmp_path / name), pictures)
        with av.open(str(tmp_path / name)) as copy:
            assert copy.streams.video[0].codec_context.codec.canonical_name == "av1"
    assert cli("decode", path, tmp_path / "again.mp4", "--no-copy").exit_code == 0
    with av.open(str(tmp_path / "again.mp4")) as copy:
        assert copy.streams.video[0].codec_context.name == "h264"


def test_a_copy_of_ten_bits_looks_the_same(tmp_path):
    options = {"x265-params": "log-level=none:chromaloc=0", "crf": "10"}
    source = lossy_clip(tmp_path / "in.mp4", "libx265", options=options, pixel_format="yuv420p10le")
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"))
    assert report.coders == {"av1": 1}
    pacodec.decode(str(tmp_path / "out.pac"), str(tmp_path / "out.mp4"), copy=True)
    with pacodec.open(tmp_path / "out.pac") as video:
        np.testing.assert_array_equal(shown(tmp_path / "out.mp4"), np.stack(video[:]))


def test_what_cannot_be_copied_says_why(coded, tmp_path):
    path, _ = coded
    result = cli("decode", path, tmp_path / "out.mp4", "--copy", "--start", "1")
    assert result.exit_code == 2
    assert "cannot be copied" in result.stderr
    make_video(tmp_path / "in.mp4", [screen(n) for n in range(5)])
    pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "palette.pac"), coder="engine")
    with pytest.raises(UsageError, match="no packets"):
        pacodec.decode(str(tmp_path / "palette.pac"), str(tmp_path / "out.mp4"), copy=True)
    assert not (tmp_path / "out.mp4").exists()


def test_info_says_what_the_gops_are(coded):
    path, _ = coded
    assert pacodec.info(str(path)).packets == {"av1": "av1 yuv420p"}
    result = cli("info", path)
    assert "av1 yuv420p packets" in result.stdout
    assert "1 by av1" in result.stdout


# --- the choice ---


def test_code_grids_are_used_where_they_are_smaller(camera):
    footage = probe(str(camera))
    decision = decide(footage, EncodeOptions(), lambda footage: Untried.HOPELESS)
    assert [plan.coder for plan in decision.plans][:1] == ["av1"]
    decision = decide(footage, EncodeOptions(), lambda footage: GridTrial(10, 50.0, exact=False))
    assert decision.plans == []
    assert [plan.coder for plan in decision.others] == ["av1", "source"]
    assert 10 < decision.most < video_bytes(camera)


def test_nothing_is_tried_beside_a_model_but_the_source_stays_in_reserve(camera):
    decision = decide(probe(str(camera)), EncodeOptions(), lambda footage: Untried.KNOWN)
    assert decision.plans == []
    assert [plan.coder for plan in decision.others] == ["source"]


def test_what_is_busy_beside_the_stretches_counts(tmp_path):
    rng = np.random.default_rng(1)
    pictures = [screen(0, 320, 240)]
    for number in range(1, 64):
        pictures.append(pictures[-1].copy())
        for top, left in rng.integers(0, 28, (40 if 50 <= number < 62 else 1, 2)) * 8:
            pictures[-1][top : top + 8, left : left + 8] = COLOURS[rng.integers(0, len(COLOURS), (8, 8))]
    report = pacodec.encode(str(make_video(tmp_path / "in.mp4", pictures)), str(tmp_path / "out.pac"))
    (estimate,) = re.findall(r"a palette \(exact\) about ([0-9.]+) kB", report.reason)
    assert report.bytes / 1.5 < 1000 * float(estimate) < 1.5 * report.bytes


def test_a_pipe_is_judged_by_its_first_frames(camera, tmp_path):
    source = lossy_clip(tmp_path / "in.mkv", options=HIGH)
    target = tmp_path / "out.pac"
    with source.open("rb") as file:
        done = run("encode", "-", target, stdin=file)
    assert done.returncode == 0, done.stderr
    assert pacodec.info(str(target)).coders == {"av1": 1}
    assert target.stat().st_size < 0.6 * video_bytes(source)


# --- hostile and damaged payloads ---


def test_packets_survive_packing():
    stored = [
        StoredPacket(b"key", 5, 1, 4, keyframe=True, header=b"new header"),
        StoredPacket(b"", None, None, 0, discard=True),
        StoredPacket(os.urandom(300), -7, -9, 1),
    ]
    assert unpack(pack(stored)) == stored


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_payload_that_is_cut_short_or_changed_is_refused(cut):
    payload = pack([StoredPacket(b"some data", 0, 0, 1, keyframe=True), StoredPacket(b"more", 1, 1, 1)])
    with pytest.raises(PacodecError):
        unpack(payload[: max(0, len(payload) - 1 - cut)])
    changed = bytearray(payload)
    changed[cut % 12] ^= 0x55
    with pytest.raises(PacodecError):
        unpack(bytes(changed))


def test_obus_that_do_not_fit_are_refused(camera):
    for payload in (b"", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x08\x00", b"\x32\x05abc", b"\x0a\x01x"):
        with pytest.raises(CorruptFileError):
            unpack_obus(payload)
    with pytest.raises(CorruptFileError):
        pack_obus([StoredPacket(b"\x0a\x05abc")])


def test_the_packets_of_an_unknown_codec_are_not_kept(tmp_path):
    source = lossy_clip(tmp_path / "in.avi", "mpeg2video", frames=5)
    with pytest.raises(PacodecError, match="mpeg2video"):
        SourcePackets(str(source))
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"))
    assert "source" not in report.coders


def test_sound_does_not_count_as_what_the_pictures_take(tmp_path):
    lossy_clip(tmp_path / "still.mp4", options=HIGH)
    with av.open(str(tmp_path / "still.mp4")) as given, av.open(str(tmp_path / "in.mp4"), "w") as output:
        track = output.add_stream_from_template(given.streams.video[0])
        sound = output.add_stream("pcm_s16le", rate=48000)
        noise = np.random.default_rng(1).integers(-9999, 9999, (1, 2 * 76800), np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="stereo")
        frame.sample_rate = 48000
        output.mux(sound.encode(frame))
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                output.mux(packet)
    report = pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "out.pac"))
    assert report.coders == {"av1": 1}
    assert report.bytes > noise.nbytes
