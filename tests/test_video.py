"""Video files in and out: what is read is what the file holds, and what is written reads back the same."""

import io
import itertools
import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import TIME_BASE, VARIANTS, Clip, make_clip, make_sound, psnr

from pacodec.common.media import AudioPacket, ColorTags, Frame, VideoFormat
from pacodec.errors import CorruptFileError, FileAccessError, LimitError, PacodecError, UsageError
from pacodec.video.reader import VideoReader, sample_frames
from pacodec.video.writer import VideoWriter

LOSSLESS = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}


def rewrite(clip, target, **options):
    """Write what was read, and read that."""
    with VideoWriter(target, clip.format, **options) as writer:
        for event in clip.events:
            if isinstance(event, Frame):
                writer.write_frame(event.rgb, event.pts, event.duration)
            else:
                writer.write_audio(event)
    if isinstance(target, io.BytesIO):
        target.seek(0)
    return Clip(target)


# --- properties that must survive reading, writing and reading again ---


@pytest.mark.parametrize("name", VARIANTS)
def test_written_file_reads_back_like_the_source(name, tmp_path):
    pictures = make_clip(tmp_path / "in.mp4", **VARIANTS[name])
    source = Clip(tmp_path / "in.mp4")
    notices = [*["HDR (PQ)"] * ("pq" in name), *["samples of 10 bits"] * ("10 bit" in name or "pq" in name)]
    assert len(source.warnings) == len(notices)
    assert all(line.startswith(notice) for line, notice in zip(source.warnings, notices, strict=True))
    assert len(source.frames) == len(pictures) == source.hint
    assert source.source_bytes == (tmp_path / "in.mp4").stat().st_size
    copy = rewrite(source, tmp_path / "out.mp4", crf=4)
    assert copy.warnings == source.warnings[: notices.count("HDR (PQ)")]
    assert copy.times == source.times
    fields = ["width", "height", "pixel_aspect", "rotation", "color"]
    # FFmpeg's average of a variable rate depends on the decoding times, which B-frames change.
    for field in fields if "variable" in name else [*fields, "frame_rate"]:
        assert getattr(copy.format, field) == getattr(source.format, field), field
    assert min(psnr(a, b) for a, b in zip(source.pictures, copy.pictures, strict=True)) > 35


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("turned", "rotation", 90),
        ("turned other way", "rotation", -90),
        ("wide pixels", "pixel_aspect", Fraction(16, 11)),
        ("bt709 full", "color", ColorTags(2, 1, 1, 1)),
        ("bt2020 pq", "color", ColorTags(1, 9, 9, 16)),
        ("plain", "color", ColorTags(0, 2, 2, 2)),
        ("plain", "frame_rate", 25),
        ("odd size", "width", 63),
    ],
)
def test_format_says_what_the_clip_was_made_with(name, field, value, tmp_path):
    make_clip(tmp_path / "in.mp4", **VARIANTS[name])
    assert getattr(Clip(tmp_path / "in.mp4").format, field) == value


