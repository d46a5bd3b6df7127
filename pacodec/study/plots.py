"""The table as pictures: PSNR over ratio, and originals beside what each model makes of them."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.figure import Figure

from pacodec.common.media import Image
from pacodec.study.results import Result
from pacodec.training.fit import Frames

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
