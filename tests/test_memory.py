"""Memory does not grow with the length of a video."""

import os
import subprocess
import sys

import numpy as np
import pytest
from clips import make_clip
from conftest import lengthen, make_video, screen

import pacodec

MEGABYTE = 1 << 20
MEASURED = """
import re, sys, pacodec
from pathlib import Path
{work}
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10)
"""


def peak(work: str, *arguments: object) -> int:
    """Most bytes of memory that a process took which did `work`."""
    command = [sys.executable, "-P", "-c", MEASURED.format(work=work), *map(str, arguments)]
    # One heap for all threads: a heap each holds back what its thread let go, and how much is a matter of chance.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    return int(subprocess.run(command, capture_output=True, check=True, timeout=3000, env=environment).stdout)


@pytest.fixture(scope="module")
def looped(tmp_path_factory):
    """Makes a clip of n times the same second, whose pictures take 4.6 MB."""
    folder = tmp_path_factory.mktemp("looped")
    make_video(folder / "second.mp4", [screen(n, 256, 240) for n in range(25)])

    def make(seconds):
        target = folder / f"{seconds}.mp4"
        if not target.exists():
            loop(folder / "second.mp4", target, seconds)
        return target

    return make


def loop(source, target, times):
    import av

    with av.open(str(target), "w") as output:
        copy = None
        for number in range(times):
            with av.open(str(source)) as clip:
                (stream,) = clip.streams.video
                copy = copy or output.add_stream_from_template(stream)
                for packet in clip.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts += number * stream.duration
                    packet.dts += number * stream.duration
                    packet.stream = copy
                    output.mux(packet)


ENCODE = "assert pacodec.encode(*sys.argv[1:3], gop_seconds={gop}, jobs=1, overwrite=True).frames == int(sys.argv[3])"
DECODE = "assert pacodec.decode(*sys.argv[1:3], jobs=2, overwrite=True).frames == int(sys.argv[3])"
READ = "video = pacodec.open(sys.argv[1], jobs=2)\nassert sum(map(len, video.batches())) == int(sys.argv[3])"


@pytest.mark.parametrize("gop", [pytest.param(2, marks=pytest.mark.slow), 1000])
def test_encoding_takes_no_more_for_a_longer_clip(gop, looped, tmp_path):
    few, many = (
        peak(ENCODE.format(gop=gop), looped(seconds), tmp_path / "a.pac", seconds * 25) for seconds in (10, 60)
    )
    # The pictures beyond the first 10 seconds take 230 MB.
    assert many - few < 100 * MEGABYTE
    assert many < 1500 * MEGABYTE


@pytest.mark.parametrize("work", [DECODE, pytest.param(READ, marks=pytest.mark.slow)], ids=["decode", "read"])
def test_decoding_takes_no_more_for_a_longer_clip(work, looped, tmp_path):
    pacodec.encode(str(looped(2)), str(tmp_path / "short.pac"), gop_seconds=1, effort=1)
    lengthen(tmp_path / "short.pac", tmp_path / "few.pac", 20)
    lengthen(tmp_path / "short.pac", tmp_path / "many.pac", 60)
    few, many = (
        peak(work, tmp_path / f"{name}.pac", tmp_path / "out.mp4", seconds * 25)
        for name, seconds in (("few", 20), ("many", 60))
    )
    # The pictures beyond the first 20 seconds take 184 MB; of the few as many may wait to be taken as of the many.
    assert many - few < 92 * MEGABYTE


def test_a_long_still_is_not_kept(tmp_path):
    few, many = tmp_path / "few.mp4", tmp_path / "many.mp4"
    for target, frames in ((few, 100), (many, 900)):
        make_video(target, [screen(0, 256, 240)] * frames)
        pacodec.encode(str(target), str(target.with_suffix(".pac")), gop_seconds=100)
    for work, suffix in ((ENCODE.format(gop=100), ".mp4"), (READ, ".pac")):
        small = peak(work, few.with_suffix(suffix), tmp_path / "out.pac", 100)
        assert peak(work, many.with_suffix(suffix), tmp_path / "out.pac", 900) - small < 15 * MEGABYTE


@pytest.mark.slow
@pytest.mark.timeout(4000)
@pytest.mark.parametrize("quality", [1, 4])
def test_an_hour_takes_no_more_than_a_minute(quality, tmp_path):
    make_clip(tmp_path / "second.mp4", width=160, height=200, frames=25, codec="libx264rgb", pixel_format="rgb24")
    encode = f"pacodec.encode(*sys.argv[1:3], quality={quality}, jobs=2)"
    peaks = []
    for seconds in (60, 3600):
        loop(tmp_path / "second.mp4", tmp_path / f"{seconds}.mp4", seconds)
        coded = tmp_path / f"{seconds}.pac"
        peaks.append(
            (
                peak(encode, tmp_path / f"{seconds}.mp4", coded),
                peak(DECODE, coded, tmp_path / f"{seconds}-out.mp4", seconds * 25),
            )
        )
    for minute, hour in zip(*peaks, strict=True):
        assert hour - minute < 100 * MEGABYTE
        assert hour < 1500 * MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("lossless", [False, True])
def test_encoding_a_large_screen_takes_little(lossless, tmp_path):
    pictures = [screen(number, 1920, 1080) for number in range(60)]
    shades = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    for picture in pictures:
        picture[:24, :32] = shades  # more colours than a palette has, so that a standard codec is tried, too
    make_video(tmp_path / "screen.mp4", pictures)
    work = f"pacodec.encode(*sys.argv[1:3], lossless={lossless})"
    assert peak(work, tmp_path / "screen.mp4", tmp_path / "screen.pac") < 600 * MEGABYTE
