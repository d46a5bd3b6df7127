"""The curves of a comparison: each codec's settings from small to good, and which of them its speed is measured at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.autoencoders.registry import ARCHITECTURES
from pacodec.errors import UsageError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Codec, PacCodec
from pacodec.evaluation.peers import PEERS, Peer, available
from pacodec.evaluation.quality import better_chroma
from pacodec.gop.choose_transform import DEFAULT_QUALITY, DEFAULT_QUANTIZER
from pacodec.models import library as models
from pacodec.options import QUALITIES

DEFAULT_MODEL = "default"
"""Stands for what `encode` does without a model."""


@dataclass(frozen=True)
class Setting:
    """One point to measure."""

    label: str
    codec: Codec


@dataclass(frozen=True)
class Curve:
    """Settings of one codec; `reference` is the index of the one that speed is measured at.

    `at` makes the setting of any rate between those in `rates`, for peers, so that their bytes can be matched.
    """

    name: str
    ours: bool
    settings: tuple[Setting, ...]
    reference: int
    rates: tuple[int, ...] = ()
    at: Callable[[int], Setting] | None = None


def chosen_peers(names: Sequence[str]) -> list[Peer]:
    """The peers of those families; UsageError for a family that is unknown or not installed."""
    for name in names:
        if name not in {peer.family for peer in PEERS}:
            raise UsageError(f"unknown peer {name!r}; known are {', '.join(dict.fromkeys(p.family for p in PEERS))}")
        if not available(name):
            raise UsageError(f"peer {name}: the program is not on the PATH")
    return [peer for peer in PEERS if peer.family in names]


def peer_curve(peer: Peer, clip: Clip) -> Curve:
    """A peer's curve on a clip, which says how 4:2:0 is made best."""
    chroma = better_chroma(peer.pixel_format, clip.pictures())

    def at(rate: int) -> Setting:
        return Setting(f"{peer.scale} {rate}", peer.codec(rate, chroma))

    settings = [at(rate) for rate in peer.rates]
    exact = [Setting("lossless", peer.lossless)] if peer.lossless else []
    return Curve(peer.name, False, (*settings, *exact), len(settings) // 2, peer.rates, at if settings else None)


def pacodec_curve(name: str, device: str) -> Curve:
    """The curve of a model's name or path, or of `DEFAULT_MODEL`; ModelError where there is none."""
    if name == DEFAULT_MODEL:
        return _by_quality("pacodec", None, device)
    if models.find(name).info.arch in ARCHITECTURES:
        return _autoencoder(name, device)
    return _by_quality(f"pacodec {name}", name, device)


def _by_quality(title: str, model: str | None, device: str) -> Curve:
    settings = [Setting(f"q{quality}", PacCodec(model, quality, device=device)) for quality in QUALITIES]
    lossless = Setting("lossless", PacCodec(model, None, device=device))
    return Curve(title, True, (*settings, lossless), QUALITIES.index(DEFAULT_QUALITY))


def _autoencoder(name: str, device: str) -> Curve:
    """Every quantizer with those qualities that differ: they set its levels, which two of the quantizers have not."""
    levels = [quality for quality in QUALITIES if quality <= DEFAULT_QUALITY]
    settings = [
        Setting(f"{quantizer} q{quality}", PacCodec(name, quality, quantizer, device))
        for quantizer in QUANTIZERS
        for quality in (levels if quantizer in ("scale", "kmeans") else [DEFAULT_QUALITY])
    ]
    labels = [setting.label for setting in settings]
    return Curve(f"pacodec {name}", True, tuple(settings), labels.index(f"{DEFAULT_QUANTIZER} q{DEFAULT_QUALITY}"))
