"""The small files that fuzzing starts from, made through the library: `python tests/fuzz/seeds.py FOLDER`."""

import io
import struct
import sys
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from authored import differences, recording_model, segment
from numpy.typing import NDArray

from pacodec.autoencoders.registry import build
from pacodec.base_layer.stream import StoredPacket, pack, pack_obus
from pacodec.common.media import AudioPacket, AudioStream, Pictures, VideoFormat
from pacodec.container import Gop, Header, Writer
from pacodec.gop.coding import GopEncoding, LatentBatch, encode_gop
from pacodec.gop.grid_transforms import PaletteGrids, latent_grids
from pacodec.gop.priors import model_prior
from pacodec.integrations.array_bytes import to_bytes
from pacodec.models.files import ModelFile
from pacodec.models.recording import model_colours
from pacodec.training.autoencoder import package
from pacodec.transforms.base import GridTransform
from pacodec.transforms.palette import PaletteTransform, learn_palette
from pacodec.transforms.postfilter import NEIGHBOURHOODS
from pacodec.transforms.two_level_palette import TwoLevelPalette, frequent_colours
from pacodec.video.output import writing_video

TRACK = AudioStream("aac", Fraction(1, 8000), 8000, "mono", "fltp", b"\x15\x88", 0, "eng")
NETWORKS = {
    "vanilla-500": {"height": 8, "width": 8, "rank": 1},
    "vae": {"height": 4, "width": 4, "rank": 1},
}
CORE = ("core-decode", "core-round-trip", "core-large", "core-start", "core-colour")
MAX_PARSED = 1 << 15
"""Bytes of a file of which no more is looked at than its container."""


def seeds() -> Mapping[str, Mapping[str, bytes]]:
    """Inputs by name, of each target."""
    files, models = dict(_files()), dict(_models())
    small = {name: data for name, data in files.items() if len(data) < MAX_PARSED}
    core = {name: {f"{i}": seed for i, seed in enumerate(_core_seeds(name))} for name in CORE}
    payloads, chunks = dict(_payloads()), {"grey": to_bytes(_play(5)[:, 0]), "stacked": to_bytes(_play(4, 3))}
    return {
        "container": small,
        "decode": files,
        "coders": payloads,
        "model": models,
        "postfilter": {"entries": (struct.pack("<I", 2) + bytes([1, 9, *range(10)])) * len(NEIGHBOURHOODS)},
        "arrays": chunks,
        "packets": dict(_packets()),
        "video": dict(_videos()),
        "differential": payloads,
        **core,
    }


def _play(frames: int, channels: int = 1) -> NDArray[np.uint8]:
    """Codes in which something moves, uint8 [frames, channels, 24, 30]."""
    grids = np.zeros((frames, channels, 24, 30), np.uint8)
    grids[:, :, ::6] = 1
    for number in range(frames):
        grids[number, :, 8:13, 3 * number : 3 * number + 5] = np.arange(2, 27).reshape(5, 5)
    return grids


def _pictures(frames: int = 6) -> Pictures:
    """Of 27 colours, uint8 [frames, 24, 30, 3]."""
    codes = _play(frames)[:, 0].astype(np.int64)
    return np.stack([codes, codes * 3 % 256, codes * 7 % 256], -1).astype(np.uint8)


def _models() -> Iterator[tuple[str, bytes]]:
    palette = learn_palette([_pictures()])
    yield "recording", recording_model(palette, [_play(4), _play(3)])
    yield "plain", recording_model(palette)
    torch.manual_seed(0)
    for arch, hyperparameters in NETWORKS.items():
        size = hyperparameters["height"], hyperparameters["width"]
        pictures = np.zeros((1, *size, 3), np.uint8)
        yield arch, package(build(arch, hyperparameters).eval(), arch, {}, [pictures])[0]


def _files() -> Iterator[tuple[str, bytes]]:
    pictures = _pictures()
    noise = np.random.default_rng(1).integers(0, 256, (4, 24, 30, 3), dtype=np.uint8)
    palette = learn_palette([pictures])
    yield "palette", _file(PaletteGrids(PaletteTransform(palette), 24, 30), pictures)
    yield "floor", _file(PaletteGrids(PaletteTransform(palette), 24, 30), pictures, coder="none", sound=True)
    yield "corrected", _file(PaletteGrids(PaletteTransform(palette, correction_step=1), 24, 30), noise)
    colours = frequent_colours([pictures])
    yield "shades", _file(PaletteGrids(TwoLevelPalette(palette[:6], colours[:3]), 24, 30), pictures)
    models = {name: ModelFile.parse(data, name, name) for name, data in _models()}
    known = models["recording"]
    parameters = {**model_colours(known), "correction_step": 0}
    recorded = PaletteGrids(PaletteTransform.from_parameters(parameters), 24, 30, known)
    yield "recorded", _file(recorded, pictures, model=known)
    for arch, quantizer in (("vanilla-500", "scale"), ("vanilla-500", "none"), ("vae", "kmeans")):
        network = models[arch]
        pieces = latent_grids(network, quantizer, 16, 20, device="cpu")
        yield f"{arch}-{quantizer}", _file(pieces, pictures[:3, :16, :20], model=network)


