"""Files of the format, right ones and wrong ones, that every later version must read, or refuse, as this one does."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import cli
from vectors.making import faulty, golden, uncommon, valid
from vectors.making.vectors import FOLDER, KINDS, MANIFEST, PIXELS, installed_models, pixels_path, reference_pixels

import pacodec
from pacodec import errors
from pacodec.coders import COLOUR_TRANSFORMS
from pacodec.container import Reader
from pacodec.predictors import PREDICTORS
from pacodec.quantizers import QUANTIZERS
from pacodec.transforms.registry import ARCHITECTURES

VECTORS = json.loads(MANIFEST.read_text())
READABLE = [path for path in VECTORS if not path.startswith("faulty/")]
FAULTY = [path for path in VECTORS if path.startswith("faulty/")]
NAMES = {
    "valid": [f"valid/{name}.pac" for name in valid.RECIPES],
    "uncommon": [f"uncommon/{name}.pac" for name in uncommon.RECIPES],
    "faulty": [f"faulty/{name}.pac" for name in faulty.FAULTS],
}


@pytest.fixture(autouse=True, scope="module")
def models(tmp_path_factory):
    with installed_models(tmp_path_factory.mktemp("vectors") / "models") as folder:
        yield folder


@pytest.fixture(autouse=True)
def _models_of_the_vectors(_no_models_but_the_tests_own, models, monkeypatch):
    """Instead of none at all."""
    monkeypatch.setenv(pacodec.models.MODEL_FOLDER_VARIABLE, str(models))


def test_every_vector_is_listed_and_every_listed_one_is_there():
    files = {path.relative_to(FOLDER).as_posix() for kind in KINDS for path in (FOLDER / kind).iterdir()}
    assert files == set(VECTORS)
    pixels = {pixels_path(path) for path in READABLE if "pixels_sha256" not in VECTORS[path]}
    assert pixels == set(PIXELS.iterdir())
    assert set(VECTORS) == {path for kind in KINDS for path in NAMES[kind]}
    assert all(entry["about"] for entry in VECTORS.values())


def test_there_is_one_for_every_name_that_a_header_can_hold():
    headers = []
    for path in READABLE:
        with Reader(FOLDER / path) as reader:
            headers.append(reader.header)
    assert {header.predictor.name for header in headers} >= set(PREDICTORS)
    assert {header.quantizer.name for header in headers} >= {"palette", *QUANTIZERS}
    assert {header.transform.name for header in headers} >= {*COLOUR_TRANSFORMS, *ARCHITECTURES}


def test_the_vectors_are_small():
    assert (
        sum(path.stat().st_size for path in FOLDER.rglob("*") if path.suffix != ".pyc" and path.is_file()) < 1_600_000
    )


@pytest.mark.parametrize("path", READABLE)
def test_symbols_and_pixels_stay_what_they_are(path):
    entry = VECTORS[path]
    facts = golden.symbols(FOLDER / path)
    assert facts == {key: entry[key] for key in facts}
    pixels = golden.pictures(FOLDER / path)
    if "pixels_sha256" in entry:
        assert golden.digest(pixels.tobytes()) == entry["pixels_sha256"]
    else:
        difference = np.abs(pixels.astype(int) - reference_pixels(path, pixels.shape))
        assert difference.max() <= 1
    problems = pacodec.verify(FOLDER / path)
    assert bool(problems) == entry["damaged"], problems


@pytest.mark.parametrize("path", [path for path in READABLE if VECTORS[path]["damaged"]])
def test_damage_is_reported_and_what_is_intact_decodes_on_demand(path, tmp_path):
    with pytest.raises(errors.CorruptFileError):
        pacodec.decode(str(FOLDER / path), str(tmp_path / "out.mkv"))
    report = pacodec.decode(str(FOLDER / path), str(tmp_path / "out.mkv"), keep_going=True)
    assert report.frames == VECTORS[path]["frames"]
    assert report.damage


@pytest.mark.parametrize("path", FAULTY)
def test_faults_end_in_the_right_error_and_one_line(path, tmp_path):
    entry = VECTORS[path]
    target = tmp_path / "out.mkv"
    with pytest.raises(errors.PacodecError) as raised:
        pacodec.decode(str(FOLDER / path), str(target))
    assert type(raised.value).__name__ == entry["error"], raised.value
    assert raised.value.exit_code == entry["decode"]
    for command, arguments in (("decode", [target]), ("verify", [])):
        result = cli(command, FOLDER / path, *arguments)
        assert result.exit_code == entry[command], result.output
        lines = result.stderr.splitlines()
        assert len(lines) == (1 if entry[command] else 0)
        assert all(line.startswith("pacodec: ") and Path(path).name in line for line in lines)
    assert not list(tmp_path.iterdir())
