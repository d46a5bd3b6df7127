"""The small files that fuzzing starts from, made through the library: `python tests/fuzz/seeds.py FOLDER`."""

import io
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import predictive
import targets
import torch

from pacodec.coders import PaletteCoder, PictureCoder, latent_coder, model_colours
from pacodec.container import Component, Gop, Header, Writer
from pacodec.gops import LatentBatch, encode_gop
from pacodec.grids import GridSpec
from pacodec.media import AudioPacket, AudioStream, VideoFormat
from pacodec.predictors.adaptive import AdaptivePredictor
from pacodec.predictors.base import Predictor
from pacodec.predictors.learned import LearnedPredictor
from pacodec.predictors.none import NonePredictor
from pacodec.training import package
from pacodec.transforms.base import Pictures
from pacodec.transforms.palette import PaletteTransform, learn_palette
from pacodec.transforms.registry import build
from pacodec.transforms.shades import ShadesTransform, frequent_colours
from pacodec.weights import ModelFile

TRACK = AudioStream("aac", Fraction(1, 8000), 8000, "mono", "fltp", b"\x15\x88", 0, "eng")
NETWORKS = {
    "vanilla-500": {"height": 8, "width": 8, "rank": 1},
    "vae": {"height": 4, "width": 4, "rank": 1},
}
MAX_PARSED = 1 << 15
"""Bytes of a file of which no more is looked at than its container."""


def seeds() -> Mapping[str, Mapping[str, bytes]]:
    """Inputs by name, of each target."""
    files, models = dict(_files()), dict(_models())
    small = {name: data for name, data in files.items() if len(data) < MAX_PARSED}
    return {"container": small, "decode": files, "predictors": dict(_payloads()), "model": models}


def _pictures(frames: int = 6) -> Pictures:
    """Of 25 colours, uint8 [frames, 24, 30, 3]."""
    codes = predictive.play(frames)[:, 0].astype(np.int64)
    return np.stack([codes, codes * 3 % 256, codes * 7 % 256], -1).astype(np.uint8)


def _models() -> Iterator[tuple[str, bytes]]:
    palette = learn_palette([_pictures()])
    yield "predictive", predictive.make_model(palette, targets.screens())
    yield "plain", predictive.make_model(palette)
    torch.manual_seed(0)
    for arch, hyperparameters in NETWORKS.items():
        size = hyperparameters["height"], hyperparameters["width"]
        pictures = np.zeros((1, *size, 3), np.uint8)
        yield arch, package(build(arch, hyperparameters).eval(), arch, {}, [pictures])[0]


def _files() -> Iterator[tuple[str, bytes]]:
    pictures, noise = _pictures(), predictive.restless(4).repeat(3, 1).transpose(0, 2, 3, 1)
    height, width = pictures.shape[1:3]
    palette = learn_palette([pictures])
    none, adaptive = NonePredictor(), AdaptivePredictor()
    yield "palette", _file(PaletteCoder(PaletteTransform(palette), height, width), adaptive, pictures)
    yield "floor", _file(PaletteCoder(PaletteTransform(palette), height, width), none, pictures, sound=True)
    exact = PaletteCoder(PaletteTransform(palette, correction_step=1), *noise.shape[1:3])
    yield "corrected", _file(exact, adaptive, noise)
    colours = frequent_colours([pictures])
    yield "shades", _file(PaletteCoder(ShadesTransform(palette[:6], colours[:3]), height, width), adaptive, pictures)
    models = {name: predictive.parse(data) for name, data in _models()}
    known = models["predictive"]
    learned = LearnedPredictor.from_model(known)
    coder = PaletteCoder(
        PaletteTransform.from_parameters({**model_colours(known), "correction_step": 0}), 24, 30, known
    )
    with predictive.network_alone():
        yield "learned", _file(coder, learned, pictures, model=known)
    for arch, quantizer in (("vanilla-500", "scale"), ("vanilla-500", "none"), ("vae", "kmeans")):
        network = models[arch]
        pieces = latent_coder(network, quantizer, 16, 20, device="cpu")
        yield f"{arch}-{quantizer}", _file(pieces, adaptive, pictures[:3, :16, :20], model=network)


def _file(
    coder: PictureCoder,
    predictor: Predictor,
    pictures: Pictures,
    *,
    model: ModelFile | None = None,
    sound: bool = False,
) -> bytes:
    """A .pac file of two GOPs, the second of which begins with a repeat of its first frame."""
    video = VideoFormat(
        pictures.shape[2], pictures.shape[1], Fraction(1, 25), Fraction(25), audio=(TRACK,) if sound else ()
    )
    predicted = Component(predictor.name)
    header = Header("fuzz", video, coder.spec, coder.transform, coder.quantizer, predicted, coder.model)
    out = io.BytesIO()
    writer = Writer(out, header, None if model is None else model.data)
    for number, part in enumerate(np.array_split(pictures, 2)):
        made = LatentBatch(lambda part=part: coder.analyse(part), np.empty(0, np.intp), part)  # type: ignore[misc]
        coded = encode_gop(coder, predictor, iter([made]))
        repeats = np.array([False, *[True] * number, *[False] * (len(part) - 1)])
        first = writer.frames
        pts = np.arange(first, first + len(repeats) + 1)
        writer.add_gop(Gop(first, pts, repeats, coded.codes_crc, coded.payload, coded.quantizer, coder.additions()))
        if sound:
            writer.add_audio([AudioPacket(0, 320 * number, 320 * number, 320, True, bytes([33, 16, 4, 96 + number]))])
    writer.close(12345)
    return out.getvalue()


def _payloads() -> Iterator[tuple[str, bytes]]:
    cases: dict[str, tuple[int, Predictor, dict[str, Any]]] = {
        "none": (0, NonePredictor(), {}),
        "nominal": (2, AdaptivePredictor(), {}),
        "ordinal": (3, AdaptivePredictor(), {}),
        "corrections": (2, AdaptivePredictor(), {"channels": 4}),
        "learned": (4, targets.learned(), {}),
        "learned-shades": (4, targets.learned(), {"channels": 2}),
    }
    for name, (kind, predictor, shape) in cases.items():
        grids = predictive.play(5, **shape)
        n, channels, height, width = grids.shape
        spec = GridSpec(channels, height, width, ordinal=bool(kind & 1))
        with predictive.network_alone():
            payload, _ = predictive.push(predictor.encoder(spec), grids)
        yield name, bytes([kind, channels - 1, height - 1, width - 1, n - 1]) + payload


def write(folder: Path) -> None:
    """A folder of seeds for each target."""
    for target, inputs in seeds().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (folder / target / name).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
