"""Standard input and output at their slowest: a byte at a time."""

import io
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from clips import Clip, make_clip
from conftest import program

import pacodec


class Dribble(io.RawIOBase):
    """Hands out one byte a call, takes one byte a call, and cannot seek."""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.position = bytearray(data), 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.data[self.position : self.position + 1]
        buffer[: len(part)] = part
        self.position += len(part)
        return len(part)

    def write(self, data: Any) -> int:
        self.data += bytes(data[:1])
        return min(len(data), 1)


class Standard:
    """What stands in for sys.stdin or sys.stdout."""

    def __init__(self, buffer: io.RawIOBase) -> None:
        self.buffer = buffer


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipes") / "in.mkv"
    lossless = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}
    make_clip(path, width=16, height=16, frames=15, audio="aac", **lossless)
    return path


CODING = {"gop_seconds": 0.2, "coder": "none", "quality": 1}


def through(monkeypatch: pytest.MonkeyPatch, data: bytes, work: Any, **options: Any) -> bytes:
    """The output of `work` from a pipe to a pipe that both dribble."""
    stdin, stdout = Dribble(data), Dribble()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Standard(stdin))
        patch.setattr(sys, "stdout", Standard(stdout))
        work("-", "-", **options)
    return bytes(stdout.data)


def test_a_byte_at_a_time_makes_no_difference(source, tmp_path, monkeypatch):
    coded = through(monkeypatch, source.read_bytes(), pacodec.encode, **CODING)
    (tmp_path / "dribbled.pac").write_bytes(coded)
    assert pacodec.verify(tmp_path / "dribbled.pac") == []
    # A pipe has no size and cannot be sampled all over: a buffered one is what to compare with.
    whole = subprocess.run(
        program("encode", "-", "-", "--gop", "0.2", "--coder", "none", "-q", "1"),
        input=source.read_bytes(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert coded == whole.stdout

    decoded = through(monkeypatch, coded, pacodec.decode, lossless=True)
    (tmp_path / "dribbled.mp4").write_bytes(decoded)
    pacodec.decode(str(tmp_path / "dribbled.pac"), str(tmp_path / "whole.mp4"), lossless=True)
    dribbled, whole_clip = Clip(tmp_path / "dribbled.mp4"), Clip(tmp_path / "whole.mp4")
    np.testing.assert_array_equal(dribbled.pictures, whole_clip.pictures)
    assert [pts for pts, _ in dribbled.times] == [pts for pts, _ in whole_clip.times]
    assert [data for *_, data in dribbled.sound] == [data for *_, data in whole_clip.sound] != []


def test_damage_in_a_pipe_that_dribbles(source, tmp_path, monkeypatch):
    pacodec.encode(str(source), str(tmp_path / "a.pac"), **CODING)
    data = bytearray((tmp_path / "a.pac").read_bytes())
    with pacodec.container.Reader(bytes(data)) as reader:
        data[reader.gops[1].chunk.end - 6] ^= 1
    reports = []
    decoded = through(
        monkeypatch, bytes(data), lambda *a, **o: reports.append(pacodec.decode(*a, **o)), keep_going=True
    )
    assert [(loss.first_frame, loss.last_frame) for loss in reports[0].lost] == [(5, 9)]
    (tmp_path / "out.mp4").write_bytes(decoded)
    assert len(Clip(tmp_path / "out.mp4").frames) == 10


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_processes_that_are_fed_and_read_a_byte_at_a_time(command, source, tmp_path):
    pacodec.encode(str(source), str(tmp_path / "a.pac"), **CODING)
    data = (source if command == "encode" else tmp_path / "a.pac").read_bytes()
    options = ["--gop", "0.2", "--coder", "none", "-q", "1"] if command == "encode" else ["--lossless"]
    process = subprocess.Popen(
        program(command, "-", "-", *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    assert process.stdout

    def feed() -> None:
        for at in range(len(data)):
            os.write(process.stdin.fileno(), data[at : at + 1])
        process.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    taken = bytearray()
    while part := os.read(process.stdout.fileno(), 1):
        taken += part
    feeder.join()
    process.stdout.close()
    assert process.wait(60) == 0
    if command == "encode":
        (tmp_path / "out.pac").write_bytes(taken)
        assert pacodec.verify(tmp_path / "out.pac") == []
        assert pacodec.info(tmp_path / "out.pac").frames == 15
    else:
        (tmp_path / "out.mp4").write_bytes(taken)
        assert len(Clip(tmp_path / "out.mp4").frames) == 15
