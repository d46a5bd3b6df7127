"""The study's tables with ours beside them, in Markdown, and as pictures."""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction

import cv2
import numpy as np
from matplotlib.figure import Figure

from pacodec.common.media import Image
from pacodec.evaluation.tables import Table
from pacodec.study.measure import GOP_FRAMES, SSIM_SETTINGS
from pacodec.study.networks import NETWORKS
from pacodec.study.results import DEMOS, Result, RowQuality
from pacodec.training.fit import Frames

TOLERANCE = 0.3
"""dB that the scale quantizer may lose against none."""


def study_tables(results: Sequence[Result], notes: Sequence[str] = ()) -> list[Table]:
    """All tables that the results have rows for."""
    made = [_main(results, notes), _training(results), _weights(results), _demos(results)]
    return [table for table in made if table.rows]


def shortfalls(results: Sequence[Result]) -> list[str]:
    """Where our figures are under the study's, or the scale quantizer loses more than it may; one line each."""
    lines: list[str] = []
    by_name = {result.row: result for result in results}
    for result in results:
        if result.study is not None:
            lines += _shortfalls(result.row, result.coded, result.study["psnr"], result.study["ssim"])
        exact = by_name.get(f"{result.network}/none")
        lost = exact.coded.psnr - result.coded.psnr if exact else 0.0
        if result.quantizer == "scale" and result.levels == 256 and lost > TOLERANCE:
            lines.append(f"{result.row}: {lost:.2f} dB under none")
    for clip, result, quality, theirs in _demo_clips(results):
        lines += _shortfalls(f"{clip}, {result.network}", quality, *theirs)
    return lines


def _shortfalls(where: str, ours: RowQuality, psnr: float, ssim: float) -> Iterator[str]:
    for name, value, theirs in (("psnr", ours.psnr, psnr), ("ssim", ours.ssim, ssim)):
        if value < theirs:
            yield f"{where}: {name} {value:.3f}, the study had {theirs:.3f}"


def _main(results: Sequence[Result], notes: Sequence[str]) -> Table:
    header = (
        "model", "quantizer", "epochs", "minutes", "weights MB", "file MB", "values", "ratio", ".pac ratio",
        "PSNR dB", "SSIM", "study: PSNR", "SSIM", "encode /s", "decode /s",
    )  # fmt: skip
    rows = [
        (
            result.network,
            _quantizer(result),
            f"{result.epochs:.1f}" if result.steps else "closed form",
            f"{result.minutes:.0f}",
            f"{result.trained_bytes / 1e6:.1f}",
            f"{result.stored_bytes / 1e6:.1f}",
            str(result.values),
            _fraction(result.ratio),
            f"1/{1 / result.coded.pac_ratio:.1f}",
            f"{result.coded.psnr:.2f}",
            f"{result.coded.ssim:.4f}",
            f"{result.study['psnr']:.2f}" if result.study else "",
            f"{result.study['ssim']:.3f}" if result.study else "",
            f"{result.coded.encode_fps:.0f}",
            f"{result.coded.decode_fps:.0f}",
        )
        for result in results
    ]
    explained = (
        "PSNR (RGB, peak 255) and SSIM are means over all test frames, at 3 frames/s.",
        f"{SSIM_SETTINGS}.",
        "weights: float32, as trained; file: the model file, in 16 bits. ratio: bytes of the code over those of the "
        f"frame, the study's definition; .pac ratio: whole files of the first {GOP_FRAMES} frames of each test "
        "recording, entropy coded; encode, decode: frames a second of those, entropy coding included.",
        *notes,
    )
    return Table("## The study's table", header, rows, explained)


def _training(results: Sequence[Result]) -> Table:
    """What longer training would add, as far as the end of it tells."""
    header = ("model", "steps", "epochs", "minutes", "last third gained, dB")
    trained = {result.network: result for result in results if result.steps}
    rows = [
        (
            name,
            str(result.steps),
            f"{result.epochs:.1f}",
            f"{result.minutes:.1f}",
            "" if result.late_gain is None else f"{result.late_gain:.2f}",
        )
        for name, result in trained.items()
    ]
    notes = (
        "On validation frames, of the last phase of the training. Part of it is the falling learning rate, which a "
        "longer training has too: the gain of as many steps again is rather less.",
    )
    return Table("## What longer training would add", header, rows, notes)


def _weights(results: Sequence[Result]) -> Table:
    """What small forms of the weights cost."""
    header = ("model", "quantizer", "float32 MB", "dB", "16 bits MB", "dB", "compact", "MB", "dB", "SSIM", "cost dB")
    rows = [
        (
            result.network,
            _quantizer(result),
            f"{result.trained_bytes / 1e6:.1f}",
            f"{result.psnr_float32:.2f}" if result.quantizer == "naive" else "",
            f"{result.stored_bytes / 1e6:.1f}",
            f"{result.coded.psnr:.2f}",
            ", ".join(f"{name} {value}" for name, value in (NETWORKS[result.network].compact or {}).items()),
            f"{result.compact_bytes / 1e6:.1f}",
            f"{result.compact.psnr:.2f}",
            f"{result.compact.ssim:.4f}",
            f"{result.coded.psnr - result.compact.psnr:.2f}",
        )
        for result in results
        if result.compact is not None and result.compact_bytes is not None
    ]
    notes = (
        "float32: the weights as they come from training, looked at through naive codes only. 16 bits: the model file. "
        "compact: linear layers of that rank (PCA: so many components), in 8 bits.",
    )
    return Table("## What small weights cost", header, rows, notes)


