"""What decoding writes: exact where the kind of file can be, with its times; else a figure says how far it is off."""

import io
import json
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import Clip, make_clip, picture, psnr
from conftest import cli, leftovers, make_video, screen
from PIL import Image

from pacodec.common.media import VideoFormat
from pacodec.errors import UsageError
from pacodec.video.writer import VideoWriter

TIMES = [0, 40, 100, 500, 530, 600, 1000, 1040]
LAST = 230
DURATIONS = [40, 60, 400, 30, 70, 400, 40, LAST]
FORMAT = VideoFormat(48, 32, Fraction(1, 1000), Fraction(10))


def write(target, pictures, format=FORMAT, **options):
    with VideoWriter(target, format, **options) as writer:
        for number, rgb in enumerate(pictures):
            writer.write_frame(rgb, TIMES[number], DURATIONS[number])
    return writer


def animation(path):
    """Pictures and durations in milliseconds, as Pillow reads them."""
    with Image.open(path) as file:
        frames = []
        for number in range(getattr(file, "n_frames", 1)):
            file.seek(number)
            frames.append((np.asarray(file.convert("RGB")), file.info.get("duration")))
    return [rgb for rgb, _ in frames], [duration for _, duration in frames]


def noise(colours, frames=8, seed=0):
    """Pictures of so many colours, other ones in each."""
    rng = np.random.default_rng(seed)
    palettes = rng.integers(0, 256, (frames, colours, 3), dtype=np.uint8)
    return [palette[rng.integers(0, colours, (32, 48))] for palette in palettes]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng"])
@pytest.mark.parametrize("kind", ["screens", "standing still", "new colours", "256 colours"])
def test_animated_images_are_exact_and_keep_their_times(kind, suffix, tmp_path):
    pictures = {
        "screens": [screen(number) for number in range(8)],
        "standing still": [screen(0)] * 3 + [screen(1)] * 5,
        "new colours": noise(40),
        "256 colours": noise(256),
    }[kind]
    writer = write(tmp_path / f"out{suffix}", pictures)
    found, durations = animation(tmp_path / f"out{suffix}")
    assert sum(durations) == TIMES[-1] + LAST
    if kind == "standing still":  # one frame may stand for several
        pictures = [pictures[0], pictures[-1]]
        found = [found[0], found[-1]]
    else:
        assert durations == DURATIONS
    np.testing.assert_array_equal(found, pictures)
    assert writer.exact


def test_a_gif_of_more_colours_says_how_far_it_is_off(tmp_path):
    pictures = [picture(number, 48, 32) for number in range(8)]
    writer = write(tmp_path / "out.gif", pictures)
    found = animation(tmp_path / "out.gif")[0]
    error = np.mean((np.float64(found) - pictures) ** 2)
    assert not writer.exact
    assert writer.distortion.psnr == pytest.approx(10 * np.log10(255**2 / error))
    assert writer.distortion.psnr > 28


def test_times_that_a_gif_cannot_tell_apart(tmp_path):
    with VideoWriter(tmp_path / "out.gif", VideoFormat(48, 32, Fraction(1, 1000))) as writer:
        writer.write_frame(screen(0), 0, 1)
        with pytest.raises(UsageError, match="gif cannot hold a frame at 1"):
            writer.write_frame(screen(1), 1, 1)
    assert [line for line in writer.notes if "less than 20 ms" in line]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng", ".y4m"])
def test_what_images_cannot_say_is_done_or_said(suffix, tmp_path):
    make_clip(tmp_path / "in.mp4", rotation=90, pixel_aspect=Fraction(16, 11), audio="aac", frames=3)
    clip = Clip(tmp_path / "in.mp4")
    with VideoWriter(tmp_path / f"out{suffix}", clip.format) as writer:
        for frame in clip.frames:
            writer.write_frame(frame.rgb, frame.pts, frame.duration)
    assert [line.split(":")[0] for line in writer.notes] == [
        "this kind of file has no sound",
        *["this kind of file has square pixels"] * (suffix != ".y4m"),
    ]
    with av.open(str(tmp_path / f"out{suffix}")) if suffix != ".webp" else Image.open(tmp_path / "out.webp") as file:
        video = file.streams.video[0] if suffix != ".webp" else file
        assert (video.width, video.height) == (clip.format.height, clip.format.width)
    if suffix == ".apng":
        np.testing.assert_array_equal(animation(tmp_path / "out.apng")[0], [np.rot90(rgb) for rgb in clip.pictures])


