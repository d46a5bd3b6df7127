"""A reader made from FORMAT.md alone sees in every test vector what pacodec sees."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from independent.pictures import paint
from independent.refusal import Corrupt, OverLimit, Refused, Unsupported
from vectors.making import golden
from vectors.making.vectors import FOLDER, MANIFEST, independently, reference_pixels

VECTORS = json.loads(MANIFEST.read_text())
READABLE = [path for path in VECTORS if not path.startswith("faulty/")]
FAULTY = [path for path in VECTORS if path.startswith("faulty/")]
KINDS = {
    "CorruptFileError": Corrupt,
    "LimitError": OverLimit,
    "UnsupportedError": Unsupported,
    "ModelError": Unsupported,
}

ALONE = """
import importlib.abc, sys
from pathlib import Path

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pacodec", "constriction", "torch", "cv2", "msgpack", "safetensors"):
            raise ImportError(f"{name} is not for the independent reader")

sys.meta_path.insert(0, Blocker())
sys.path.insert(0, sys.argv[1])
from independent.pictures import paint
from independent.reader import read
video = read(Path(sys.argv[2]).read_bytes(), lambda sha256: None)
assert len(video.groups) == 1 and not video.damage and video.model is not None
assert len(paint(video)) == 5
assert not {"pacodec", "torch"} & set(sys.modules)
"""


def test_it_needs_nothing_of_pacodec():
    arguments = [
        sys.executable,
        "-c",
        ALONE,
        str(Path(__file__).parent),
        str(FOLDER / "valid" / "learned-embedded.pac"),
    ]
    subprocess.run(arguments, check=True, timeout=60)


@pytest.mark.parametrize("path", READABLE)
def test_symbols_and_pixels(path):
    entry = VECTORS[path]
    video = independently(FOLDER / path)
    assert bool(video.damage) == entry["damaged"], video.damage
    facts = golden.symbols_of(video)
    assert facts == {key: entry[key] for key in facts}
    pixels = paint(video)
    if "pixels_sha256" in entry:
        assert golden.digest(pixels.tobytes()) == entry["pixels_sha256"]
    else:
        difference = np.abs(pixels.astype(int) - reference_pixels(path, pixels.shape))
        assert difference.max() <= 1


@pytest.mark.parametrize("path", FAULTY)
def test_faults_are_found(path):
    found = verdict(FOLDER / path)
    expected = KINDS[VECTORS[path]["error"]]
    assert found is expected or (found is Damaged and expected in (Corrupt, OverLimit))


class Damaged(Exception):
    """What was not refused, and has damage that is reported."""


def verdict(path):
    try:
        video = independently(path)
        paint(video)
    except Refused as error:
        return type(error)
    return Damaged if video.damage else None
