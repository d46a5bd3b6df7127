"""Damage to files with each kind of GOP: a typed error for what it hits, and the other GOPs as they were."""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import pacodec
from pacodec.container import Reader
from pacodec.errors import CorruptFileError, LimitError, ModelError, PacodecError
from pacodec.models.library import MODEL_FOLDER_VARIABLE

VECTORS = Path(__file__).parent / "vectors"
KINDS = (
    "no-reference",
    "reference",
    "recorded",
    "embedded-model",
    "floor",
    "shades",
    "corrections-3",
    "av1",
    "source-packets",
)
LARGE = ("h264", "post-filter")
STRIDE = 29
"""Bytes from one to the next that are tried where it must be quick."""


class Original:
    """A file, its pictures, and which bytes belong to what; `model`: those of an embedded one that are needed."""

    def __init__(self, kind: str) -> None:
        self.data = (VECTORS / f"valid-{kind}.pac").read_bytes()
        with Reader(self.data) as reader:
            self.front = reader.head_end
            self.gops = [(entry.first_frame, entry.frames, entry.offset, entry.chunk.end) for entry in reader.gops]
            repairable = reader.header.model is not None and reader.header.model.size is not None
            # Nor is the chunk's own checksum needed: the header has the model's SHA-256.
            needed = 0 if repairable else max(0, reader.sizes["model"] - 4)
            self.model = range(self.front, self.front + needed)
        with pacodec.open(VECTORS / f"valid-{kind}.pac") as video:
            self.pictures = np.stack(video[:])

    def survivors(self, path: Path) -> list[int]:
        """Numbers of the GOPs that a damaged file still has, each as it was; PacodecError where it has none."""
        with Reader(path) as reader:
            entries = [(entry.first_frame, entry.frames) for entry in reader.gops]
        found, start = [], 0
        with pacodec.open(path) as video:
            for first, count in entries:
                with suppress(CorruptFileError, LimitError):
                    np.testing.assert_array_equal(video[start : start + count], self.pictures[first : first + count])
                    found.append([begin for begin, *_ in self.gops].index(first))
                start += count
        return found


def kinds(stride: int) -> list[object]:
    slow = [pytest.param(kind, 1, marks=pytest.mark.slow) for kind in (*KINDS, *LARGE)]
    return [*[pytest.param(kind, stride) for kind in KINDS], *slow]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "step"), kinds(STRIDE))
def test_a_flipped_byte(kind, step, tmp_path, one_thread):
    original, path = Original(kind), tmp_path / "bad.pac"
    outcomes: Counter[str] = Counter()
    for position in range(0, len(original.data), step):
        data = bytearray(original.data)
        data[position] ^= 1 << position % 8
        path.write_bytes(data)
        hit = [n for n, (*_, begin, end) in enumerate(original.gops) if begin <= position < end]
        try:
            assert pacodec.verify(path), position
        except PacodecError:
            assert position < original.front or position in original.model, position
        try:
            left = original.survivors(path)
        except PacodecError:
            assert position < original.front or position in original.model or len(original.gops) == len(hit), position
            outcomes["refused"] += 1
            continue
        if position in original.model:
            assert left == []
        else:
            assert left == [n for n in range(len(original.gops)) if n not in hit], position
        outcomes[f"{len(original.gops) - len(left)} GOPs lost"] += 1
    print(f"{kind}: {sum(outcomes.values())} bytes flipped: {dict(outcomes)}")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "step"), kinds(STRIDE))
def test_a_cut_file(kind, step, tmp_path, one_thread):
    original, path = Original(kind), tmp_path / "cut.pac"
    cuts = range(0, len(original.data), step)
    for size in cuts:
        path.write_bytes(original.data[:size])
        complete = [n for n, (*_, end) in enumerate(original.gops) if end <= size]
        try:
            assert pacodec.verify(path), size
            assert original.survivors(path) == complete, size
        except PacodecError:
            assert not complete, size
    print(f"{kind}: {len(cuts)} offsets cut")


@pytest.mark.parametrize("position", [3, 60])
def test_an_installed_model_stands_in_for_a_damaged_one(position, tmp_path, monkeypatch):
    original, path = Original("recorded"), tmp_path / "bad.pac"
    data = bytearray(original.data)
    data[original.front + position] ^= 1
    path.write_bytes(data)
    with (
        pacodec.open(path) as video,
        pytest.raises(CorruptFileError, match=r"offset \d+.* is needed and was not found"),
    ):
        video[0]
    with Reader(original.data) as reader:
        (tmp_path / "same.pacmodel").write_bytes(reader.model_bytes())
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path))
    assert original.survivors(path) == [0, 1]
    assert pacodec.verify(path)
    with pytest.raises(CorruptFileError):
        pacodec.decode(str(path), str(tmp_path / "out.mp4"))
    report = pacodec.decode(str(path), str(tmp_path / "out.mp4"), keep_going=True)
    assert (report.frames, report.lost) == (len(original.pictures), [])
    assert report.damage
    (tmp_path / "same.pacmodel").unlink()
    with pytest.raises((CorruptFileError, ModelError)):
        pacodec.decode(str(path), str(tmp_path / "out.mp4"), keep_going=True, overwrite=True)
