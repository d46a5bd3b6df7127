"""The plain data about media: through msgpack and back, and nothing but named errors for what is not that."""

import contextlib
import itertools
from fractions import Fraction

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacodec.common.media import AudioPacket, AudioStream, ColorTags, VideoFormat
from pacodec.errors import CorruptFileError, LimitError, PacodecError
from pacodec.video.demuxer import TimestampRepair

fractions = st.builds(Fraction, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1))
codes = st.integers(0, 255)
audio_streams = st.builds(
    AudioStream,
    codec=st.sampled_from(["aac", "pcm_s16le", "opus"]),
    time_base=fractions,
    sample_rate=st.integers(1, 192_000),
    layout=st.sampled_from(["mono", "stereo", "5.1(side)", "3c"]),
    sample_format=st.sampled_from(["fltp", "s16"]),
    extradata=st.binary(max_size=40),
    bit_rate=st.integers(0, 10**6),
    language=st.none() | st.sampled_from(["eng", "pt-BR"]),
)
formats = st.builds(
    VideoFormat,
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    time_base=fractions,
    frame_rate=st.none() | fractions,
    pixel_aspect=st.none() | fractions,
    rotation=st.integers(-180, 180),
    color=st.builds(ColorTags, st.integers(0, 2), codes, codes, codes),
    audio=st.lists(audio_streams, max_size=3).map(tuple),
)
values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text() | st.binary()
trees = st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner))


@given(formats)
def test_format_survives_msgpack(format):
    assert VideoFormat.from_dict(msgpack.unpackb(msgpack.packb(format.to_dict()))) == format


@given(formats, st.data())
def test_any_other_value_in_any_field_is_a_named_error_or_a_valid_format(format, data):
    fields = format.to_dict()
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(trees)
    with contextlib.suppress(PacodecError):
        read = VideoFormat.from_dict(fields)
        assert VideoFormat.from_dict(read.to_dict()) == read


@given(trees)
def test_anything_else_is_a_named_error(tree):
    for kind in (VideoFormat, AudioStream, ColorTags):
        with pytest.raises(PacodecError):
            kind.from_dict(tree)


def test_fields_of_later_versions_are_passed_over():
    format = VideoFormat(4, 4, Fraction(1, 25))
    assert VideoFormat.from_dict({**format.to_dict(), "stereo": "left-right"}) == format


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("width", 0, LimitError),
        ("width", 16_385, LimitError),
        ("height", True, CorruptFileError),
        ("time_base", [0, 25], CorruptFileError),
        ("time_base", [1, 2**31], CorruptFileError),
        ("time_base", [1, 25, 1], CorruptFileError),
        ("frame_rate", [-25, 1], CorruptFileError),
        ("rotation", 1000, LimitError),
        ("audio", [{}] * 33, LimitError),
        ("audio", {}, CorruptFileError),
        ("color", None, CorruptFileError),
    ],
)
def test_bad_fields(field, value, error):
    with pytest.raises(error):
        VideoFormat.from_dict({**VideoFormat(4, 4, Fraction(1, 25)).to_dict(), field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("codec", "a b"), ("codec", ""), ("layout", "FL+FR"), ("sample_format", "%s"), ("language", "")],
)
def test_names_go_to_ffmpeg_only_if_they_are_names(field, value):
    stream = AudioStream("aac", Fraction(1, 48_000), 48_000, "stereo", "fltp")
    with pytest.raises(CorruptFileError):
        AudioStream.from_dict({**stream.to_dict(), field: value})


@pytest.mark.parametrize("change", [{"stream": 32}, {"stream": -1}, {"dts": 1 << 63}, {"duration": -1}, {"data": b""}])
def test_packets_are_checked(change):
    with pytest.raises(LimitError):
        AudioPacket(**{"stream": 0, "pts": 0, "dts": 0, "duration": 1, "keyframe": True, "data": b"x", **change})


@given(st.lists(st.tuples(st.none() | st.integers(-1000, 1000), st.none() | st.integers(0, 50))))
def test_times_strictly_increase_whatever_comes(pairs):
    clock = TimestampRepair(step=10, jump=100)
    placed = [clock.place(time, duration) for time, duration in pairs]
    assert all(a < b for a, b in itertools.pairwise(placed))


@given(st.sets(st.integers(-1000, 1000)))
def test_times_that_increase_stay(times):
    clock = TimestampRepair(step=10, jump=100)
    assert [clock.place(time, 1) for time in sorted(times)] == sorted(times)
    assert clock.repaired == 0


def test_missing_and_wrong_times():
    clock = TimestampRepair(step=10, jump=100)
    assert [clock.place(t, d) for t, d in [(None, 4), (None, 0), (14, 10), (20, 10), (34, 10)]] == [0, 4, 14, 20, 34]
    assert clock.place(33, 10) == 35
    assert clock.place(45, 10) == 45
    # A splice: the second part starts at zero again and goes on from there.
    assert clock.place(1045, 10) == 1045
    assert [clock.place(t, 10) for t in (0, 10, 20)] == [1055, 1065, 1075]
    assert (clock.repaired, clock.splices) == (1, 1)
