"""`encode --resume`: what an interrupted run has done is kept, and the end result is that of an unbroken one."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from clips import lossy_clip, make_clip
from conftest import TINY, cli, colourful, leftovers, make_model, make_video, program, screen

import pacodec
import pacodec.gop.coding
from pacodec.container import Reader, Writer
from pacodec.errors import FileAccessError, QualityError, UsageError

OPTIONS = {"gop_seconds": 0.2, "jobs": 2}


class Stop(Exception):
    """Ends a run where a test wants it to."""


def stopped_after(gops: int, source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """Begin to encode, and be interrupted while the GOP after those is being written."""
    add_gop = Writer.add_gop

    def interrupted(self, gop):
        if len(self.gops) == gops:
            self._file.write(b"half a GOP")
            self._file.flush()
            raise Stop
        add_gop(self, gop)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "add_gop", interrupted)
        with pytest.raises(Stop):
            pacodec.encode(str(source), str(target), resume=True, **options)
    assert leftovers(target.parent) == [f"{target.name}.part", f"{target.name}.part.journal"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """30 frames with sound."""
    path = tmp_path_factory.mktemp("clip") / "in.mp4"
    lossless = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}
    make_clip(path, width=16, height=16, frames=30, audio="aac", **lossless)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("gops", [0, 1, 5])
def test_an_interrupted_run_goes_on_to_the_same_bytes_sound_included(gops, clip, folder, monkeypatch):
    options = {**OPTIONS, "quality": 1, "coder": "none"}
    unbroken = pacodec.encode(str(clip), str(folder.parent / "unbroken.pac"), **options)
    target = folder / "out.pac"
    stopped_after(gops, clip, target, monkeypatch, **options)
    coded = []
    encode_gop = pacodec.gop.coding.encode_gop
    monkeypatch.setattr("pacodec.gop.pipeline.encode_gop", lambda *given: coded.append(1) or encode_gop(*given))
    report = pacodec.encode(str(clip), str(target), resume=True, **{**options, "jobs": 3})
    assert len(coded) == 6 - gops  # what was done is not done again
    assert target.read_bytes() == (folder.parent / "unbroken.pac").read_bytes()
    assert (report.psnr, report.repeats, report.bytes) == (unbroken.psnr, unbroken.repeats, unbroken.bytes)
    assert leftovers(folder) == ["out.pac"]


def test_interrupted_again_and_again(clip, folder, monkeypatch):
    options = {**OPTIONS, "quality": 1, "coder": "none"}
    for gops in (1, 1, 4):
        stopped_after(gops, clip, folder / "out.pac", monkeypatch, **options)
    pacodec.encode(str(clip), str(folder / "out.pac"), resume=True, **options)
    pacodec.encode(str(clip), str(folder / "unbroken.pac"), **options)
    assert (folder / "out.pac").read_bytes() == (folder / "unbroken.pac").read_bytes()


def test_colours_that_were_learned_on_the_way_are_known_again(folder, monkeypatch):
    # The sample of 16 frames shows none of the colours that only one frame has; later GOPs build on them.
    pictures = [screen(n % 5, 32, 24) for n in range(60)]
    for n in range(1, 60, 7):
        pictures[n] = pictures[n].copy()
        pictures[n][:2, :2] = (n, 2 * n, 200)
    source = make_video(folder.parent / "in.mp4", pictures)
    options = {**OPTIONS, "coder": "none", "effort": 1}
    stopped_after(3, source, folder / "out.pac", monkeypatch, **options)
    pacodec.encode(str(source), str(folder / "out.pac"), resume=True, **options)
    pacodec.encode(str(source), str(folder / "unbroken.pac"), **options)
    assert (folder / "out.pac").read_bytes() == (folder / "unbroken.pac").read_bytes()
    with pacodec.open(folder / "out.pac") as video:
        np.testing.assert_array_equal(video[:], pictures)


def test_with_a_network_and_the_model_in_the_file(folder, monkeypatch):
    pictures = colourful(20)
    source = make_video(folder.parent / "in.mp4", pictures)
    model = make_model(folder.parent / "m.pacmodel", "vanilla-500", TINY["vanilla-500"], like=pictures)
    options = {**OPTIONS, "model": str(model), "embed_model": True}
    stopped_after(2, source, folder / "out.pac", monkeypatch, **options)
    pacodec.encode(str(source), str(folder / "out.pac"), resume=True, **options)
    pacodec.encode(str(source), str(folder / "unbroken.pac"), **options)
    assert (folder / "out.pac").read_bytes() == (folder / "unbroken.pac").read_bytes()


def test_a_quality_that_was_missed_is_not_tried_again(folder, monkeypatch):
    rng = np.random.default_rng(2)
    pictures = [screen(n % 5, 32, 24) for n in range(100)]
    for n in range(50, 70, 2):
        pictures[n] = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    source = make_video(folder.parent / "in.mp4", pictures)
    options = {"min_psnr": 99.0, "coder": "none", "gop_seconds": 1.0, "effort": 1}
    reference = pacodec.encode(str(source), str(folder.parent / "unbroken.pac"), **options)
    close = Writer.close

    def missed_then_interrupted(self, source_bytes):
        close(self, source_bytes)
        if self.frames == 100 and json.loads(journal.read_text().splitlines()[0])["choice"]:
            raise Stop

    journal = folder / "out.pac.part.journal"
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "close", missed_then_interrupted)
        with pytest.raises(Stop):
            pacodec.encode(str(source), str(folder / "out.pac"), resume=True, **options)
    assert json.loads(journal.read_text().splitlines()[0])["choice"] > 0
    report = pacodec.encode(str(source), str(folder / "out.pac"), resume=True, **options)
    assert report.psnr == reference.psnr >= 99
    assert (folder / "out.pac").read_bytes() == (folder.parent / "unbroken.pac").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "torn journal", "journal ahead"])
def test_what_is_not_sound_is_done_again(damage, clip, folder, monkeypatch):
    options = {**OPTIONS, "quality": 1, "coder": "none"}
    stopped_after(4, clip, folder / "out.pac", monkeypatch, **options)
    part, journal = folder / "out.pac.part", folder / "out.pac.part.journal"
    data, lines = bytearray(part.read_bytes()), journal.read_bytes()
    if damage == "cut":
        part.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        with Reader(part) as reader:
            data[reader.gops[2].offset + 30] ^= 1
        part.write_bytes(data)
    elif damage == "torn journal":
        journal.write_bytes(lines[:-9])
    else:
        journal.write_bytes(lines + b'{"end": 999999999, "psnr": []}\n')
    pacodec.encode(str(clip), str(folder / "out.pac"), resume=True, **options)
    pacodec.encode(str(clip), str(folder / "unbroken.pac"), **options)
    assert (folder / "out.pac").read_bytes() == (folder / "unbroken.pac").read_bytes()


def test_other_options_another_input_or_a_strange_file_are_refused(clip, screens, folder, monkeypatch):
    options = {**OPTIONS, "quality": 1, "coder": "none"}
    target = folder / "out.pac"
    stopped_after(2, clip, target, monkeypatch, **options)
    before = (folder / "out.pac.part").read_bytes()
    for source, changes in ((clip, {"quality": 2}), (clip, {"gop_seconds": 1.0}), (screens, {})):
        with pytest.raises(UsageError, match=r"out\.pac\.part: is of a run with other options or input"):
            pacodec.encode(str(source), str(target), resume=True, **{**options, **changes})
    assert (folder / "out.pac.part").read_bytes() == before
    pacodec.encode(str(clip), str(target), **options)  # without --resume it is none of its business
    assert (folder / "out.pac.part").read_bytes() == before
    for name in ("out.pac.part", "out.pac.part.journal"):
        strange = folder / name.replace("out", "strange")
        strange.write_text("something else\n")
        with pytest.raises(UsageError, match=r"strange\.pac\.part"):
            pacodec.encode(str(clip), str(folder / "strange.pac"), resume=True, **options)
        assert strange.read_text() == "something else\n"
        strange.unlink()


def test_a_result_that_cannot_be_had_keeps_nothing(clip, folder):
    with pytest.raises(QualityError):
        pacodec.encode(str(clip), str(folder / "out.pac"), resume=True, quality=1, min_psnr=101)
    assert leftovers(folder) == []


def test_two_at_once(clip, folder, monkeypatch):
    target = folder / "out.pac"
    options = {"resume": True, "coder": "engine"}
    monkeypatch.setattr("pacodec.encoder.Pipeline.run", lambda *_: pacodec.encode(str(clip), str(target), **options))
    with pytest.raises(FileAccessError, match="another process"):
        pacodec.encode(str(clip), str(target), **options)


def test_pipes_cannot_be_gone_on_with(clip):
    for arguments in (["-", "out.pac"], [clip, "-"]):
        result = cli("encode", *arguments, "--resume")
        assert result.exit_code == 2
        assert "--resume" in result.stderr


def test_packets_of_a_standard_codec_are_begun_anew_and_that_is_said(tmp_path):
    source = lossy_clip(tmp_path / "in.mp4", frames=500, options={"crf": "12"})  # long enough to be interrupted
    target = tmp_path / "out.pac"
    process = subprocess.Popen(program("encode", source, target, "--resume"), stderr=subprocess.PIPE)
    while process.poll() is None and not (tmp_path / "out.pac.part").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "the same command begins anew" in errors
    assert cli("encode", source, target, "--resume").exit_code == 0
    assert set(pacodec.info(str(target)).coders) == {"av1"}
    assert leftovers(tmp_path) == ["in.mp4", "out.pac"]


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_and_gone_on_with_from_the_command_line(kills, tmp_path):
    """Each run is killed at some moment after it has added to what there is; the second may speak first."""
    source = make_video(tmp_path / "in.mp4", [screen(n % 50, 64, 48) for n in range(40 if kills < 10 else 300)])
    folder = tmp_path / "out"
    folder.mkdir()
    options = ["--gop", "0.08", "--coder", "none"]
    command = ["encode", source, folder / "out.pac", "--resume", *options]
    journal = folder / "out.pac.part.journal"
    rng = random.Random(kills)
    killed = 0
    for number in range(kills):
        ending = signal.SIGTERM if number == 1 else signal.SIGKILL
        before = journal.stat().st_size if journal.exists() else 0
        process = subprocess.Popen(program(*command), stderr=subprocess.PIPE)
        while process.poll() is None and (not journal.exists() or journal.stat().st_size <= before):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(ending)
        errors = process.communicate(timeout=60)[1].decode()
        if process.returncode == 0:
            break
        killed += 1
        assert process.returncode == (128 + ending if ending == signal.SIGTERM else -ending), errors
        assert not (folder / "out.pac").exists()
        if ending == signal.SIGTERM:
            assert "goes on from" in errors
            assert errors.splitlines()[-1] == "pacodec: interrupted"
    assert (folder / "out.pac").exists() or cli(*command).exit_code == 0
    assert cli("encode", source, tmp_path / "unbroken.pac", *options).exit_code == 0
    assert (folder / "out.pac").read_bytes() == (tmp_path / "unbroken.pac").read_bytes()
    assert leftovers(folder) == ["out.pac"]
    print(f"{killed} runs killed, the last one ended well")
