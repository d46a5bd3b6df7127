"""Any video, animated image or sequence of pictures: what is read is what others show, and what is lost is said."""

import io
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from clips import make_clip, picture
from PIL import Image

from pacodec.common.media import Frame
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.video.reader import VideoReader, sample_frames


def read(source, **options):
    """Pictures, (time, duration) in seconds of each, and warnings."""
    with VideoReader(source, **options) as reader:
        frames = [event for event in reader if isinstance(event, Frame)]
        base = reader.format.time_base
        return [f.rgb for f in frames], [(f.pts * base, f.duration * base) for f in frames], reader.warnings


# --- colour: what PyAV shows by default ---

RANGES_AND_MATRICES = [None, *((range, matrix) for range in (1, 2) for matrix in (1, 4, 5, 6, 7, 9))]
FORMATS = [
    *("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p"),
    *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv444p16le"),
    *("gray", "gray10le", "yuva420p", "yuva444p", "gbrp10le", "bgra", "bgr0"),
]


def losslessly(path, pixel_format, tags, size=(64, 48)):
    """One frame with sharp edges, in FFV1."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", rate=25)
        video.width, video.height = size
        video.pix_fmt = pixel_format
        frame = av.VideoFrame.from_ndarray(picture(3, *size), format="rgb24").reformat(format=pixel_format)
        if tags is not None:
            video.codec_context.color_range, video.codec_context.colorspace = tags
            frame.color_range, frame.colorspace = tags
        frame.pts = 0
        output.mux(video.encode(frame))
        output.mux(video.encode(None))


@pytest.mark.parametrize("tags", RANGES_AND_MATRICES)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_colours_are_those_that_pyav_shows(pixel_format, tags, tmp_path):
    losslessly(tmp_path / "in.mkv", pixel_format, tags)
    with av.open(str(tmp_path / "in.mkv")) as file:
        shown = next(file.decode(video=0)).to_ndarray(format="rgb24")
    ours = read(tmp_path / "in.mkv")[0][0]
    assert np.abs(ours.astype(int) - shown).max() <= 1


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("libx264", "yuv420p"), ("libx264", "yuv420p10le"), ("libx265", "yuv420p10le"), ("libvpx-vp9", "yuv422p")],
)
def test_lossy_footage_looks_as_pyav_shows_it(codec, pixel_format, tmp_path):
    make_clip(tmp_path / "in.mkv", codec=codec, pixel_format=pixel_format, frames=4)
    with av.open(str(tmp_path / "in.mkv")) as file:
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert np.abs(np.int16(read(tmp_path / "in.mkv")[0]) - shown).max() <= 1


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_said(transfer, name, tmp_path):
    make_clip(tmp_path / "in.mp4", color=(1, 9, 9, transfer), pixel_format="yuv420p10le")
    warnings = read(tmp_path / "in.mp4")[2]
    assert [line.split(":")[0] for line in warnings] == [f"HDR ({name})", "samples of 10 bits become 8"]


# --- what is not carried over ---


def test_subtitles_chapters_and_further_tracks_are_said(tmp_path):
    (tmp_path / "subs.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nhello\n")
    make_clip(tmp_path / "a.mkv")
    names = (str(tmp_path / name) for name in ("a.mkv", "subs.srt", "in.mkv"))
    with av.open(next(names)) as video, av.open(next(names)) as text, av.open(next(names), "w") as output:
        tracks = [output.add_stream_from_template(s) for s in (video.streams.video[0],) * 2]
        subtitles = output.add_stream_from_template(text.streams.subtitles[0])
        output.metadata["title"] = "A day"
        output.set_chapters([{"start": 0, "end": 200, "time_base": Fraction(1, 1000), "id": 1, "metadata": {}}])
        packets = [p for p in text.demux() if p.size]
        for packet in packets:
            packet.stream = subtitles
            output.mux(packet)
        for packet in video.demux():
            if packet.size:
                for track in tracks:
                    packet.stream = track
                    output.mux(packet)
    assert read(tmp_path / "in.mkv")[2] == [
        "1 further video track is not carried over",
        "1 subtitle track is not carried over",
        "1 chapter is not carried over",
        "tags are not carried over: title",
    ]


def test_interlacing_is_said_once(tmp_path):
    interlaced = {"flags": "+ildct+ilme"}
    make_clip(tmp_path / "in.mkv", codec="mpeg2video", time_base=Fraction(1, 25), options=interlaced)
    assert [line.split(":")[0] for line in read(tmp_path / "in.mkv")[2]] == ["interlaced"]


def translucent(number, size=(40, 30)):
    """A picture with fully, partly and not transparent pixels, uint8 [H, W, 4]."""
    alpha = np.full((size[1], size[0]), 255, np.uint8)
    alpha[5:15, 5:15], alpha[number : number + 5, 20:30] = 0, 100
    return np.dstack([picture(number, *size), alpha])


def on_white(rgba):
    alpha = rgba[..., 3:].astype(float) / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".mov"])
def test_transparent_pictures_are_composed_on_white_and_that_is_said(suffix, tmp_path):
    pictures = [translucent(number) for number in range(6)]
    path = tmp_path / f"in{suffix}"
    if suffix == ".mov":
        with av.open(str(path), "w") as output:
            video = output.add_stream("qtrle", rate=10)
            video.width, video.height, video.pix_fmt = 40, 30, "argb"
            for rgba in pictures:
                output.mux(video.encode(av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="argb")))
            output.mux(video.encode(None))
    else:
        images = [Image.fromarray(rgba) for rgba in pictures]
        images[0].save(path, save_all=True, append_images=images[1:], duration=100, lossless=True, exact=True)
    found, times, warnings = read(path)
    assert [start for start, _ in times] == [Fraction(n, 10) for n in range(6)]
    assert warnings == ["transparency is not kept: pictures are composed on white"]
    np.testing.assert_array_equal(found, [on_white(rgba) for rgba in pictures])
    np.testing.assert_array_equal(sample_frames(path, 10), found)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_the_alpha_of_webm_is_seen(codec, tmp_path):
    with av.open(str(tmp_path / "in.webm"), "w") as output:
        video = output.add_stream(codec, rate=10, options={"auto-alt-ref": "0", "b": "1M"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuva420p"
        video.metadata["alpha_mode"] = "1"
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(translucent(number, (64, 48)), format="rgba")
            output.mux(video.encode(frame.reformat(format="yuva420p")))
        output.mux(video.encode(None))
    found, _, warnings = read(tmp_path / "in.webm")
    assert warnings == ["transparency is not kept: pictures are composed on white"]
    assert found[0][8:12, 8:12].min() > 240
    assert found[0][25:, :20].max() < 240


def test_opaque_pictures_with_an_alpha_plane_give_no_warning(tmp_path):
    images = [Image.fromarray(picture(n)).convert("RGBA") for n in range(3)]
    images[0].save(tmp_path / "in.png", save_all=True, append_images=images[1:])
    found, _, warnings = read(tmp_path / "in.png")
    assert warnings == []
    np.testing.assert_array_equal(found, [picture(n) for n in range(3)])


# --- animated images ---


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_gif_disposal_and_durations(disposal, tmp_path):
    base = Image.new("P", (40, 30), 0)
    base.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 0, 90, 90, 255])
    images = []
    for number in range(4):
        image = base.copy()
        image.paste(1 + number % 3, (number * 5, 3, number * 5 + 8, 20))
        images.append(image)
    durations = [40, 500, 90, 1230]
    images[0].save(
        tmp_path / "in.gif",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        disposal=disposal,
        transparency=0,
        optimize=False,
    )
    found, times, _ = read(tmp_path / "in.gif")
    with Image.open(tmp_path / "in.gif") as file:
        shown = []
        for number in range(file.n_frames):
            file.seek(number)
            shown.append(on_white(np.asarray(file.convert("RGBA"))))
    np.testing.assert_array_equal(found, shown)
    assert [duration for _, duration in times] == [Fraction(d, 1000) for d in durations]


def webp(path, frames=5, duration=70, **options):
    images = [Image.fromarray(picture(n)) for n in range(frames)]
    options = {"lossless": True, "save_all": True, "append_images": images[1:], "duration": duration, **options}
    images[0].save(path, **options)
    return [picture(n) for n in range(frames)]


def test_animated_webp_is_read_exactly_with_its_durations(tmp_path):
    pictures = webp(tmp_path / "in.webp", duration=[70, 30, 500, 1, 90])
    found, times, warnings = read(tmp_path / "in.webp")
    np.testing.assert_array_equal(found, pictures)
    assert [duration for _, duration in times] == [Fraction(d, 1000) for d in (70, 30, 500, 1, 90)]
    assert all(a[0] + a[1] == b[0] for a, b in pairwise(times))
    assert warnings == []
    with VideoReader(tmp_path / "in.webp") as reader:
        assert reader.frames_hint == 5
    assert len(sample_frames(tmp_path / "in.webp", 3)) == 3


def test_animated_webp_from_a_stream(tmp_path):
    pictures = webp(tmp_path / "in.webp")
    data = (tmp_path / "in.webp").read_bytes()

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    for source in (io.BytesIO(data), io.BufferedReader(Pipe(data))):
        np.testing.assert_array_equal(read(source)[0], pictures)


def test_damaged_webp(tmp_path):
    webp(tmp_path / "in.webp")
    data = (tmp_path / "in.webp").read_bytes()
    (tmp_path / "head.webp").write_bytes(data[:40])
    with pytest.raises(CorruptFileError, match=r"head\.webp"):
        read(tmp_path / "head.webp")
    middle = len(data) // 2
    (tmp_path / "middle.webp").write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    try:
        found, _, warnings = read(tmp_path / "middle.webp")
    except CorruptFileError:
        return
    assert len(found) < 5
    assert warnings[0].startswith(f"input is damaged: {len(found)} frames decoded of ")


# --- sequences of pictures ---


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 3, 9, 10, 12):
        Image.fromarray(picture(number)).save(tmp_path / f"frame_{number:04d}.png")
        Image.fromarray(picture(number)).save(tmp_path / f"shot{number}.bmp")
    return tmp_path


def test_a_sequence_by_number_goes_by_number(folder):
    found, times, warnings = read(str(folder / "frame_%04d.png"), frame_rate=Fraction(10))
    np.testing.assert_array_equal(found, [picture(n) for n in (1, 2, 3, 9, 10, 12)])
    assert times == [(Fraction(n, 10), Fraction(1, 10)) for n in range(6)]
    assert warnings == ["pictures are missing from the sequence: 4 to 8, 11; those that follow move up"]


@pytest.mark.parametrize("pattern", ["shot*.bmp", "shot%d.bmp", "sh?t[0-9]*.bmp"])
def test_a_sequence_by_glob_sorts_numbers_as_numbers(pattern, folder):
    found, times, warnings = read(str(folder / pattern))
    np.testing.assert_array_equal(found, [picture(n) for n in (1, 2, 3, 9, 10, 12)])
    assert times[1][0] == Fraction(1, 25)
    assert any("25 frames/s" in line for line in warnings)
    np.testing.assert_array_equal(sample_frames(str(folder / pattern), 9, Fraction(7)), found)


def test_sequences_that_cannot_be_read(folder):
    with pytest.raises(FileAccessError, match=r"none_%d\.png"):
        read(str(folder / "none_%d.png"))
    with pytest.raises(FileAccessError, match="no file"):
        read(str(folder / "*.jpeg"))
    with pytest.raises(UsageError, match="one number"):
        read(str(folder / "%d_%d.png"))
    (folder / "frame_0013.png").write_text("not a picture")
    with pytest.raises(CorruptFileError, match=r"frame_0013\.png"):
        read(str(folder / "frame_%04d.png"))


def test_a_rate_is_for_sequences(tmp_path):
    make_clip(tmp_path / "in.mp4")
    with pytest.raises(UsageError, match="times of its own"):
        VideoReader(tmp_path / "in.mp4", Fraction(5))


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    make_clip(tmp_path / "take[1]%d.mp4", frames=3)
    assert len(read(str(tmp_path / "take[1]%d.mp4"))[0]) == 3


# --- streams put end to end, and streams that are damaged ---


def test_files_put_end_to_end_are_no_damage(tmp_path):
    for name in ("a", "b"):
        make_clip(tmp_path / f"{name}.ts", frames=50, audio="aac", options={"bf": "2"})
    parts = [(tmp_path / f"{name}.ts").read_bytes() for name in ("a", "b")]
    (tmp_path / "ab.ts").write_bytes(b"".join(parts))
    found, times, warnings = read(tmp_path / "ab.ts")
    assert len(found) == 100
    assert all(0 < b[0] - a[0] < Fraction(1, 10) for a, b in pairwise(times))
    assert warnings == ["joined from 2 recordings, each with times of its own: they are put end to end"]


def test_a_transport_stream_that_lacks_packets_is_damaged(tmp_path):
    make_clip(tmp_path / "in.ts", frames=100, options={"g": "1000", "bf": "0", "crf": "10"})
    data = (tmp_path / "in.ts").read_bytes()
    middle = len(data) // 188 // 2 * 188
    (tmp_path / "in.ts").write_bytes(data[:middle] + data[middle + 188 * 8 :])
    assert any("input is damaged" in line for line in read(tmp_path / "in.ts")[2])


@pytest.mark.parametrize(
    "times",
    [[0, 512, 600, 2000, 2100, 9000, 9512], [n * 64000 for n in range(6)], [7000 + 512 * n for n in range(9)]],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mpg"])
def test_times_are_those_that_pyav_gives(suffix, times, tmp_path):
    if suffix == ".mpg":
        make_clip(tmp_path / "in.mpg", frames=12, codec="mpeg2video", time_base=Fraction(1, 25))
    else:
        make_clip(tmp_path / f"in{suffix}", times=times)
    with av.open(str(tmp_path / f"in{suffix}")) as file:
        expected = [frame.pts * frame.time_base for frame in file.decode(video=0)]
    assert [start for start, _ in read(tmp_path / f"in{suffix}")[1]] == expected
