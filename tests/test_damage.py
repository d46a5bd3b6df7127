"""A damaged file: what is intact comes back, unharmed, and what does not is said."""

import io
import json
import struct
import zlib
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
import pytest
from authored import differences
from clips import Clip, make_clip
from conftest import cli, leftovers, run, screen

import pacodec
from pacodec.common.media import AudioPacket, AudioStream, GridSpec, VideoFormat
from pacodec.container import Component, Gop, Header, Reader, StreamReader, Writer, verify
from pacodec.container.packing import unpack_map
from pacodec.errors import CorruptFileError, LimitError, PacodecError, UnsupportedError
from pacodec.gop.grid_transforms import PaletteGrids
from pacodec.gop.pictures import GopPictures
from pacodec.gop.priors import GopDecoders
from pacodec.transforms.palette import PaletteTransform

FRAMES, GOP = 15, 5


PALETTE = np.array([[10 * i, 255 - 20 * i, 40] for i in range(8)], np.uint8)
CODES = np.random.default_rng(3).integers(0, 8, (6, 1, 6, 8), np.uint8)


NONE = Component("none")
SPEC = GridSpec(1, 6, 8, ordinal=False)
PAYLOAD = differences(CODES)


def header(**changes: Any) -> Header:
    coder = PaletteGrids(PaletteTransform(PALETTE), 6, 8)
    video = VideoFormat(8, 6, Fraction(1, 25))
    fields = {"writer": "test", "video": video, "grid": coder.spec, "transform": coder.transform}
    return Header(**{**fields, "quantizer": coder.quantizer, **changes})


def gop_of(number: int, **changes: Any) -> Gop:
    """Six frames of those codes, as the GOP of that number."""
    gop = Gop(6 * number, np.arange(7) + 6 * number, np.zeros(6, np.bool_), zlib.crc32(CODES), PAYLOAD, coder=NONE)
    return replace(gop, **changes)


def file_of(*gops: Gop, **changes: Any) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, header(**changes))
    for gop in gops:
        writer.add_gop(gop)
    writer.close()
    return file.getvalue()


@pytest.fixture(scope="module")
def small() -> bytes:
    """A file of about a thousand bytes with all that files have: three GOPs of six frames, sound, index."""
    track = AudioStream("aac", Fraction(1, 1000), 8000, "mono", "fltp", extradata=b"\x12\x10")
    file = io.BytesIO()
    writer = Writer(file, header(video=VideoFormat(8, 6, Fraction(1, 25), audio=(track,))))
    for number in range(3):
        writer.add_gop(gop_of(number))
        writer.add_audio([AudioPacket(0, 240 * number, 240 * number, 240, True, bytes(range(9)))])
    writer.close(1234)
    return file.getvalue()


@pytest.fixture(scope="module")
def pac(tmp_path_factory) -> bytes:
    """A small file of three GOPs of five frames, with sound."""
    folder = tmp_path_factory.mktemp("damage")
    lossless = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}
    make_clip(folder / "in.mp4", width=16, height=16, frames=FRAMES, audio="aac", **lossless)
    pacodec.encode(str(folder / "in.mp4"), str(folder / "a.pac"), gop_seconds=0.2, quality=1, coder="none")
    return (folder / "a.pac").read_bytes()


@pytest.fixture(scope="module")
def whole(pac: bytes, tmp_path_factory) -> list[Any]:
    path = tmp_path_factory.mktemp("whole") / "a.pac"
    path.write_bytes(pac)
    with pacodec.open(path) as video:
        return video[:]


