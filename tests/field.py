"""Holds what `pacodec` does with real files against what it promises: `python tests/field.py FOLDER [NAME...]`.

Every file of the folder is encoded with the defaults, decoded again, and compared with what PyAV (for WebP, Pillow)
makes of the source. Nothing of pacodec is imported: it is run as a command, and its reports are what is tested.
Prints a table, then what does not hold; ends with 1 if anything does not.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_GROWTH, SPARE_BYTES = 1.01, 1000
"""A .pac file without its sound is never larger than so many times its source's video stream, and so many bytes."""
MEDIAN_SIZE = 0.6
"""Of what was lossily coded before, half of the files become at least that much smaller."""
REPORTED_WITHIN = 0.1
"""dB between the PSNR that is reported and the one measured here."""
TIMES_WITHIN = 0.001
"""Seconds that a picture may be shown off its time."""
ADTS_BYTES = 7
"""Of the header that transport streams put before each packet of AAC, and MP4 once in front of all."""
LOSSLESS_CODECS = {"gif", "apng", "png", "webp", "ffv1", "rawvideo", "qtrle", "utvideo", "huffyuv"}
COLUMNS = (
    "file", "frames", "source kB", "pac kB", "ratio", "coder", "PSNR said", "measured", "worst", "times", "audio",
    "default output", "enc fps", "dec fps", "MB",
)  # fmt: skip

Picture = NDArray[np.uint8]


@dataclass
class Run:
    """One run of the command."""

    code: int
    seconds: float
    megabytes: float
    stdout: str
    stderr: str


@dataclass
class Row:
    """What was found for one file: the cells of its line, and what does not hold."""

    cells: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    size_ratio: float | None = None
    lossy: bool = False


@dataclass
class Error:
    """Squared error of frames, summed."""

    squared: int = 0
    values: int = 0
    worst: float = 0.0

    def add(self, a: Picture, b: Picture) -> None:
        difference = a.astype(np.int32) - b
        squared = int(np.einsum("ijk,ijk->", difference, difference, dtype=np.int64))
        self.squared += squared
        self.values += a.size
        self.worst = max(self.worst, squared / a.size)

    @property
    def psnr(self) -> float:
        return decibels(self.squared / max(self.values, 1))


def decibels(error: float) -> float:
    return 10 * math.log10(255**2 / error) if error else math.inf


