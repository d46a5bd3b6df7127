"""imageio reads and writes .pac files through its v3 interface."""

import imageio.v3 as iio
import numpy as np
import pytest
from conftest import leftovers, make_video, screen

import pacodec
import pacodec.integrations.imageio  # registers the plugin

RNG = np.random.default_rng(0)
RGB = np.stack([screen(n) for n in range(6)])
GREY = RGB[..., 0]


@pytest.mark.parametrize("frames", [RGB, GREY, RNG.integers(0, 256, (3, 20, 30, 3), np.uint8)])
def test_what_is_written_is_read(frames, tmp_path):
    path = tmp_path / "a.pac"
    iio.imwrite(path, frames, fps=12.5)
    found = iio.imread(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, frames)
    np.testing.assert_array_equal(iio.imread(path, index=-1), frames[-1])
    np.testing.assert_array_equal(list(iio.imiter(path)), frames)
    assert iio.improps(path).shape == frames.shape
    assert iio.improps(path).n_images == len(frames)
    assert iio.improps(path, index=0).shape == frames.shape[1:]
    assert iio.immeta(path)["fps"] == 12.5
    assert iio.immeta(path, index=1)["pts_seconds"] == pytest.approx(0.08)


@pytest.mark.parametrize("image", [RGB[0], GREY[0]])
def test_a_single_picture(image, tmp_path):
    iio.imwrite(tmp_path / "a.pac", image)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.pac"), image[None])


def test_frame_by_frame(tmp_path):
    with iio.imopen(tmp_path / "a.pac", "w", fps=5) as file:
        for frame in RGB:
            file.write(frame)
        file.write(list(RGB))
        file.write(GREY[0][..., None].repeat(3, -1), is_batch=False)
    with iio.imopen(tmp_path / "a.pac", "r") as file:
        assert file.properties().n_images == 13
        np.testing.assert_array_equal(file.read(index=7), RGB[1])
        with pytest.raises(IndexError, match="13"):
            file.read(index=13)


def test_bytes(tmp_path):
    data = iio.imwrite("<bytes>", RGB, extension=".pac")
    np.testing.assert_array_equal(iio.imread(data, extension=".pac"), RGB)
    np.testing.assert_array_equal(iio.imread(data, plugin="pacodec", index=3), RGB[3])


def test_what_pacodec_encoded(tmp_path):
    make_video(tmp_path / "in.mp4", list(RGB))
    pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "a.pac"))
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.pac"), RGB)


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(pacodec.PacodecError, match="shape"), iio.imopen(tmp_path / "a.pac", "w") as file:  # noqa: PT012
        for frame in (*RGB, GREY[0]):
            file.write(frame)
    assert leftovers(tmp_path) == []


def test_what_is_not_ours(tmp_path):
    (tmp_path / "a.pac").write_bytes(b"something else" * 40)
    with pytest.raises(OSError, match="pacodec"):
        iio.imread(tmp_path / "a.pac", plugin="pacodec")
    with pytest.raises(OSError, match="pacodec"):
        iio.imwrite(tmp_path / "a.png", RGB[0], plugin="pacodec")
    with pytest.raises(pacodec.PacodecError, match="float64"):
        iio.imwrite(tmp_path / "b.pac", RGB.astype(float))
    assert leftovers(tmp_path) == ["a.pac"]
