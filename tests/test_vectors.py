"""Files that version 2 of the format was described with: this version reads them, and so does a plain reader."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from independent.files import PICTURES, PacFile

import pacodec
from pacodec import errors
from pacodec.container import Reader

FOLDER = Path(__file__).parent / "vectors"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
GOOD = [name for name, told in MANIFEST.items() if "frames" in told]
DAMAGED = [name for name, told in MANIFEST.items() if "damaged" in told]
REFUSED = [name for name, told in MANIFEST.items() if "error" in told]


def digest(arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def test_the_manifest_is_that_of_the_files():
    files = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.pac")}
    assert files == {name: told["sha256"] for name, told in MANIFEST.items()}
    assert all(name.startswith(("valid-", "uncommon-")) for name in GOOD)
    assert all(name.startswith("faulty-") for name in (*DAMAGED, *REFUSED))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_holds_what_it_held(name, one_thread):
    told, path = MANIFEST[name], FOLDER / f"{name}.pac"
    assert pacodec.verify(path) == []
    with pacodec.open(path) as video:
        assert len(video) == told["frames"]
        times = hashlib.sha256(repr([round(time * 1e6) for time in video.times()]).encode()).hexdigest()
        assert times == told["times"]
        if "pictures" in told:
            assert digest(video[:]) == told["pictures"]
        else:
            assert digest(video.codes(number) for number in range(len(video))) == told["codes"]
    sound = hashlib.sha256()
    with Reader(path) as reader:
        for packet in reader.audio():
            sound.update(repr((packet.stream, packet.pts, packet.dts, packet.data)).encode())
    assert sound.hexdigest() == told["sound"]


@pytest.mark.parametrize("name", [name for name in GOOD if MANIFEST[name]["frames"]])
def test_a_plain_reader_finds_the_same(name):
    data, told = (FOLDER / f"{name}.pac").read_bytes(), MANIFEST[name]
    with Reader(data) as reader:
        if reader.header.model is not None or told["transform"] not in PICTURES:
            return  # which that reader does not know
    video = PacFile(data).video()
    assert digest(video.pictures) == told["pictures"]
    times = [round(float(time) * 1e6) for time in video.times]
    assert hashlib.sha256(repr(times).encode()).hexdigest() == told["times"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_called_damaged(name):
    assert pacodec.verify(FOLDER / f"{name}.pac")


@pytest.mark.parametrize("name", REFUSED)
def test_a_faulty_file_is_refused_as_it_was(name):
    with pytest.raises(getattr(errors, MANIFEST[name]["error"])) as raised:
        pacodec.verify(FOLDER / f"{name}.pac")
    assert type(raised.value).__name__ == MANIFEST[name]["error"]
