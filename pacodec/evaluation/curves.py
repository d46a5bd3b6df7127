"""The curves of a comparison: each codec's settings from small to good, and which of them its speed is measured at.

The opponents have settings that a fair one would choose: slow, one keyframe, screen tools, on one thread. Among them is
pacodec's own base layer: what a standard encoder does for it without code grids. It aims at a PSNR, all others code at
constant quality. One thread, because a thread more costs bytes: x264, as PyAV opens it, then cuts each of these small
frames into slices, and pays 7 to 27% for it. `x264-sliced` is that on two cores, to compare with figures taken so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.autoencoders.registry import ARCHITECTURES
from pacodec.errors import UsageError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import (
    AomencCodec,
    BaseLayerCodec,
    Codec,
    DifferencesCodec,
    FFmpegCodec,
    PacCodec,
    WebpCodec,
    aomenc_installed,
)
from pacodec.evaluation.quality import Chroma, better_chroma
from pacodec.gop.choose_transform import DEFAULT_QUALITY, DEFAULT_QUANTIZER
from pacodec.models import library as models
from pacodec.options import QUALITIES

CRF_51 = (0, 4, 11, 18, 23, 28, 33)
"""Of x264 and x265, best first."""
CRF_63 = (8, 20, 30, 40, 50, 60)
"""Of VP9 and AV1."""
FINE_63 = (1, 3, *CRF_63)
"""The same in 4:4:4, up to where clean footage begins for us; in 4:2:0 its chroma is lost at any rate."""


@dataclass(frozen=True)
class Peer:
    """One encoder in one pixel format; `codec` makes it for a rate, `lossless` is its exact setting if it has one."""

    family: str
    name: str
    pixel_format: str
    scale: str
    rates: tuple[int, ...]
    codec: Callable[[int, Chroma], Codec]
    lossless: Codec | None = None


def available(family: str) -> bool:
    """Whether that family can run here."""
    return family != "aomenc" or aomenc_installed()


def default_families() -> tuple[str, ...]:
    """All that can run here, but for the variant that is only weaker."""
    return tuple(
        dict.fromkeys(peer.family for peer in PEERS if available(peer.family) and peer.family != "x264-sliced")
    )


def _x264(pixel_format: str, threads: int = 1) -> Callable[[int, Chroma], Codec]:
    return lambda rate, chroma: FFmpegCodec(
        "libx264", "h264", pixel_format, chroma, {"preset": "veryslow", "crf": str(rate)}, threads
    )


def _x265_parameters(**more: str) -> dict[str, str]:
    fixed = {"log-level": "error", "info": "0", "pools": "none", "frame-threads": "1"}
    return {"preset": "slow", "x265-params": ":".join(f"{key}={value}" for key, value in (fixed | more).items())}


def _x265(pixel_format: str) -> Callable[[int, Chroma], Codec]:
    return lambda rate, chroma: FFmpegCodec(
        "libx265", "hevc", pixel_format, chroma, {**_x265_parameters(), "crf": str(rate)}
    )


_VP9 = {"deadline": "good", "cpu-used": "1"}


def _vp9(pixel_format: str) -> Callable[[int, Chroma], Codec]:
    # b=0: without it the default bit rate caps what crf asks for.
    return lambda rate, chroma: FFmpegCodec(
        "libvpx-vp9", "vp9", pixel_format, chroma, {**_VP9, "crf": str(rate), "b": "0"}
    )


def _svtav1(rate: int, chroma: Chroma) -> Codec:
    options = {"preset": "2", "crf": str(rate), "svtav1-params": "scm=1:lp=1:keyint=-1"}
    return FFmpegCodec("libsvtav1", "libdav1d", "yuv420p", chroma, options)


def _aomenc(pixel_format: str) -> Callable[[int, Chroma], Codec]:
    return lambda rate, chroma: AomencCodec(pixel_format, chroma, rate)


def _exact(family: str, name: str, codec: Codec) -> Peer:
    return Peer(family, name, "rgb24", "", (), lambda rate, chroma: codec, codec)


_X264_LOSSLESS = FFmpegCodec("libx264rgb", "h264", "rgb24", "nearest", {"preset": "veryslow", "qp": "0"})
# Version 1 of FFV1: what later ones add (slices, checksums) costs bytes, and a header beside the packets.
_FFV1 = FFmpegCodec("ffv1", "ffv1", "bgr0", "nearest", {"level": "1", "coder": "1", "context": "1"})
_X265_LOSSLESS = FFmpegCodec("libx265", "hevc", "gbrp", "nearest", _x265_parameters(lossless="1"))
_VP9_LOSSLESS = FFmpegCodec("libvpx-vp9", "vp9", "gbrp", "nearest", {**_VP9, "lossless": "1"})
_AV1_LOSSLESS = AomencCodec("gbrp", "nearest", None)

PEERS = (
    Peer("base-layer", "base layer", "rgb24", "quality", QUALITIES[::-1], lambda rate, chroma: BaseLayerCodec(rate)),
    Peer("x264", "x264 4:4:4", "yuv444p", "crf", CRF_51, _x264("yuv444p")),
    Peer("x264", "x264 4:2:0", "yuv420p", "crf", CRF_51, _x264("yuv420p")),
    Peer("x264-sliced", "x264 4:4:4 sliced", "yuv444p", "crf", CRF_51, _x264("yuv444p", threads=2)),
    Peer("x265", "x265 4:4:4", "yuv444p", "crf", CRF_51, _x265("yuv444p"), _X265_LOSSLESS),
    Peer("x265", "x265 4:2:0", "yuv420p", "crf", CRF_51, _x265("yuv420p")),
    Peer("vp9", "VP9 4:4:4", "yuv444p", "crf", FINE_63, _vp9("yuv444p"), _VP9_LOSSLESS),
    Peer("vp9", "VP9 4:2:0", "yuv420p", "crf", CRF_63, _vp9("yuv420p")),
    Peer("svtav1", "SVT-AV1 4:2:0", "yuv420p", "crf", CRF_63, _svtav1),
    Peer("aomenc", "libaom AV1 4:4:4", "yuv444p", "cq", FINE_63, _aomenc("yuv444p"), _AV1_LOSSLESS),
    Peer("aomenc", "libaom AV1 4:2:0", "yuv420p", "cq", CRF_63, _aomenc("yuv420p")),
    _exact("x264rgb", "x264 RGB", _X264_LOSSLESS),
    _exact("ffv1", "FFV1", _FFV1),
    _exact("webp", "animated WebP", WebpCodec()),
    _exact("zstd", "zstd -19 of differences", DifferencesCodec()),
    _exact("xz", "xz -9e of differences", DifferencesCodec(9, "xz")),
)


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