def test_times_are_those_of_the_clip(tmp_path):
    times = [40_001, 40_513, 40_600, 49_000]
    exact = {"movie_timescale": str(TIME_BASE.denominator)}
    make_clip(tmp_path / "in.mp4", times=times, options={"bf": "2"}, container_options=exact)
    clip = Clip(tmp_path / "in.mp4")
    assert [pts for pts, _ in clip.times] == [time * TIME_BASE for time in times]
    assert [duration for _, duration in clip.times[:-1]] == [d * TIME_BASE for d in (512, 87, 8400)]


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("size", [(64, 48), (33, 17), (1, 1)])
def test_lossless_output_keeps_every_pixel(container, size, tmp_path):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8) for _ in range(4)]
    with VideoWriter(tmp_path / "x", VideoFormat(*size, Fraction(1, 20)), container=container, codec="lossless") as out:
        for number, rgb in enumerate(pictures):
            out.write_frame(rgb, number, 1)
    clip = Clip(tmp_path / "x")
    assert clip.format.color == ColorTags(2, 0, 1, 13)  # without all of these, Chromium takes the planes for YUV
    np.testing.assert_array_equal(clip.pictures, pictures)
    assert [pts for pts, _ in clip.times] == [Fraction(n, 20) for n in range(4)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rgb_input_is_read_exactly(suffix, tmp_path):
    pictures = make_clip(tmp_path / f"in{suffix}", **LOSSLESS)
    np.testing.assert_array_equal(Clip(tmp_path / f"in{suffix}").pictures, pictures)


@pytest.mark.parametrize("color", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), (2, 5, 5, 6), (1, 9, 9, 1), (1, 7, 7, 7)])
def test_matrix_and_range_of_the_source_are_used(color, tmp_path):
    pictures = make_clip(
        tmp_path / "in.mkv", color=color, pixel_format="yuv444p", options={"qp": "0"}, codec="libx264", frames=3
    )
    clip = Clip(tmp_path / "in.mkv")
    assert clip.format.color == ColorTags(*color)
    # 8-bit YUV itself costs up to two levels; the wrong matrix or range would cost ten and more.
    assert np.abs(np.int16(clip.pictures) - np.int16(pictures)).max() <= 3


def test_rgb_source_becomes_tagged_bt709(tmp_path):
    make_clip(tmp_path / "in.mkv", **LOSSLESS)
    source = Clip(tmp_path / "in.mkv")
    copy = rewrite(source, tmp_path / "out.mp4", crf=4)
    assert copy.format.color == ColorTags(1, 1, 1, 1)
    assert psnr(source.pictures, copy.pictures) > 33