def test_y4m_is_what_other_programs_read(tmp_path):
    pictures = [screen(number) for number in range(8)]
    format = VideoFormat(48, 32, Fraction(1, 25), Fraction(25))
    with VideoWriter(tmp_path / "out.y4m", format) as writer:
        for number, rgb in enumerate(pictures):
            writer.write_frame(rgb, number, 1)
    assert writer.notes == []
    with av.open(str(tmp_path / "out.y4m")) as file:
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert writer.distortion.psnr == pytest.approx(psnr(pictures, shown), abs=0.1)
    assert writer.distortion.psnr > 45


def test_a_variable_rate_in_y4m_is_said(tmp_path):
    writer = write(tmp_path / "out.y4m", [screen(number) for number in range(8)])
    assert [line.split(":")[0] for line in writer.notes] == ["this kind of file has one frame rate"]


@pytest.mark.parametrize("size", [(48, 32), (47, 31)])
def test_lossy_h264_says_how_far_it_is_off(size, tmp_path):
    pictures = [screen(number, *size) for number in range(33)]
    with VideoWriter(tmp_path / "out.mp4", VideoFormat(*size, Fraction(1, 25), Fraction(25)), crf=30) as writer:
        for number, rgb in enumerate(pictures):
            writer.write_frame(rgb, number, 1)
    copy = Clip(tmp_path / "out.mp4").pictures
    assert writer.distortion.frames == 5
    assert writer.distortion.psnr == pytest.approx(psnr(pictures[::8], copy[::8]), abs=0.01)


# --- the command ---


@pytest.fixture(scope="module")
def pac(tmp_path_factory):
    """A .pac file of 12 screens, 25 a second."""
    folder = tmp_path_factory.mktemp("outputs")
    make_video(folder / "in.mkv", [screen(number) for number in range(12)])
    assert cli("encode", folder / "in.mkv", folder / "in.pac").exit_code == 0
    return folder / "in.pac"


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.gif", "out.webp", "out.apng", "OUT.GIF"])
def test_exact_footage_of_few_colours_comes_out_exactly(name, pac, tmp_path):
    result = cli("decode", pac, tmp_path / name)
    assert result.exit_code == 0
    assert "output   exact" in result.stderr
    np.testing.assert_array_equal(Clip(tmp_path / name).pictures, [screen(number) for number in range(12)])


def test_full_chroma_is_not_halved(tmp_path):
    make_clip(tmp_path / "in.mkv", pixel_format="yuv444p", frames=20, options={"crf": "20"})
    assert cli("encode", tmp_path / "in.mkv", tmp_path / "in.pac", "--lossless").exit_code == 0
    result = cli("decode", tmp_path / "in.pac", tmp_path / "out.mp4")
    assert "output   exact" in result.stderr
    np.testing.assert_array_equal(Clip(tmp_path / "out.mp4").pictures, Clip(tmp_path / "in.mkv").pictures)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_copied_packets_show_the_colours_of_the_pac_file(pixel_format, tmp_path):
    make_clip(tmp_path / "in.mp4", width=160, height=120, frames=30, pixel_format=pixel_format, options={"crf": "5"})
    assert cli("encode", tmp_path / "in.mp4", tmp_path / "in.pac", "-q", 2).exit_code == 0
    result = cli("decode", tmp_path / "in.pac", tmp_path / "copy.mkv")
    assert "copied as they are" in result.stderr
    assert cli("decode", tmp_path / "in.pac", tmp_path / "exact.mkv", "--lossless").exit_code == 0
    shown = []
    for name in ("copy.mkv", "exact.mkv"):
        with av.open(str(tmp_path / name)) as file:
            shown.append(np.int16([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]))
    assert np.abs(shown[0] - shown[1]).max() <= 1