def _demos(results: Sequence[Result]) -> Table:
    """The authors' own clips."""
    header = ("clip", "model", "PSNR dB", "SSIM", "study: PSNR", "SSIM")
    rows = [
        (clip, result.network, f"{ours.psnr:.2f}", f"{ours.ssim:.4f}", f"{psnr:.2f}", f"{ssim:.3f}")
        for clip, result, ours, (psnr, ssim) in _demo_clips(results)
    ]
    return Table("## The authors' demo clips, no quantizer", header, rows)


def _demo_clips(results: Sequence[Result]) -> Iterator[tuple[str, Result, RowQuality, tuple[float, float]]]:
    """The authors' clips that we have: clip, our row, its quality, and the study's PSNR and SSIM."""
    for clip, figures in DEMOS.items():
        for model, theirs in figures.items():
            for result in results:
                ours = result.clips.get(clip)
                if ours is not None and result.quantizer == "none" and result.network.split("-")[0] == model:
                    yield clip, result, ours, theirs


def _quantizer(result: Result) -> str:
    return result.quantizer if result.levels == 256 else f"{result.quantizer}, {result.levels} levels"


def _fraction(ratio: float) -> str:
    """A ratio as a simple fraction where it nearly is one."""
    simple = Fraction(ratio).limit_denominator(48)
    return str(simple) if abs(simple - ratio) < ratio / 25 and simple.numerator < 3 else f"{ratio:.3f}"


COLOURS = {
    "pca": "#999999",
    "vanilla": "#3366aa",
    "multilayer": "#44bbcc",
    "conv4": "#cc3311",
    "conv5": "#dd7711",
    "vae": "#228833",
}
MARKERS = {"none": "o", "naive": "s", "scale": "^", "kmeans": "v", "learned": "*"}
STRIP_SCALE = 2
LABEL_HEIGHT = 26
GAP = 4


def draw_ratios(results: Sequence[Result]) -> bytes:
    """PSNR over the study's ratio and over that of the .pac file, the study's own points hollow, as PNG."""
    figure = Figure(figsize=(13, 6), layout="constrained")
    coded, stored = figure.subplots(1, 2, sharey=True)
    for result in results:
        colour, marker = COLOURS[result.network.split("-")[0]], MARKERS[result.quantizer]
        coded.plot(result.ratio, result.coded.psnr, marker, color=colour, markersize=6)
        stored.plot(result.coded.pac_ratio, result.coded.psnr, marker, color=colour, markersize=6)
        if result.study is not None:
            coded.plot(result.ratio, result.study["psnr"], marker, color=colour, markersize=9, fillstyle="none")
            coded.plot([result.ratio] * 2, [result.study["psnr"], result.coded.psnr], ":", color=colour, linewidth=0.8)
    for name, colour in COLOURS.items():
        stored.plot([], [], "o", color=colour, label=name)
    for name, marker in MARKERS.items():
        stored.plot([], [], marker, color="black", label=name)
    stored.plot([], [], "o", color="black", fillstyle="none", label="the study")
    coded.set(xscale="log", xlabel="bytes of the code / bytes of the frame", ylabel="PSNR, dB")
    stored.set(xscale="log", xlabel="bytes of the .pac file / bytes of the frames")
    for panel in (coded, stored):
        panel.grid(which="both", color="#eeeeee")
    stored.legend(fontsize=8, ncols=2)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110)
    return target.getvalue()


def draw_strip(originals: Frames, versions: Sequence[tuple[str, Sequence[Image]]]) -> bytes:
    """A row a frame: the original, then each model's version, enlarged without smoothing, as PNG."""
    columns = [("original", list(originals)), *versions]
    height, width = originals.shape[1] * STRIP_SCALE, originals.shape[2] * STRIP_SCALE
    sheet = np.full((LABEL_HEIGHT + len(originals) * (height + GAP), len(columns) * (width + GAP), 3), 255, np.uint8)
    for column, (name, frames) in enumerate(columns):
        left = column * (width + GAP)
        cv2.putText(sheet, name, (left + 4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
        for row, frame in enumerate(frames):
            top = LABEL_HEIGHT + row * (height + GAP)
            sheet[top : top + height, left : left + width] = cv2.resize(
                frame, (width, height), interpolation=cv2.INTER_NEAREST
            )
    done, data = cv2.imencode(".png", sheet[..., ::-1])
    assert done
    return data.tobytes()
