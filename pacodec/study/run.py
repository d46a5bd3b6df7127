"""`pacodec study run`: what lacks weights is trained, every row is measured, and the tables are written."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from pacodec.files import write_whole
from pacodec.fit import Frames
from pacodec.learning.loop import Progress
from pacodec.study.dataset import EVERY, ROLES, Dataset
from pacodec.study.measure import Result, TestClips, example_frames, measure_row
from pacodec.study.networks import NETWORKS, Network, Row, select
from pacodec.study.plots import draw_ratios, draw_strip
from pacodec.study.tables import shortfalls, study_tables
from pacodec.study.train import COMPACT, Workshop, needed
from pacodec.transforms.neural import choose_device

DEFAULT_MINUTES = 150.0
"""Leaves half an hour of three for the components and for measuring."""
LEAST_MINUTES = 0.5
"""That a network is trained, whatever is left of the budget."""
STRIP_FRAMES = 3
STRIP_NETWORKS = ("pca-500", "vanilla-500", "multilayer-500", "conv4", "conv5", "vae")


def run(
    folder: Path,
    output: Path,
    *,
    rows: str | None = None,
    minutes: float = DEFAULT_MINUTES,
    device: str = "auto",
    report: Callable[[str | Progress], None] = lambda message: None,
) -> list[Result]:
    """Train, measure and write `results.json`, `results.md`, `ratios.png` and `strip.png` into `output`.

    `folder` is a prepared data set; models, checkpoints and the results of rows are kept there, and what is there is
    not done again. `minutes` is for all training together. `rows` are names, separated by commas, of networks or of
    network/quantizer.

    Raises UsageError for rows that there are not, FileAccessError and CorruptFileError for a folder that is none.
    """
    chosen = select(rows)
    dataset = Dataset.open(folder)
    workshop = Workshop(dataset, folder / "models", choose_device(device), report)
    output.mkdir(parents=True, exist_ok=True)
    _train(workshop, [row.network for row in chosen], minutes)
    results = _measure(workshop, chosen, device, report)
    write_whole(str(output / "results.json"), json.dumps([result.to_dict() for result in results], indent=1).encode())
    tables = study_tables(results, _notes(workshop, results))
    write_whole(str(output / "results.md"), "\n\n".join(table.markdown() for table in tables).encode() + b"\n")
    write_whole(str(output / "ratios.png"), draw_ratios(results))
    shown = [name for name in STRIP_NETWORKS if any(row.network.name == name for row in chosen)]
    originals = _examples(workshop.frames("test")[0])
    versions = [(name, list(example_frames(workshop.path(name), originals, device))) for name in shown]
    write_whole(str(output / "strip.png"), draw_strip(originals, versions))
    return results


def _train(workshop: Workshop, networks: Sequence[Network], minutes: float) -> None:
    began = monotonic()
    lacking = [network for network in needed(list(networks)) if not workshop.path(network.name).exists()]
    for index, network in enumerate(lacking):
        left = minutes - (monotonic() - began) / 60
        shares = sum(each.share for each in lacking[index:])
        workshop.train(network, max(LEAST_MINUTES, left * network.share / shares) if shares else 0.0)


def _measure(
    workshop: Workshop, rows: Sequence[Row], device: str, report: Callable[[str | Progress], None]
) -> list[Result]:
    kept = workshop.folder.parent / "rows"
    kept.mkdir(exist_ok=True)
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        clips = TestClips(
            dict(zip(workshop.dataset.names("test"), workshop.frames("test"), strict=True)), Path(scratch)
        )
        for row in rows:
            path = kept / f"{row.name.replace('/', '-')}.json"
            result = _kept(path, workshop, row)
            if result is None:
                compact = workshop.path(row.network.name + COMPACT)
                model = workshop.path(row.network.name)
                result = measure_row(row, model, compact if compact.exists() else None, clips, device)
                write_whole(str(path), json.dumps(result.to_dict()).encode())
                report(f"{row.name}: {result.coded.psnr:.2f} dB, SSIM {result.coded.ssim:.4f}")
            results.append(result)
    return results


def _kept(path: Path, workshop: Workshop, row: Row) -> Result | None:
    """The result of a row that was measured before with the same weights and frames."""
    try:
        result = Result.from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = result.model == workshop.sha256(row.network.name) and result.data == workshop.dataset.sha256
    return result if same else None


def _notes(workshop: Workshop, results: Sequence[Result]) -> list[str]:
    """What the reader of the table must know of its making."""
    dataset = workshop.dataset
    counts = ", ".join(f"{dataset.count(role)} {role}" for role in ROLES)
    every = max(each.every for each in dataset.recordings if each.role == "train")
    taken = "every frame" if every == 1 else f"one frame in {every}"
    short = shortfalls(results)
    return [
        f"Frames: {counts}; {taken} of the training recordings, one in {EVERY} of the others, and no frame twice.",
        *(f"{name}: {gain}" for name in NETWORKS if (gain := workshop.gain(name)) is not None),
        "Under the study's figures: " + ("; ".join(short) if short else "none"),
    ]


def _examples(clip: Frames) -> Frames:
    step = max(1, len(clip) // STRIP_FRAMES)
    return clip[step // 2 :: step][:STRIP_FRAMES]