def test_interlaced_pictures_are_not_copied_without_their_flag(tmp_path):
    interlaced = {"flags": "+ildct+ilme", "b": "4M"}
    options = {"codec": "mpeg2video", "time_base": Fraction(1, 25), "options": interlaced}
    make_clip(tmp_path / "in.mkv", width=160, height=120, frames=30, **options)
    assert cli("encode", tmp_path / "in.mkv", tmp_path / "in.pac", "-q", 2).exit_code == 0
    result = cli("decode", tmp_path / "in.pac", tmp_path / "out.mp4")
    assert result.exit_code == 0
    assert "copied" not in result.stderr
    assert psnr(Clip(tmp_path / "out.mp4").pictures, Clip(tmp_path / "in.mkv").pictures) > 30


def test_a_quality_asked_for_is_the_one_written(pac, tmp_path):
    result = cli("decode", pac, tmp_path / "out.mp4", "--crf", 20, "--json")
    report = json.loads(result.stdout)
    assert not report["exact"]
    quality = report["distortion"]
    copy = Clip(tmp_path / "out.mp4").pictures
    assert quality["psnr"] == pytest.approx(psnr([screen(0), screen(8)], copy[::8]), abs=0.01)
    assert cli("decode", pac, tmp_path / "both.mp4", "--crf", 20, "--lossless").exit_code == 2


def test_a_picture_a_frame(pac, tmp_path):
    (tmp_path / "out_0099.png").write_text("of an earlier, longer sequence")
    (tmp_path / "out_x.png").write_text("another file")
    pattern = tmp_path / "out_%04d.png"
    refused = cli("decode", pac, pattern)
    assert refused.exit_code == 1
    assert "out_0099.png: exists already" in refused.stderr
    assert cli("decode", pac, pattern, "-y").exit_code == 0
    names = [f"out_{number:04d}.png" for number in range(1, 13)]
    assert leftovers(tmp_path) == [*names, "out_x.png"]
    for number, name in enumerate(names):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name)), screen(number))


def test_pictures_in_make_pictures_out(pac, tmp_path):
    assert cli("decode", pac, tmp_path / "%d.png").exit_code == 0
    result = cli("encode", tmp_path / "%d.png", tmp_path / "again.pac", "--fps", "12.5")
    assert result.exit_code == 0
    assert "quality  exact" in result.stderr
    assert cli("decode", tmp_path / "again.pac", tmp_path / "again.mkv").exit_code == 0
    clip = Clip(tmp_path / "again.mkv")
    np.testing.assert_array_equal(clip.pictures, [screen(number) for number in range(12)])
    assert clip.times[5][0] == Fraction(5) / Fraction("12.5")


def test_a_rate_that_makes_no_sense_is_refused(pac, tmp_path):
    assert cli("decode", pac, tmp_path / "%d.png").exit_code == 0
    for source, rate in (("%d.png", "0"), ("%d.png", "nan"), ("1.png", "5"), ("*.jpg", "5")):
        result = cli("encode", tmp_path / source, tmp_path / "out.pac", "--fps", rate)
        assert (result.exit_code, result.stderr.count("\n")) == (1 if source == "*.jpg" else 2, 1)
    assert cli("encode", tmp_path / "%d.png", tmp_path / "out.pac", "--resume").exit_code == 2


@pytest.mark.parametrize("name", ["out", "out.avi", "out.jpeg", "out.png", "out_%d.jpg", "%d_%d.png"])
def test_a_name_that_says_nothing_is_refused_as_it_was_given(name, pac, tmp_path):
    result = cli("decode", pac, tmp_path / name)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / name) in result.stderr
    assert ".part" not in result.stderr
    assert leftovers(tmp_path) == []


def test_a_format_by_name(pac, tmp_path):
    assert cli("decode", pac, tmp_path / "out", "--format", "gif").exit_code == 0
    assert (tmp_path / "out").read_bytes()[:6] == b"GIF89a"
    result = cli("decode", pac, "-", "--format", "y4m")
    assert result.stdout_bytes[:9] == b"YUV4MPEG2"
    with av.open(io.BytesIO(result.stdout_bytes)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 12
    assert cli("decode", pac, "-", "--format", "avi").exit_code == 2


def test_nothing_half_written_stays(pac, tmp_path):
    data = bytearray(pac.read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "bad.pac").write_bytes(data)
    for name in ("out.gif", "out.webp", "%03d.png"):
        assert cli("decode", tmp_path / "bad.pac", tmp_path / name).exit_code == 3
    assert leftovers(tmp_path) == ["bad.pac"]
