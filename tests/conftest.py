"""What the end-to-end tests share: clips of few colours, tiny models, and the command line."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import pacodec
import pacodec.models.library
from pacodec.cli import main
from pacodec.common.media import VideoFormat
from pacodec.container import Reader, Writer
from pacodec.engine.prior import STATE_CACHE_VARIABLE
from pacodec.video.writer import VideoWriter

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

COLOURS = np.array([[(40 * i) % 256, (90 * i + 30) % 256, (7 * i * i) % 256] for i in range(24)], np.uint8)
TINY = {
    "vanilla-500": {"height": 24, "width": 32, "rank": 4},
    "vanilla-1000": {"height": 16, "width": 16, "rank": 4},
    "multilayer-500": {"height": 16, "width": 16, "rank": 4},
    "multilayer-1000": {"height": 16, "width": 16, "rank": 4},
    "conv4": {},
    "conv5": {},
    "vae": {"height": 24, "width": 32, "rank": 8},
}
"""Every architecture, as small as its hyper-parameters let it be."""


def screen(number: int, width: int = 48, height: int = 32) -> NDArray[np.uint8]:
    """A flat picture of 24 colours, uint8 [height, width, 3], that is another one for each of many numbers."""
    labels = (np.arange(width) // 8)[None, :] + (np.arange(height) // 8)[:, None]
    left, top = number * 3 % max(width - 6, 1), number // 4 * 5 % max(height - 6, 1)
    labels[top : top + 6, left : left + 6] = 16 + number % 8
    return COLOURS[labels % len(COLOURS)]


def colourful(frames: int, width: int = 32, height: int = 24) -> list[NDArray[np.uint8]]:
    """Pictures of far more than 256 colours, which two principal components describe all the same."""
    rng = np.random.default_rng(5)
    a, b = rng.uniform(40, 215, (2, height, width, 3))
    weights = 0.5 + 0.5 * np.sin(np.arange(frames) / 3)
    return [np.rint(w * a + (1 - w) * b).astype(np.uint8) for w in weights]


def make_video(path: Path, pictures: Sequence[NDArray[np.uint8]], rate: int = 25) -> Path:
    """Write the pictures as they are, to the last bit."""
    height, width = pictures[0].shape[:2]
    format = VideoFormat(width, height, Fraction(1, rate), Fraction(rate))
    with VideoWriter(path, format, codec="lossless") as writer:
        for number, rgb in enumerate(pictures):
            writer.write_frame(rgb, number, 1)
    return path


def make_model(path: Path, arch: str, hyperparameters: Mapping[str, int], like: Sequence[Any] | None = None) -> Path:
    """Write a model of random weights, or of those that training would start from on pictures `like` these."""
    import torch

    from pacodec.autoencoders.registry import build
    from pacodec.training.autoencoder import package
    from pacodec.training.fit import to_images

    torch.manual_seed(len(arch))
    network = build(arch, hyperparameters)
    height, width = network.size or (24, 32)
    pictures = np.stack(like if like is not None else [screen(0, width, height)])
    if like is not None:
        network.initialise(to_images(pictures, torch.device("cpu")))
    path.write_bytes(package(network.eval(), arch, {}, [pictures])[0])
    return path


def cli(*arguments: object) -> Result:
    """Run `pacodec` in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def program(*arguments: object) -> list[str]:
    """The command that runs `pacodec` in a process of its own."""
    return [sys.executable, "-P", "-c", "from pacodec.cli import main; main()", *map(str, arguments)]


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `pacodec` in a process of its own, with its output as bytes."""
    return subprocess.run(program(*arguments), capture_output=True, timeout=120, check=False, **options)


@pytest.fixture(scope="session")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 24 screens, 25 a second."""
    return make_video(tmp_path_factory.mktemp("clips") / "screens.mp4", [screen(n) for n in range(24)])


@pytest.fixture(scope="session")
def screens_pac(screens: Path) -> Path:
    """The same, encoded in GOPs of 10 frames."""
    target = screens.with_suffix(".pac")
    pacodec.encode(str(screens), str(target), gop_seconds=0.4)
    return target


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of every architecture."""
    folder = tmp_path_factory.mktemp("zoo")
    for arch, hyperparameters in TINY.items():
        make_model(folder / f"{arch}.pacmodel", arch, hyperparameters)
    return folder


@pytest.fixture(autouse=True)
def _no_models_but_the_tests_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's models nor the shipped ones: what is chosen must not depend on the machine."""
    empty = tmp_path_factory.getbasetemp() / "no-models"
    empty.mkdir(exist_ok=True)
    monkeypatch.setenv(pacodec.models.library.MODEL_FOLDER_VARIABLE, str(empty))
    monkeypatch.setenv(STATE_CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "states"))
    monkeypatch.setattr(pacodec.models.library, "shipped_folder", lambda: empty)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests to those who ask for them."""
    if "slow" in (config.getoption("-m") or ""):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with -m slow"))


def lengthen(path: Path, target: Path, times: int) -> None:
    """Write a .pac file that says its first GOP many times over."""
    with Reader(path) as reader, target.open("wb") as file:
        writer, gop = Writer(file, reader.header), reader.gop(0)
        length = int(gop.pts[-1] - gop.pts[0])
        for number in range(times):
            writer.add_gop(replace(gop, first_frame=number * gop.frames, pts=gop.pts + number * length))
        writer.close()


def leftovers(folder: Path) -> list[str]:
    """The names in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def one_thread():
    """torch on one thread: tiny networks are slower on more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
