"""`pacodec study run`: what lacks weights is trained, every row is measured, and the tables are written."""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pacodec.autoencoders.neural import choose_device
from pacodec.common.files import write_whole
from pacodec.study.dataset import EVERY, ROLES, Dataset
from pacodec.study.measure import ModelBenchmark, TestClips, measure_row
from pacodec.study.networks import Network, Row, select
from pacodec.study.results import MEASURE, Result
from pacodec.study.tables import draw_ratios, draw_strip, shortfalls, study_tables
from pacodec.study.train_networks import COMPACT, NetworkTrainer, needed
from pacodec.training.fit import Frames
from pacodec.training.request import TrainingProgress

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
    start: Path | None = None,
    device: str = "auto",
    report: Callable[[str | TrainingProgress], None] = lambda message: None,
) -> list[Result]:
    """Train, measure and write `results.json`, `results.md`, `ratios.png` and `strip.png` into `output`.

    `folder` is a prepared data set; models, checkpoints and the results of rows are kept there, and what is there is
    not done again. `minutes` is for all training of these rows together, what was spent on them before included.
    `rows` are names, separated by commas, of networks or of network/quantizer. `start` is the folder of another data
    set that was run: what is trained by gradient goes on from its networks.

    Raises UsageError for rows that there are not, FileAccessError and CorruptFileError for a folder that is none.
    """
    chosen = select(rows)
    dataset = Dataset.open(folder)
    trainer = NetworkTrainer(dataset, _models(folder), choose_device(device), report, start and _models(start))
    output.mkdir(parents=True, exist_ok=True)
    _train(trainer, [row.network for row in chosen], minutes)
    originals = _examples(trainer.frames("test")[0])
    results, versions = _measure(trainer, chosen, originals, device, report)
    write_whole(str(output / "results.json"), json.dumps([result.to_dict() for result in results], indent=1).encode())
    tables = study_tables(results, _notes(trainer, results))
    write_whole(str(output / "results.md"), "\n\n".join(table.markdown() for table in tables).encode() + b"\n")
    write_whole(str(output / "ratios.png"), draw_ratios(results))
    shown = [(name, list(versions[name])) for name in STRIP_NETWORKS if name in versions]
    write_whole(str(output / "strip.png"), draw_strip(originals, shown))
    return results


def _models(folder: Path) -> Path:
    return folder / "models"


def _train(trainer: NetworkTrainer, networks: Sequence[Network], minutes: float) -> None:
    """What is computed comes first; what that leaves of the minutes is shared by what is trained."""
    wanted = sorted(needed(list(networks)), key=lambda network: not network.closed_form)
    lacking = [network for network in wanted if not trainer.path(network.name).exists()]
    spent = {network.name: trainer.seconds(network.name) / 60 for network in wanted}
    for index, network in enumerate(lacking):
        left, own = minutes - sum(spent.values()), spent[network.name]
        shares = sum(each.share for each in lacking[index:])
        quota = (left + own) * network.share / shares if shares else 0.0
        trainer.train(network, max(LEAST_MINUTES, quota - own))
        spent[network.name] = trainer.seconds(network.name) / 60


def _measure(
    trainer: NetworkTrainer,
    rows: Sequence[Row],
    originals: Frames,
    device: str,
    report: Callable[[str | TrainingProgress], None],
) -> tuple[list[Result], dict[str, Frames]]:
    """Every row, and what the networks of the strip make of the originals; each network is loaded once."""
    kept = trainer.folder.parent / "rows"
    kept.mkdir(exist_ok=True)
    results: dict[str, Result] = {}
    versions = {}
    with tempfile.TemporaryDirectory() as scratch:
        names = trainer.dataset.names("test")
        clips = TestClips(dict(zip(names, trainer.frames("test"), strict=True)), Path(scratch))
        for network in dict.fromkeys(row.network.name for row in rows):
            model = ModelBenchmark(trainer.path(network), clips, device)
            small = trainer.path(network + COMPACT)
            compact = ModelBenchmark(small, clips, device) if small.exists() else None
            for row in (row for row in rows if row.network.name == network):
                path = kept / f"{row.name.replace('/', '-')}.json"
                result = _kept(path, trainer.dataset.sha256, model)
                if result is None:
                    result = measure_row(row, model, compact)
                    write_whole(str(path), json.dumps(result.to_dict()).encode())
                    report(f"{row.name}: {result.coded.psnr:.2f} dB, SSIM {result.coded.ssim:.4f}")
                results[row.name] = result
            if network in STRIP_NETWORKS:
                versions[network] = model.pictures(originals)
    return [results[row.name] for row in rows], versions


def _kept(path: Path, data: str, model: ModelBenchmark) -> Result | None:
    """The result of a row that was measured before, in the same way, with the same weights and frames."""
    try:
        result = Result.from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = (result.measure, result.model, result.data) == (MEASURE, model.file.sha256.hex(), data)
    return result if same else None


def _notes(trainer: NetworkTrainer, results: Sequence[Result]) -> list[str]:
    """What the reader of the table must know of its making."""
    dataset = trainer.dataset
    counts = ", ".join(f"{dataset.count(role)} {role}" for role in ROLES)
    every = max(each.every for each in dataset.recordings if each.role == "train")
    taken = "every frame" if every == 1 else f"one frame in {every}"
    short = shortfalls(results)
    return [
        f"Frames: {counts}; {taken} of the training recordings, one in {EVERY} of the others, and no frame twice.",
        "Under the study's figures: " + ("; ".join(short) if short else "none"),
    ]


def _examples(clip: Frames) -> Frames:
    step = max(1, len(clip) // STRIP_FRAMES)
    return clip[step // 2 :: step][:STRIP_FRAMES]