def test_default_output_is_what_browsers_play(tmp_path):
    make_clip(tmp_path / "in.mp4")
    rewrite(Clip(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert (file.streams.video[0].codec_context.name, file.streams.video[0].pix_fmt) == ("h264", "yuv420p")


# --- audio ---


@pytest.mark.parametrize(
    ("codec", "suffix", "target"),
    [
        ("aac", ".mp4", ".mp4"),
        ("aac", ".mp4", ".mov"),
        ("libopus", ".mp4", ".mp4"),
        ("libopus", ".mkv", ".mp4"),
        ("libmp3lame", ".mkv", ".mp4"),
        ("ac3", ".mkv", ".mp4"),
        ("flac", ".mkv", ".mkv"),
        ("flac", ".mp4", ".mp4"),
        ("pcm_s16le", ".mov", ".mov"),
        ("pcm_s24le", ".mkv", ".mkv"),
    ],
)
def test_audio_packets_pass_untouched(codec, suffix, target, tmp_path):
    make_clip(tmp_path / f"in{suffix}", audio=codec)
    source = Clip(tmp_path / f"in{suffix}")
    assert len(source.packets) > 5
    copy = rewrite(source, tmp_path / f"out{target}")
    assert copy.sound == source.sound
    assert copy.times == source.times
    assert copy.warnings == []
    ours, theirs = copy.format.audio[0], source.format.audio[0]
    for field in ("codec", "sample_rate", "extradata", "sample_format"):
        assert getattr(ours, field) == getattr(theirs, field), field


@pytest.mark.parametrize("codec", ["aac", "libopus", "alac", "pcm_s16be"])
def test_copied_audio_decodes_to_the_same_samples(codec, tmp_path):
    make_clip(tmp_path / "in.mp4", audio=codec)
    rewrite(Clip(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    with av.open(str(tmp_path / "in.mp4")) as a, av.open(str(tmp_path / "out.mp4")) as b:
        ours, theirs = (np.hstack([f.to_ndarray() for f in file.decode(audio=0)]) for file in (a, b))
    assert ours.size >= 96_000
    np.testing.assert_array_equal(ours, theirs)


def test_uncompressed_audio_changes_container(tmp_path):
    make_clip(tmp_path / "in.mkv", audio="pcm_s16le")
    source = Clip(tmp_path / "in.mkv")
    copy = rewrite(source, tmp_path / "out.mp4")
    # MP4 has no packets of raw sound: a reader cuts it up as it likes.
    sound = [b"".join(data for *_, data in clip.sound) for clip in (source, copy)]
    assert len(sound[0]) == 48_000 * 4
    assert sound[0] == sound[1]


def test_encoder_delay_gives_negative_times_that_survive(tmp_path):
    make_clip(tmp_path / "in.mp4", audio="aac")
    source = Clip(tmp_path / "in.mp4")
    assert source.packets[0].pts < 0
    assert rewrite(source, tmp_path / "out.mp4").sound == source.sound


def test_late_audio_stays_late(tmp_path):
    make_clip(tmp_path / "in.mp4", audio="aac", audio_start=12_345, times=[100, 612, 1124])
    source = Clip(tmp_path / "in.mp4")
    copy = rewrite(source, tmp_path / "out.mp4")
    assert abs(source.sound[0][1] - Fraction(12_345 - 1024, 48_000)) < Fraction(1, 1000)
    assert copy.sound == source.sound
    assert copy.times == source.times


@pytest.mark.parametrize("audio_first", [True, False])
def test_bursts_of_audio_are_stored_whole(audio_first, tmp_path):
    make_clip(tmp_path / "in.mp4", audio="aac", frames=30)
    clip = Clip(tmp_path / "in.mp4")
    source = (clip.sound, clip.times)
    clip.events.sort(key=lambda event: isinstance(event, Frame) == audio_first)
    copy = rewrite(clip, tmp_path / "out.mp4")
    assert (copy.sound, copy.times) == source


def test_matroska_moves_sound_and_picture_together(tmp_path):
    make_clip(tmp_path / "in.mp4", audio="aac")
    source = Clip(tmp_path / "in.mp4")
    copy = rewrite(source, tmp_path / "out.mkv")
    delay = copy.times[0][0] - source.times[0][0]
    assert [data for *_, data in copy.sound] == [data for *_, data in source.sound]
    assert abs(copy.sound[5][1] - source.sound[5][1] - delay) <= Fraction(1, 1000)


def test_audio_that_the_container_cannot_hold_names_a_cure(tmp_path):
    make_clip(tmp_path / "in.mov", audio="pcm_mulaw")
    with pytest.raises(UsageError, match=r"\.mp4 cannot hold pcm_mulaw audio: write \.mov"):
        VideoWriter(tmp_path / "out.mp4", Clip(tmp_path / "in.mov").format)
    assert not (tmp_path / "out.mp4").exists()


# --- input that is not well ---


def corrupt(path, message, kind=CorruptFileError):
    with pytest.raises(kind, match=message) as caught:
        Clip(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(kind):
        sample_frames(path, 3)


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    corrupt(tmp_path / "empty.mp4", "empty")
    for name in ("notes.txt", "notes.mp4"):
        (tmp_path / name).write_text("no video\n" * 100)
        corrupt(tmp_path / name, "not a video")
    make_sound(tmp_path / "sound.mp4", "aac")
    corrupt(tmp_path / "sound.mp4", "no video stream")
    corrupt(tmp_path, "directory", FileAccessError)
    corrupt(tmp_path / "missing.mp4", "No such file", FileAccessError)
    corrupt(tmp_path / "nul\0.mp4", "null", FileAccessError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable_file(tmp_path):
    make_clip(tmp_path / "in.mp4")
    (tmp_path / "in.mp4").chmod(0)
    corrupt(tmp_path / "in.mp4", "Permission", FileAccessError)


def cut(path, part):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])


def test_half_an_mp4_gives_its_first_frames_and_a_warning(tmp_path):
    path = tmp_path / "in.mp4"
    make_clip(path, frames=100, container_options={"movflags": "faststart"}, **LOSSLESS)
    whole = Clip(path)
    cut(path, 0.5)
    half = Clip(path)
    assert 20 < len(half.frames) < 80
    np.testing.assert_array_equal(half.pictures[:-1], whole.pictures[: len(half.frames) - 1])
    assert half.warnings == [f"input is damaged: {len(half.frames)} frames decoded of 100 announced"]


def test_half_an_mp4_without_its_index_is_refused(tmp_path):
    make_clip(tmp_path / "in.mp4", frames=50)
    cut(tmp_path / "in.mp4", 0.5)
    corrupt(tmp_path / "in.mp4", "not a video")


def test_matroska_that_ends_early_without_an_error_is_noticed(tmp_path):
    path = tmp_path / "in.mkv"
    make_clip(path, frames=100, **LOSSLESS)
    cut(path, 0.6)
    clip = Clip(path)
    assert 20 < len(clip.frames) < 90
    assert len(clip.warnings) == 1
    assert clip.warnings[0] == f"input is damaged: {len(clip.frames)} frames decoded of 100 announced"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov", ".flv"])
def test_sound_files_of_many_kinds_give_no_warning(suffix, tmp_path):
    # A late start and a track that ends at another time than the picture are no damage.
    make_clip(tmp_path / f"in{suffix}", times=[512 * n for n in range(500, 520)], audio="aac", audio_start=480_000)
    clip = Clip(tmp_path / f"in{suffix}")
    assert clip.warnings == []
    assert len(clip.frames) == 20


def test_damage_in_the_middle_is_passed_over(tmp_path):
    path = tmp_path / "in.mkv"
    make_clip(path, frames=60, codec="mpeg4", options={"g": "5"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(data)
    clip = Clip(path)
    assert 20 < len(clip.frames) <= 60
    assert clip.warnings[-1].startswith("input is damaged")
    assert all(a.pts < b.pts for a, b in itertools.pairwise(clip.frames))


def test_no_frame_at_all_is_an_error(tmp_path):
    path = tmp_path / "in.mp4"
    make_clip(path, frames=3, container_options={"movflags": "faststart"}, **LOSSLESS)
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    path.write_bytes(data[:start] + bytes(len(data) - start))
    corrupt(path, "no frame of it can be decoded")


def test_a_raw_stream_gets_times(tmp_path):
    make_clip(tmp_path / "in.h264", frames=8, options={"bf": "0"})
    clip = Clip(tmp_path / "in.h264")
    assert [pts for pts, _ in clip.times] == [Fraction(n, 25) for n in range(8)]
    assert [duration for _, duration in clip.times] == [Fraction(1, 25)] * 8


def test_a_change_of_size_is_scaled_and_said(tmp_path):
    make_clip(tmp_path / "a.h264", frames=4)
    make_clip(tmp_path / "b.h264", frames=4, width=96, height=80)
    (tmp_path / "c.h264").write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    clip = Clip(tmp_path / "c.h264")
    assert [rgb.shape for rgb in clip.pictures] == [(48, 64, 3)] * 8
    assert len([line for line in clip.warnings if "size changes" in line]) == 1


def test_streams_that_cannot_seek(tmp_path):
    pictures = make_clip(tmp_path / "in.mkv", frames=20, audio="flac", **LOSSLESS)
    read_end, write_end = os.pipe()

    def feed():
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write((tmp_path / "in.mkv").read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(read_end, "rb") as pipe:
        clip = Clip(pipe)
    thread.join()
    assert clip.source_bytes is None
    np.testing.assert_array_equal(clip.pictures, pictures)

    with (tmp_path / "in.mkv").open("rb") as file:
        again = Clip(file)
        assert not file.closed
    assert (again.sound, again.times) == (clip.sound, clip.times)


class Pipe(io.RawIOBase):
    """Takes a few bytes at a time and cannot seek, like a pipe; full after `room` bytes."""

    def __init__(self, room=1 << 30):
        self.data, self.room = bytearray(), room

    def writable(self):
        return True

    def write(self, data):
        if len(self.data) > self.room:
            raise BrokenPipeError(32, "Broken pipe")
        part = bytes(data[:5000])
        self.data += part
        return len(part)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_output_into_a_pipe(container, tmp_path):
    make_clip(tmp_path / "in.mp4", frames=60, audio="flac", times=[5120 + 512 * n for n in range(60)])
    source = Clip(tmp_path / "in.mp4")
    pipe = Pipe()
    with VideoWriter(pipe, source.format, container=container) as writer:
        for event in source.events:
            if isinstance(event, Frame):
                writer.write_frame(event.rgb, event.pts, event.duration)
            else:
                writer.write_audio(event)
    assert not pipe.closed
    copy = Clip(io.BytesIO(pipe.data))
    assert copy.sound == source.sound
    assert copy.times == source.times


# --- writing that fails ---


def write_noise(writer, frames):
    rng = np.random.default_rng(0)
    for number in range(frames):
        writer.write_frame(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), number, 1)


NOISE = VideoFormat(64, 64, Fraction(1, 25))


def test_a_closed_pipe_is_one_clear_error():
    with pytest.raises(FileAccessError, match="Broken pipe"), VideoWriter(Pipe(room=100_000), NOISE) as writer:
        write_noise(writer, 200)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("frames", [1, 300])
def test_a_full_disk_is_one_clear_error(frames):
    full = pytest.raises(FileAccessError, match=r"/dev/full: .*No space")
    with full, VideoWriter("/dev/full", NOISE, container="mp4") as writer:
        write_noise(writer, frames)


def test_an_exception_leaves_the_file_unfinished(tmp_path):
    with pytest.raises(TypeError), VideoWriter(tmp_path / "out.mp4", NOISE) as writer:
        write_noise(writer, "many")
    with pytest.raises(CorruptFileError):
        VideoReader(tmp_path / "out.mp4")


def test_a_target_that_cannot_be_opened(tmp_path):
    with pytest.raises(FileAccessError, match="No such file"):
        VideoWriter(tmp_path / "no" / "out.mp4", NOISE)


@pytest.mark.parametrize(
    "options", [{"container": "webm"}, {"container": "avi"}, {"codec": "vp9"}, {"crf": 52}, {"crf": -1}]
)
def test_options_that_make_no_sense(options, tmp_path):
    with pytest.raises(UsageError):
        VideoWriter(tmp_path / "out.mp4", NOISE, **options)


def test_frames_that_do_not_fit_are_refused(tmp_path):
    rgb = np.zeros((64, 64, 3), np.uint8)
    with VideoWriter(tmp_path / "out.mp4", NOISE) as writer:
        writer.write_frame(rgb, 3, 1)
        for bad, pts in ((rgb, 3), (rgb, 2), (rgb[:32], 4), (rgb.astype(np.float32), 4)):
            with pytest.raises(UsageError):
                writer.write_frame(bad, pts, 1)
        writer.write_frame(rgb, 4, 1)
        with pytest.raises(CorruptFileError, match="track 0"):
            writer.write_audio(AudioPacket(0, 0, 0, 1, True, b"x"))


def test_audio_times_that_go_back_are_refused(tmp_path):
    make_clip(tmp_path / "in.mp4", audio="aac")
    clip = Clip(tmp_path / "in.mp4")
    clip.events[:0] = clip.packets[3:4]
    with pytest.raises(PacodecError, match="audio packet at"):
        rewrite(clip, tmp_path / "out.mp4")


# --- samples ---


@pytest.mark.parametrize("options", [{"g": "10"}, {"g": "1000"}])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".h264"])
def test_samples_are_spread_over_the_file(suffix, options, tmp_path):
    path = tmp_path / f"in{suffix}"
    make_clip(path, frames=120, options={**options, "bf": "0"})
    pictures = Clip(path).pictures
    found = [next(i for i, rgb in enumerate(pictures) if np.array_equal(rgb, s)) for s in sample_frames(path, 4)]
    assert len(found) == 4
    assert found == sorted(found)
    assert found[0] < 40
    assert found[-1] >= 75


def test_samples_of_a_short_file_are_all_its_frames(tmp_path):
    make_clip(tmp_path / "in.mp4", frames=3)
    np.testing.assert_array_equal(sample_frames(tmp_path / "in.mp4", 10), Clip(tmp_path / "in.mp4").pictures)


def test_huge_pictures_are_refused_before_memory_is_taken(tmp_path):
    with pytest.raises(LimitError):
        VideoFormat(1 << 14, (1 << 12) + 1, Fraction(1, 25))