def surviving(data: bytes) -> list[int]:
    """Numbers of the GOPs that still decode, each of which must be unharmed; typed errors for the rest."""
    found = []
    with Reader(data) as reader:
        coder = PaletteGrids(PaletteTransform(PALETTE), 6, 8)
        for number, entry in enumerate(reader.gops):
            with suppress(CorruptFileError, LimitError):
                pictures = GopPictures(reader.header, coder, GopDecoders(SPEC)).run(iter([reader.gop(number)]))
                np.testing.assert_array_equal(np.concatenate([made for *_, made in pictures]), PALETTE[CODES[:, 0]])
                found.append(entry.first_frame // 6)
    return found


# --- every byte, every cut ---


def test_each_byte_flipped_is_a_typed_error_or_leaves_the_other_gops(small):
    with Reader(small) as reader:
        front = reader.head_end
        chunks = [range(entry.offset, entry.chunk.end) for entry in reader.gops]
    outcomes: Counter[str] = Counter()
    for position in range(len(small)):
        data = bytearray(small)
        data[position] ^= 1 << position % 8
        broken = bytes(data)
        if position < front:
            with pytest.raises((CorruptFileError, UnsupportedError)):
                Reader(broken)
            outcomes["refused"] += 1
            continue
        expected = [number for number, chunk in enumerate(chunks) if position not in chunk]
        assert surviving(broken) == expected, position
        with Reader(broken) as reader:
            problems = verify(reader)
        assert problems, position
        for number in {0, 1, 2} - set(expected):
            named = f"frames {6 * number} to {6 * number + 5}"
            assert any(named in problem for problem in problems), (position, problems)
        outcomes["one GOP lost" if len(expected) < 3 else "all GOPs intact"] += 1
    assert outcomes["refused"] == front
    assert outcomes["one GOP lost"] == sum(map(len, chunks))
    assert sum(outcomes.values()) == len(small)
    print(f"{len(small)} bytes flipped: {dict(outcomes)}")


def test_cut_at_every_offset_all_complete_gops_are_there(small):
    with Reader(small) as reader:
        front, ends = reader.head_end, [entry.chunk.end for entry in reader.gops]
    for size in range(len(small)):
        if size < front:
            with pytest.raises(CorruptFileError):
                Reader(small[:size])
            continue
        complete = [number for number, end in enumerate(ends) if end <= size]
        assert surviving(small[:size]) == complete, size
        gops = [event for event in StreamReader(io.BytesIO(small[:size])) if isinstance(event, Gop)]
        assert [gop.first_frame // 6 for gop in gops] == complete, size
    print(f"{len(small)} offsets cut")


@pytest.mark.slow
def test_keep_going_after_every_flip(small, tmp_path):
    path, target = tmp_path / "bad.pac", tmp_path / "out.mp4"
    options = {"lossless": True, "keep_going": True, "overwrite": True, "audio": False, "jobs": 1}
    outcomes: Counter[str] = Counter()
    for position in range(len(small)):
        data = bytearray(small)
        data[position] ^= 1 << position % 8
        path.write_bytes(data)
        try:
            report = pacodec.decode(str(path), str(target), **options)
        except PacodecError:
            outcomes["refused"] += 1
            continue
        missing = {n for loss in report.lost for n in range(loss.first_frame, loss.last_frame + 1)}
        kept = [PALETTE[CODES[n % 6, 0]] for n in range(18) if n not in missing]
        np.testing.assert_array_equal(Clip(target).pictures, kept)
        outcomes[f"{len(missing)} frames lost"] += 1
    print(f"{len(small)} bytes flipped: {dict(outcomes)}")
    assert set(outcomes) == {"refused", "0 frames lost", "6 frames lost"}


# --- decode --keep-going ---


def damaged(pac: bytes, *numbers: int) -> bytes:
    """The file with a flipped bit in the payload of those GOPs."""
    data = bytearray(pac)
    with Reader(pac) as reader:
        for number in numbers:
            data[reader.gops[number].chunk.end - 6] ^= 4
    return bytes(data)


@pytest.mark.parametrize("lost", [(0,), (1,), (2,), (0, 2), (0, 1)])
@pytest.mark.parametrize("way", ["file", "pipe", "no index"])
def test_keep_going_writes_what_survives_and_says_what_does_not(lost, way, pac, whole, tmp_path):
    path, target = tmp_path / "bad.pac", tmp_path / "out.mp4"
    data = damaged(pac, *lost)
    path.write_bytes(data[:-1] if way == "no index" else data)
    result = cli("decode", path, target)
    assert (result.exit_code, leftovers(tmp_path)) == (3, ["bad.pac"])
    if way == "pipe":
        done = run("decode", "-", target, "--lossless", "--keep-going", input=data)
        code, errors = done.returncode, done.stderr.decode()
    else:
        result = cli("decode", path, target, "--lossless", "--keep-going")
        code, errors = result.exit_code, result.stderr
    assert code == 3
    gaps = (
        [range(GOP * lost[0], GOP * lost[-1] + GOP)]
        if lost == (0, 1)
        else [range(GOP * n, GOP * n + GOP) for n in lost]
    )
    for gap in gaps:
        begin = "the start" if gap.start == 0 else f"{gap.start / 25:.3f} s"
        end = "the end" if gap.stop == FRAMES else f"{gap.stop / 25:.3f} s"
        assert f"damaged: frames {gap.start} to {gap.stop - 1} ({begin} to {end}) are lost" in errors
    assert f"damaged, {GOP * len(lost)} frames are lost; what is intact was written" in errors.splitlines()[-1]
    kept = [n for n in range(FRAMES) if n // GOP not in lost]
    clip = Clip(target)
    np.testing.assert_array_equal(clip.pictures, [whole[n] for n in kept])
    # At their own times, though a muxer may begin with the first.
    assert [pts for pts, _ in clip.times] == [Fraction(n, 25) for n in kept]


def test_the_report_of_decode_has_what_is_lost(pac, tmp_path):
    path = tmp_path / "bad.pac"
    path.write_bytes(damaged(pac, 1))
    report = pacodec.decode(str(path), str(tmp_path / "out.mp4"), keep_going=True)
    (loss,) = report.lost
    assert (loss.first_frame, loss.last_frame, loss.frames, loss.start, loss.end) == (5, 9, 5, 0.2, 0.4)
    assert any("GOP 1" in line for line in report.damage)
    result = cli("decode", path, tmp_path / "out.mp4", "-y", "--keep-going", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["lost"] == [{"first_frame": 5, "last_frame": 9, "start": 0.2, "end": 0.4}]


@pytest.mark.parametrize(
    ("start", "end", "lost"), [(0.0, 0.2, 0), (0.4, None, 0), (0.0, 0.24, 5), (0.3, 0.5, 5), (0.0, None, 5)]
)
def test_only_what_is_lost_of_the_time_range_counts(start, end, lost, pac, tmp_path):
    path = tmp_path / "bad.pac"
    path.write_bytes(damaged(pac, 1))
    report = pacodec.decode(str(path), str(tmp_path / "out.mp4"), start=start, end=end, keep_going=True, audio=False)
    assert sum(loss.frames for loss in report.lost) == lost
    assert bool(report.damage) == bool(lost)


def test_an_intact_file_is_no_failure_with_keep_going(pac, tmp_path):
    path = tmp_path / "good.pac"
    path.write_bytes(pac)
    assert cli("decode", path, tmp_path / "out.mp4", "--keep-going").exit_code == 0


def test_nothing_left_to_write_leaves_nothing(pac, tmp_path):
    path = tmp_path / "bad.pac"
    path.write_bytes(damaged(pac, 0, 1, 2))
    result = cli("decode", path, tmp_path / "out.mp4", "--keep-going")
    assert (result.exit_code, leftovers(tmp_path)) == (3, ["bad.pac"])
    assert "holds no frame" in result.stderr


# --- GOPs whose checksums hold, and which are wrong all the same ---

WRONG = {
    "codes": {"codes_crc": 1},
    "payload": {"payload": b"\xff" * 30},
    "palette": {"transform": {"palette": b"\1\2\3\4"}},
    "palette too small": {"transform": {"palette": b"\1\2\3"}},
}


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_gop_is_contained(kind, jobs, tmp_path):
    path, target = tmp_path / "wrong.pac", tmp_path / "out.mp4"
    path.write_bytes(file_of(gop_of(0), gop_of(1, **WRONG[kind]), gop_of(2)))
    with pytest.raises((CorruptFileError, LimitError)):
        pacodec.decode(str(path), str(target), jobs=jobs)
    report = pacodec.decode(str(path), str(target), jobs=jobs, lossless=True, keep_going=True)
    (loss,) = report.lost
    assert (loss.first_frame, loss.last_frame) == (6, 11)
    assert any("frames 6 to 11: " in line for line in report.damage)
    np.testing.assert_array_equal(Clip(target).pictures, [*PALETTE[CODES[:, 0]], *PALETTE[CODES[:, 0]]])
    with pacodec.open(path) as video:
        with pytest.raises((CorruptFileError, LimitError)):
            video[6:12]
        np.testing.assert_array_equal(video[12:], PALETTE[CODES[:, 0]])


def test_what_is_too_much_to_hold_until_its_checksum_comes_is_left_out_too(monkeypatch):
    monkeypatch.setattr("pacodec.gop.pictures.AHEAD_BYTES", 100)
    reported = []
    coder = PaletteGrids(PaletteTransform(PALETTE), 6, 8)
    pictures = GopPictures(header(), coder, GopDecoders(SPEC), 1, lambda gop, error: reported.append(str(error)))
    gops = [gop_of(0), gop_of(1, codes_crc=1), gop_of(2)]
    found = [(gop.first_frame + first, len(batch)) for gop, first, batch in pictures.run(iter(gops))]
    assert sum(n for _, n in found) == 12
    assert not any(6 <= frame < 12 for frame, _ in found)
    assert reported == ["the decoded codes do not match their checksum"]


def test_random_access_finds_wrong_codes_at_the_end_of_the_gop_and_gives_nothing_more_of_it():
    with pacodec.open(file_of(gop_of(0), gop_of(1, codes_crc=1))) as video:
        for frame in (5, 0, 3, 5, 2):
            np.testing.assert_array_equal(video.codes(frame), CODES[frame])
        np.testing.assert_array_equal(video.codes(8), CODES[2])
        for frame in (11, 6, 8, 11):
            with pytest.raises(CorruptFileError, match="checksum"):
                video.codes(frame)
        np.testing.assert_array_equal(video.codes(4), CODES[4])


def test_a_gop_over_a_limit_with_right_crcs_leaves_the_others():
    data = file_of(gop_of(0), gop_of(1), gop_of(2))
    entry = Reader(data).gops[1]
    payload = bytearray(data[entry.offset + 12 : entry.chunk.end - 4])
    struct.pack_into("<I", payload, 4, 2**31)  # frames
    wrong = data[: entry.offset + 12] + payload + struct.pack("<I", zlib.crc32(payload)) + data[entry.chunk.end :]
    with Reader(wrong) as reader:
        with pytest.raises(LimitError, match="GOP 1"):
            reader.gop(1)
        assert [reader.gop(n).first_frame for n in (0, 2)] == [0, 12]
    for cut in (wrong[:-1], wrong[:-40]):
        with Reader(cut) as reader:
            assert [entry.first_frame for entry in reader.gops] == [0, 12]
            assert any("frames of a GOP" in line for line in reader.damage)
    stream = StreamReader(io.BytesIO(wrong))
    assert [gop.first_frame for gop in stream if isinstance(gop, Gop)] == [0, 12]
    assert any("frames of a GOP" in line for line in stream.damage)


# --- the copy of the header ---


@pytest.fixture(scope="module")
def copied() -> bytes:
    """A file that is long enough for a copy of its header."""
    return file_of(*[gop_of(n) for n in range(400)])


def front_of(data: bytes) -> int:
    with Reader(data) as reader:
        return reader.head_end


def test_a_long_file_repeats_its_front_before_the_index(copied):
    assert copied.count(b"head" + struct.pack("<I", front_of(copied) - 16)) == 1
    assert verify(Reader(copied)) == []
    with Reader(copied) as reader:
        assert sum(reader.sizes.values()) == len(copied)
        assert reader.sizes["other"] == 0
        assert reader.sizes["header"] == 2 * front_of(copied)
    assert b"head\x00" not in file_of(*[gop_of(n) for n in range(20)])


def test_any_damage_to_the_front_is_made_good_by_the_copy(copied):
    front = front_of(copied)
    with Reader(copied) as good:
        for position in range(front):
            data = bytearray(copied)
            data[position] ^= 1 << position % 8
            with Reader(bytes(data)) as reader:
                assert reader.header == good.header
                assert reader.gops == good.gops
                assert reader.declared == 2400
                assert any("taken from the copy" in line for line in reader.damage)
    wiped = bytes(front) + copied[front:]
    with Reader(wiped) as reader:
        assert reader.frames == 2400
        assert verify(reader)


def test_decode_with_the_copy(copied, tmp_path):
    path, target = tmp_path / "bad.pac", tmp_path / "out.mp4"
    path.write_bytes(bytes(40) + copied[40:])
    assert cli("decode", path, target).exit_code == 3
    result = cli("decode", path, target, "--keep-going", "--end", 1)
    assert result.exit_code == 3
    assert "no frame is known to be lost" in result.stderr
    assert len(Clip(target).frames) == 25


def test_a_file_cut_and_without_its_front_is_refused(copied):
    for data in (bytes(40) + copied[40:-1], bytes(40) + copied[40:-50]):
        with pytest.raises(CorruptFileError):
            Reader(data)


def test_damage_to_the_copy_is_found_and_harmless(copied):
    at = copied.rindex(b"head" + struct.pack("<I", front_of(copied) - 16))
    data = bytearray(copied)
    data[at + 40] ^= 1
    with Reader(bytes(data)) as reader:
        assert reader.frames == 2400
        assert any("head" in problem for problem in verify(reader))
    with pytest.raises(CorruptFileError):
        Reader(bytes(40) + bytes(data[40:]))


@pytest.mark.parametrize("position", [-1, 0, 20, 2**62, "text"])
def test_an_index_that_lies_about_the_copy(position, copied):
    begin = copied.rindex(b"indx")
    values = unpack_map(copied[begin + 12 : -28], "index", 10**6)
    payload = b"\0" + msgpack.packb({**values, "head": position})
    prefix = struct.pack("<4sI", b"indx", len(payload))
    chunk = prefix + struct.pack("<I", zlib.crc32(prefix)) + payload + struct.pack("<I", zlib.crc32(payload))
    lying = copied[:begin] + chunk + copied[-24:]
    with suppress(PacodecError), Reader(lying) as reader:
        assert reader.frames == 2400
    with pytest.raises((CorruptFileError, UnsupportedError)):
        Reader(bytes(40) + lying[40:])


def test_a_newer_version_is_not_taken_for_damage(copied):
    fields = struct.pack("<8sBBHI", b"\x89PAC\r\n\x1a\n", 3, 3, 0, 0)
    newer = fields + struct.pack("<I", zlib.crc32(fields))
    copy = copied.rindex(copied[:12])
    payload = newer + copied[copy + 20 : copy + front_of(copied) - 16]
    both = (
        newer + copied[20:copy] + payload + struct.pack("<I", zlib.crc32(payload)) + copied[copy + len(payload) + 4 :]
    )
    with pytest.raises(UnsupportedError, match="version 3"):
        Reader(both)


def test_screens_are_what_they_were(screens_pac, tmp_path):
    """The end-to-end clip loses a GOP and no more."""
    path = tmp_path / "bad.pac"
    path.write_bytes(damaged(screens_pac.read_bytes(), 1))
    report = pacodec.decode(str(path), str(tmp_path / "out.mkv"), keep_going=True, lossless=True)
    kept = [screen(n) for n in [*range(10), *range(20, 24)]]
    np.testing.assert_array_equal(Clip(tmp_path / "out.mkv").pictures, kept)
    assert [(loss.first_frame, loss.last_frame) for loss in report.lost] == [(10, 19)]
