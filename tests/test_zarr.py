"""Arrays of frames in zarr stores of formats 2 and 3, and through numcodecs."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from conftest import make_video, screen
from zarr.registry import register_codec

import pacodec
from pacodec.errors import CorruptFileError, ModelError, UsageError
from pacodec.integrations.numcodecs import PacodecNumcodec
from pacodec.integrations.zarr import PacodecCodec

RNG = np.random.default_rng(0)
RGB = np.stack([screen(n) for n in range(10)])
ARRAYS = {
    "colours": RGB,
    "grey": RGB[..., 0],
    "stacks": np.stack([RGB[n : n + 4, ..., 1] for n in range(7)]),
    "planes last": RGB[..., [0, 1, 2, 0]],
    "one plane": RGB[..., :1],
    "noise": RNG.integers(0, 256, (4, 20, 30, 3), np.uint8),
    "rows": RNG.integers(0, 256, (4, 30), np.uint8),
}
ENTRY_POINTS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["entry-points"]


@pytest.fixture(autouse=True, scope="module")
def _registered():
    """As the entry points of an installed package do."""
    numcodecs.register_codec(PacodecNumcodec)
    register_codec("pacodec", PacodecCodec)


@pytest.mark.parametrize("name", ARRAYS)
def test_numcodecs(name):
    array = ARRAYS[name]
    codec = numcodecs.get_codec({"id": "pacodec"})
    data = codec.encode(array)
    found = codec.decode(data)
    assert (found.dtype, found.shape) == (np.uint8, array.shape)
    np.testing.assert_array_equal(found, array)
    out = np.empty_like(array)
    codec.decode(memoryview(data), out=out)
    np.testing.assert_array_equal(out, array)
    assert numcodecs.get_codec(codec.get_config()) == codec


def made(store, array, chunks, **options):
    found = zarr.create_array(store, shape=array.shape, chunks=chunks, dtype=array.dtype, **options)
    found[:] = array
    return found


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("format", [2, 3])
def test_zarr(name, format, tmp_path):
    array = ARRAYS[name]
    chunks = (4, *array.shape[1:])  # of which the last one is not full
    codecs = {"serializer": PacodecCodec(), "compressors": None} if format == 3 else {"compressors": PacodecNumcodec()}
    made(tmp_path / "a.zarr", array, chunks, zarr_format=format, filters=None, **codecs)
    found = zarr.open_array(tmp_path / "a.zarr", mode="r+")
    np.testing.assert_array_equal(found[:], array)
    np.testing.assert_array_equal(found[3], array[3])
    found[1:3] = array[5:7] if len(array) > 6 else array[:2]
    np.testing.assert_array_equal(found[1], array[5] if len(array) > 6 else array[0])


def test_chunks_that_cut_frames(tmp_path):
    found = made(tmp_path / "a.zarr", RGB, (3, 20, 25, 3), serializer=PacodecCodec(), compressors=None)
    np.testing.assert_array_equal(found[:], RGB)


def test_a_model(tmp_path):
    for name in ("1.mp4", "2.mp4", "3.mp4"):
        make_video(tmp_path / name, [screen(n) for n in range(40)])
    model = str(tmp_path / "mine.pacmodel")
    pacodec.train([str(tmp_path / name) for name in ("1.mp4", "2.mp4", "3.mp4")], model)
    assert len(PacodecNumcodec(model).encode(RGB)) < len(PacodecNumcodec().encode(RGB))
    made(tmp_path / "a.zarr", RGB, RGB.shape, serializer=PacodecCodec(model), compressors=None)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr")[:], RGB)
    Path(model).unlink()
    with pytest.raises(ModelError, match="mine"):
        zarr.open_array(tmp_path / "a.zarr")[:]


def test_the_libraries_find_the_codecs_by_their_entry_points(tmp_path):
    """In a process that names nothing of pacodec, beside whose modules stands what an installation says of it."""
    made(tmp_path / "3.zarr", RGB, RGB.shape, serializer=PacodecCodec(), compressors=None)
    made(tmp_path / "2.zarr", RGB, RGB.shape, zarr_format=2, filters=None, compressors=PacodecNumcodec())
    installed = tmp_path / "folder" / "codecs_of_pacodec-1.dist-info"
    installed.mkdir(parents=True)
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for group, each in ENTRY_POINTS.items()]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: codecs-of-pacodec\nVersion: 1\n")
    code = f"import sys; sys.path[:0] = {[str(installed.parent), *sys.path]!r}; import zarr; "
    code += f"print([int(zarr.open_array({str(tmp_path)!r} + name)[:].sum()) for name in ('/2.zarr', '/3.zarr')])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str([int(RGB.sum())] * 2), done.stderr


def test_other_arrays_are_refused(tmp_path):
    for array in (RGB.astype(np.int16), np.zeros(5, np.uint8), np.zeros((0, 4, 4), np.uint8)):
        with pytest.raises(UsageError, match="uint8"):
            PacodecNumcodec().encode(array)
    for shape, dtype in (((5,), "uint8"), ((5, 4, 4), "int16")):
        with pytest.raises(UsageError, match="uint8"):
            zarr.create_array(
                tmp_path / "a.zarr", shape=shape, dtype=dtype, serializer=PacodecCodec(), compressors=None
            )


def test_damage(tmp_path):
    data = PacodecNumcodec().encode(RGB)
    with pytest.raises(CorruptFileError):
        PacodecNumcodec().decode(b"what is this")
    with pytest.raises(CorruptFileError):
        PacodecNumcodec().decode(data[: len(data) // 2])
    with pytest.raises(CorruptFileError):
        PacodecNumcodec().decode(data[:-60] + b"\0" * 60)
