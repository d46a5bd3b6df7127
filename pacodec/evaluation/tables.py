"""Results as tables for people, the same in a terminal, in Markdown and in HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean, median

from pacodec.evaluation.bd_rate import MIN_OVERLAP, bytes_at, pooled_psnr
from pacodec.evaluation.quality import SIMILARITY_FRAMES
from pacodec.evaluation.results import BdRate, ClipResult, CurveResult, EqualPsnr, Evaluation, Point

MIB = 1 << 20


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; numbers stand right. `notes` say what the columns mean."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The table in Markdown, aligned so that it can be read as it is."""
        lines = [self.header, *self.rows]
        widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(self.header))]
        left = [column == 0 or not _numeric([row[column] for row in self.rows]) for column in range(len(widths))]
        rule = [
            "-" * width if on_left else "-" * (width - 1) + ":" for width, on_left in zip(widths, left, strict=True)
        ]
        padded = [
            [c.ljust(w) if on_left else c.rjust(w) for c, w, on_left in zip(line, widths, left, strict=True)]
            for line in lines
        ]
        body = "\n".join("| " + " | ".join(cells) + " |" for cells in [padded[0], rule, *padded[1:]])
        return "\n\n".join([self.title, body, *self.notes])

    def html(self) -> str:
        """The table in HTML."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<h3>{escape(self.title)}</h3><div class=scroll>{table}</div>{notes}"


def tables(evaluation: Evaluation) -> list[Table]:
    """All tables of a run."""
    found = [table for clip in evaluation.clips for table in clip_tables(clip)]
    return [*found, _means(evaluation), _equal_quality(evaluation)] if len(evaluation.clips) > 1 else found


def clip_tables(result: ClipResult) -> list[Table]:
    """Rates and qualities, BD-rates, speeds of one clip."""
    made = [_points(result), _bd_rates(result)]
    timed = [curve for curve in result.curves if curve.timing]
    return [*made, _speeds(result, timed)] if timed else made


def _points(result: ClipResult) -> Table:
    clip = result.clip
    title = f"{clip.name}: {clip.frames} frames of {clip.width}x{clip.height}, {float(clip.rate):g} a second"
    header = ("codec", "setting", "kbit/s", "with model", "PSNR dB", "pooled", "worst", "SSIM", "MS-SSIM", "break-even")
    rows = [_point_row(result, curve, point) for curve in result.curves for point in curve.points]
    notes = (
        "kbit/s: all that a decoder needs but the shared model; with model: that model's bytes added. PSNR in RGB: "
        "mean over frames of each frame's, then that of the squared error pooled over all frames, and of the worst "
        "frame. SSIM and MS-SSIM: "
        f"mean over R, G, B, of {SIMILARITY_FRAMES} frames at most. Break-even: minutes of footage after which ours "
        "and its model are smaller than the best peer of the same PSNR.",
    )
    return Table(title, header, rows, notes)


def _point_row(result: ClipResult, curve: CurveResult, point: Point) -> list[str]:
    quality = point.measurement.quality
    total = result.clip.kbps(point.measurement.bytes + point.model_bytes)
    loss = quality.distortion
    return [
        curve.name,
        point.label,
        f"{point.kbps:.1f}",
        f"{total:.1f}" if point.model_bytes else "",
        "exact" if quality.exact else f"{quality.psnr:.2f}",
        "exact" if quality.exact else f"{loss.psnr:.2f}",
        "exact" if quality.exact else f"{loss.worst_psnr:.2f}",
        f"{mean(quality.ssim):.4f}",
        f"{mean(quality.ms_ssim):.4f}",
        _break_even_text(point),
    ]


def _break_even_text(point: Point) -> str:
    found = point.break_even
    if found is None:
        return ""
    if found.peer is None:
        return "no peer there"
    if found.minutes is None:
        return f"never ({found.peer}, {found.peer_kbps:.1f})"
    return f"{found.minutes:.1f} min ({found.peer}, {found.peer_kbps:.1f})"


def _bd_rates(result: ClipResult) -> Table:
    header = ("codec", "against", "BD-rate", "over dB")
    rows = [
        [name, anchor, *_bd_cells(rate)]
        for name, anchors in result.bd_rates.items()
        for anchor, rate in anchors.items()
    ]
    note = (
        "BD-rate: bytes more (+) or fewer (-) for the same PSNR, by Akima interpolation over the PSNR both reach. "
        f"Where that is under {MIN_OVERLAP:.0%} of what they span together, the difference at one PSNR stands there, "
        "or a bound of it: the better curve's smallest point against the other's best."
    )
    return Table(f"{result.clip.name}: BD-rate", header, rows, (note,))


def _bd_cells(rate: BdRate) -> tuple[str, str]:
    if rate.percent is None:
        instead = "" if rate.instead is None else f"; {_equal_psnr_text(rate.instead)}"
        return "none", f"{rate.reason}{instead}"
    return f"{rate.percent:+.1f}%", f"{rate.low:.1f} to {rate.high:.1f}"


def _equal_psnr_text(found: EqualPsnr) -> str:
    bound = "" if found.bound is None else f"{found.bound} "
    return f"{bound}{found.percent:+.1f}% at {found.psnr:.1f} dB"


def _speeds(result: ClipResult, curves: Sequence[CurveResult]) -> Table:
    header = ("codec", "setting", "encode frames/s", "decode frames/s", "encode MiB", "decode MiB")
    rows, runs = [], 0
    for curve in curves:
        assert curve.timing is not None
        timing, frames = curve.timing, result.clip.frames
        runs = len(timing.encode_seconds)
        rows.append(
            [
                curve.name,
                curve.points[curve.reference].label,
                f"{frames / median(timing.encode_seconds):.1f}",
                f"{frames / median(timing.decode_seconds):.1f}",
                f"{timing.encode_memory / MIB:.0f}",
                f"{timing.decode_memory / MIB:.0f}",
            ]
        )
    note = f"One core, RGB to RGB, median of {runs} interleaved runs; MiB: peak of the whole process, libraries too."
    return Table(f"{result.clip.name}: speed and memory", header, rows, (note,))


def _means(evaluation: Evaluation) -> Table:
    """BD-rates averaged over the clips."""
    rows = []
    for name, anchors in evaluation.clips[0].bd_rates.items():
        for anchor in anchors:
            rates = [clip.bd_rates[name][anchor].percent for clip in evaluation.clips]
            known = [rate for rate in rates if rate is not None]
            rows.append([name, anchor, f"{mean(known):+.1f}%" if known else "none", f"{len(known)} of {len(rates)}"])
    return Table("All clips: mean BD-rate", ("codec", "against", "BD-rate", "clips"), rows)


def _equal_quality(evaluation: Evaluation) -> Table:
    """What each codec takes of each clip for the quality of our first curve's reference point, and without loss."""
    ours = evaluation.clips[0].curves[0]
    rows = []
    for result in evaluation.clips:
        clip, points = result.clip, result.curves[0].points
        exact, reference = [point for point in points if point.measurement.quality.exact], points[ours.reference]
        for like in exact[:1] if reference in exact else [reference, *exact[:1]]:
            quality = "exact" if like in exact else f"{pooled_psnr(like):.2f}"
            sizes = [bytes_at(curve, like) for curve in result.curves]
            cells = ["" if size is None else f"{size / 1000:.1f}" for size in sizes]
            rows.append([clip.name, f"{clip.frames} of {clip.width}x{clip.height}", quality, *cells])
    title = f"All clips: kB for the pooled PSNR of {ours.name} {ours.points[ours.reference].label}, and without loss"
    note = "Between measured points the logarithm of the size is linear in dB; a cell is empty where a codec has none."
    names = (curve.name for curve in evaluation.clips[0].curves)
    return Table(title, ("clip", "frames", "PSNR dB", *names), rows, (note,))


def _numeric(cells: Sequence[str]) -> bool:
    return all(cell[:1] in "+-0123456789" or cell in ("exact", "none") for cell in cells if cell) and any(cells)