def pacodec(*arguments: object) -> Run:
    command = [sys.executable, "-P", "-c", "from pacodec.cli import main; main()", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        return Run(process.returncode, seconds, usage.ru_maxrss / 1024, out.read(), errors.read())


def on_white(rgba: Picture) -> Picture:
    alpha = rgba[..., 3:].astype(np.int32)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def shown(path: Path) -> Iterator[tuple[Picture, Fraction]]:
    """Pictures, uint8 [H, W, 3], and their times in seconds, as others show them."""
    if path.suffix == ".webp":
        with Image.open(path) as file:
            start = 0
            for number in range(getattr(file, "n_frames", 1)):
                file.seek(number)
                yield on_white(np.asarray(file.convert("RGBA"))), Fraction(start, 1000)
                start += file.info.get("duration") or 100  # as browsers show a frame that asks for no time
        return
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        decoder = video.codec_context
        if video.metadata.get("alpha_mode") == "1":
            name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[decoder.name]
            decoder = av.CodecContext.create(name, "r")  # type: ignore[assignment]
        last, offset, step = None, Fraction(0), Fraction(1, 25)
        for packet in container.demux(video):
            for frame in decoder.decode(packet) if packet.size else decoder.decode(None):
                alpha = frame.format.has_palette or any(part.is_alpha for part in frame.format.components)
                rgb = frame.to_ndarray(format="rgb24")
                if alpha:
                    opacity = frame.to_ndarray(format="rgba")[..., 3:]
                    rgb = on_white(np.concatenate([rgb, opacity], 2))
                at = frame.pts * (video.time_base or Fraction(1, 25)) + offset
                if last is not None and last - at > 1:  # recordings put end to end
                    offset += last + step - at
                    at = last + step
                step, last = (at - last if last is not None else step), at
                yield rgb, at
            if not packet.size:
                return


def sound(path: Path) -> list[list[bytes]]:
    """The packets of each audio track."""
    if path.suffix == ".webp":
        return []
    with av.open(str(path)) as container:
        tracks = {stream.index: list[bytes]() for stream in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if tracks else ():
            if packet.size:
                data = bytes(packet)
                header = ADTS_BYTES if data[:1] == b"\xff" and data[1] & 0xF6 == 0xF0 else 0
                tracks[packet.stream_index].append(data[header:])
    return list(tracks.values())


def video_bytes(path: Path) -> tuple[int, bool, set[str]]:
    """Bytes of the video stream, whether it was coded lossily, and words that a warning must have."""
    if path.suffix == ".webp":
        return path.stat().st_size, False, set()
    words = set()
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        lossy = video.codec_context.codec.canonical_name not in LOSSLESS_CODECS
        words |= {"subtitle"} if container.streams.subtitles else set()
        words |= {"chapter"} if container.chapters() else set()
        size = sum(packet.size for packet in container.demux(video))
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            words |= {"interlaced"} if frame.interlaced_frame else set()
            words |= {"HDR"} if frame.color_trc in (16, 18) else set()
            if (
                any(part.is_alpha for part in frame.format.components)
                and frame.to_ndarray(format="rgba")[..., 3].min() < 255
            ):
                words.add("transparen")
            break
    return (size if path.suffix != ".gif" else path.stat().st_size), lossy, words


def examine(path: Path, folder: Path) -> Row:
    """Encode and decode one file, and compare."""
    row = Row()
    row.cells["file"] = path.name
    source_bytes, row.lossy, words = video_bytes(path)
    coded, decoded = folder / "out.pac", folder / "out.mp4"
    encoding = pacodec("encode", path, coded, "-y", "--json")
    if encoding.code:
        row.broken.append(f"encode ends with {encoding.code}: {encoding.stderr.strip()}")
        return row
    report = json.loads(encoding.stdout)
    info = json.loads(pacodec("info", coded, "--json").stdout)
    size = coded.stat().st_size - info["sizes"].get("audio", 0)
    row.size_ratio = size / source_bytes
    row.cells |= {
        "source kB": f"{source_bytes / 1000:.1f}",
        "pac kB": f"{size / 1000:.1f}",
        "ratio": f"{row.size_ratio:.2f}",
    }
    if size > MOST_GROWTH * source_bytes + SPARE_BYTES:
        row.broken.append(f"grew to {row.size_ratio:.2f} of its source")
    warnings = " ".join(report["warnings"])
    row.broken += [f"says nothing of what is lost: {word}" for word in sorted(words) if word not in warnings]
    if "damaged" in warnings:
        row.broken.append(f"is called damaged: {warnings}")

    decoding = pacodec("decode", coded, decoded, "-y", "--lossless")
    if decoding.code == 2 and "audio" in decoding.stderr:  # of a codec that MP4 has no place for
        decoded = folder / "out.mkv"
        decoding = pacodec("decode", coded, decoded, "-y", "--lossless")
    if decoding.code:
        row.broken.append(f"decode ends with {decoding.code}: {decoding.stderr.strip()}")
        return row
    frames = compare_frames(path, decoded, report, row)
    row.cells["audio"] = compare_sound(path, decoded, row)
    row.cells["coder"] = " + ".join(report["coders"])
    row.cells |= {"enc fps": f"{frames / encoding.seconds:.1f}", "dec fps": f"{frames / decoding.seconds:.1f}"}
    row.cells["MB"] = f"{max(encoding.megabytes, decoding.megabytes):.0f}"
    row.cells["default output"] = default_output(coded, decoded, folder, row)
    return row


def compare_frames(source: Path, decoded: Path, report: dict[str, object], row: Row) -> int:
    """Pictures and times; the number of frames."""
    error, late, frames = Error(), 0.0, 0
    starts: tuple[Fraction, Fraction] | None = None
    for a, b in zip_longest(shown(source), shown(decoded)):
        if a is None or b is None:
            row.broken.append(f"has {'more' if a is None else 'fewer'} frames than its source, which has {frames}")
            break
        if a[0].shape != b[0].shape:
            row.broken.append(f"frame {frames} has another size")
            break
        error.add(a[0], b[0])
        starts = starts or (a[1], b[1])
        late = max(late, abs(float((a[1] - starts[0]) - (b[1] - starts[1]))))
        frames += 1
    said = report["psnr"]
    exactly = said is None or report.get("exact") is True or (isinstance(said, float) and said >= 99.9)
    told = math.inf if exactly else float(str(said))
    row.cells |= {"frames": str(frames), "PSNR said": decibel_text(told), "measured": decibel_text(error.psnr)}
    row.cells |= {
        "worst": decibel_text(decibels(error.worst)),
        "times": "ok" if late <= TIMES_WITHIN else f"{late:.3f} s",
    }
    if told != error.psnr and not abs(told - error.psnr) <= REPORTED_WITHIN:
        row.broken.append(f"reports {decibel_text(told)} dB, measured are {decibel_text(error.psnr)}")
    if late > TIMES_WITHIN:
        row.broken.append(f"shows frames up to {late:.3f} s off their time")
    return frames


def decibel_text(psnr: float) -> str:
    return "exact" if math.isinf(psnr) else f"{psnr:.2f}"


def compare_sound(source: Path, decoded: Path, row: Row) -> str:
    """Whether the audio packets came back bit for bit."""
    ours, theirs = sound(source), sound(decoded)
    if not ours:
        return "-"
    if ours == theirs:
        return "same"
    if [b"".join(track) for track in ours] == [b"".join(track) for track in theirs]:
        return "same"  # raw sound, cut up otherwise
    row.broken.append("has other audio packets than its source")
    return "differs"


def default_output(coded: Path, decoded: Path, folder: Path, row: Row) -> str:
    """How far the MP4 that one gets without options is from what the .pac holds, and whether that is said."""
    target = folder / f"default{decoded.suffix}"
    run = pacodec("decode", coded, target, "-y", "--json")
    if run.code:
        row.broken.append(f"decode by default ends with {run.code}: {run.stderr.strip()}")
        return "-"
    error = Error()
    for a, b in together(shown(decoded), shown(target)):
        error.add(a, b)
    if not math.isinf(error.psnr) and json.loads(run.stdout)["exact"] and coded_as_it_is(target):
        return f"copied, {decibel_text(error.psnr)}, {target.stat().st_size / 1000:.0f} kB"
    report = json.loads(run.stdout)
    if report["exact"] and not math.isinf(error.psnr):
        row.broken.append(f"decode calls an output exact that is {decibel_text(error.psnr)}")
    elif not report["exact"] and abs(report["distortion"]["psnr"] - error.psnr) > 1:  # measured on every eighth frame
        said = report["distortion"]["psnr"]
        row.broken.append(f"decode reports {said:.2f} dB for an output of {decibel_text(error.psnr)}")
    return f"{decibel_text(error.psnr)}, {target.stat().st_size / 1000:.0f} kB"


def together(
    ours: Iterator[tuple[Picture, Fraction]], theirs: Iterator[tuple[Picture, Fraction]]
) -> Iterator[tuple[Picture, Picture]]:
    """Each picture of the first with the one that the second shows at that time: repeats may be one long frame."""
    current, following = next(theirs), next(theirs, None)
    start = None
    for picture, at in ours:
        start = at - current[1] if start is None else start
        while following is not None and following[1] <= at - start + TIMES_WITHIN:
            current, following = following, next(theirs, None)
        yield picture, current[0]


def coded_as_it_is(path: Path) -> bool:
    """Whether a file holds packets of another codec than those that decoding makes."""
    with av.open(str(path)) as container:
        video = container.streams.video[0].codec_context
        return video.name != "h264" or video.pix_fmt not in ("gbrp", "yuv420p")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="of files in it; all by default")
    options = parser.parse_args()
    paths = sorted([options.folder / name for name in options.names] or options.folder.iterdir())
    rows = []
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for path in filter(Path.is_file, paths):
        with tempfile.TemporaryDirectory() as folder:
            row = examine(path, Path(folder))
        rows.append(row)
        print("| " + " | ".join(row.cells.get(column, "") for column in COLUMNS) + " |", flush=True)
    broken = [f"{row.cells['file']}: {line}" for row in rows for line in row.broken]
    ratios = [row.size_ratio for row in rows if row.lossy and row.size_ratio is not None]
    if ratios:
        median = statistics.median(ratios)
        print(f"\nmedian size of what was lossily coded before: {median:.2f} (at most {MEDIAN_SIZE} wanted)")
        broken += [f"median size of lossy files is {median:.2f}"] * (median > MEDIAN_SIZE)
    print("\nwhat does not hold:" if broken else "\nall holds", *broken, sep="\n- ")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