def _file(
    transform: GridTransform,
    pictures: Pictures,
    *,
    coder: str = "engine",
    model: ModelFile | None = None,
    sound: bool = False,
) -> bytes:
    """A .pac file of two GOPs, the second of which begins with a repeat of its first frame."""
    video = VideoFormat(
        pictures.shape[2], pictures.shape[1], Fraction(1, 25), Fraction(25), audio=(TRACK,) if sound else ()
    )
    header = Header("fuzz", video, transform.spec, transform.transform, transform.quantizer, transform.model)
    out = io.BytesIO()
    writer = Writer(out, header, None if model is None else model.data)
    prior = model_prior(model, transform.spec) if coder == "engine" else None
    for number, part in enumerate(np.array_split(pictures, 2)):
        made = LatentBatch(lambda part=part: transform.analyse(part), np.empty(0, np.intp), part)  # type: ignore[misc]
        coded = encode_gop(GopEncoding(transform, prior, fallback=False), iter([made]))
        repeats = np.array([False, *[True] * number, *[False] * (len(part) - 1)])
        first = writer.frames
        pts = np.arange(first, first + len(repeats) + 1)
        parameters = coded.quantizer, transform.additions()
        writer.add_gop(Gop(first, pts, repeats, coded.codes_crc, coded.payload, *parameters, coded.coder))
        if sound:
            writer.add_audio([AudioPacket(0, 320 * number, 320 * number, 320, True, bytes([33, 16, 4, 96 + number]))])
    writer.close(12345)
    return out.getvalue()


def _payloads() -> Iterator[tuple[str, bytes]]:
    cases = {"none": (0, 1), "labels": (2, 1), "ordinal": (3, 1), "corrections": (2, 4), "shades": (2, 2)}
    for name, (kind, channels) in cases.items():
        grids = _play(5, channels)
        n, _, height, width = grids.shape
        payload = segment(grids, bool(kind & 1)) if kind & 2 else differences(grids)
        yield name, bytes([kind, channels - 1, height - 1, width - 1, n - 1]) + payload


def _packets() -> Iterator[tuple[str, bytes]]:
    """Payloads of GOPs of packets: of any codec, and of AV1, whose frames are shown at once or by their number."""
    yield (
        "source",
        pack([StoredPacket(bytes([n] * 5), n, n - 1, 1, not n, header=b"global" * (not n)) for n in range(4)]),
    )
    temporal_delimiter, sequence, frame, shown = b"\x12\0", b"\x0a\3seq", b"\x32\5\x10\0\0\0\0", b"\x1a\1\x98"
    yield "obus", pack_obus([StoredPacket(temporal_delimiter + sequence + frame), StoredPacket(shown)])


def _videos() -> Iterator[tuple[str, bytes]]:
    """The smallest videos and animated images of every kind that is written here."""
    pictures = _pictures(4)
    for suffix in ("y4m", "gif", "apng", "webp", "mkv", "mp4"):
        with TemporaryDirectory() as folder:
            target = Path(folder, f"seed.{suffix}")
            with writing_video(str(target), VideoFormat(30, 24, Fraction(1, 25), Fraction(25))) as writer:
                for number, picture in enumerate(pictures):
                    writer.write_frame(picture, number, 1)
            yield suffix, target.read_bytes()


def _core_seeds(target: str) -> Iterator[bytes]:
    """Inputs of core.c: which shape, then what the target makes of the rest."""
    rng = np.random.default_rng(6)
    for shape in range(16):
        yield bytes([shape]) + (b"\2\3\x80" if target in ("core-decode", "core-start") else b"\0") + rng.bytes(60)
        yield bytes([shape]) + b"\2\1\x80" + bytes(20) + b"\xff" * 20


def write(folder: Path) -> None:
    """A folder of seeds for each target."""
    for target, inputs in seeds().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (folder / target / name).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
