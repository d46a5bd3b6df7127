"""Training the networks of the table: each from the place that is known to be good, within its share of the minutes."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pacodec.autoencoders.autoencoder import Autoencoder
from pacodec.autoencoders.blocks import COLUMNS, ROWS, BlockAutoencoder, PrincipalComponents
from pacodec.autoencoders.components import Components, principal_components
from pacodec.autoencoders.learned_quantization import LearnedQuantization
from pacodec.autoencoders.neural import load_autoencoder
from pacodec.autoencoders.registry import build
from pacodec.autoencoders.vae import VariationalAutoencoder
from pacodec.common.files import replacing, write_whole
from pacodec.errors import CorruptFileError
from pacodec.models.files import SUFFIX, ModelFile, ModelInfo, dump, dump_arrays
from pacodec.study.dataset import HEIGHT, WIDTH, Dataset
from pacodec.study.networks import NETWORKS, Network
from pacodec.training.autoencoder import Dump, package
from pacodec.training.fit import INITIAL_FRAMES, Frames, fit_in_phases, measure_psnr, to_images
from pacodec.training.loop import TrainingPlan, shorten
from pacodec.training.request import CHECKPOINT_SUFFIX, TrainingProgress

COMPACT = "-compact"
MOST_COMPONENTS = 1000
VALIDATION_FRAMES = 64
CPU = torch.device("cpu")


class TrainingLog:
    """The seconds spent on a network, and the scores on the way.

    A journal that cannot be read counts as none: a run then takes longer than it should, and nothing else is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._earlier, self._began = 0.0, monotonic()
        self.reached: list[tuple[int, int, float]] = []
        """(step, steps, score in dB) of each validation, of all phases."""
        try:
            kept = json.loads(path.read_text())
            self._earlier = float(kept["seconds"])
            self.reached = [(int(step), int(steps), float(score)) for step, steps, score in kept["reached"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass

    @property
    def earlier(self) -> float:
        """Seconds that were spent before this process."""
        return self._earlier

    @property
    def seconds(self) -> float:
        """Seconds spent, those of this process included."""
        return self._earlier + monotonic() - self._began

    def note(self, progress: TrainingProgress) -> None:
        """Add the result of a validation."""
        self.reached = [*self.reached, (progress.step, progress.steps, progress.score)]
        self.save()

    def save(self) -> None:
        """Write the log to its file."""
        write_whole(str(self.path), json.dumps({"seconds": self.seconds, "reached": self.reached}).encode())

    def late_gain(self) -> float | None:
        """What the last third of the last phase gained, in dB; None where too little of it was seen."""
        starts = [n for n, (step, *_) in enumerate(self.reached) if n == 0 or step < self.reached[n - 1][0]]
        last = self.reached[starts[-1] :] if starts else []
        early = [score for step, steps, score in last if step <= steps * 2 / 3]
        return max(score for *_, score in last) - max(early) if early else None

    def remove(self) -> None:
        """The network is done: its model file says what is worth keeping."""
        self.path.unlink(missing_ok=True)


class NetworkTrainer:
    """The folder of models, and the data set that they are trained on."""

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        device: torch.device,
        report: Callable[[str | TrainingProgress], None],
        start: Path | None = None,
    ) -> None:
        """`start` is a folder of models of other footage, from which training by gradient goes on."""
        self.dataset, self.folder, self.device, self.report = dataset, folder, device, report
        self._elsewhere = start
        folder.mkdir(parents=True, exist_ok=True)
        self._frames: dict[str, list[Frames]] = {}

    def path(self, name: str) -> Path:
        """Where a network's model file is, or will be."""
        return self.folder / f"{name}{SUFFIX}"

    def seconds(self, name: str) -> float:
        """Seconds spent on a network so far, whether it is done or not."""
        if self.path(name).exists():
            return float(ModelFile.read(self.path(name)).info.training.get("seconds", 0))
        return self._log(name).earlier

    def frames(self, role: str) -> list[Frames]:
        """The frames of a role, read once."""
        if role not in self._frames:
            self._frames[role] = self.dataset.frames(role)
        return self._frames[role]

    def components(self) -> Components:
        """The principal components of the training frames, computed once for all networks."""
        path = self.folder / "components.safetensors"
        if path.exists():
            try:
                return Components(**load_file(path))
            except (SafetensorError, TypeError) as error:
                raise CorruptFileError(f"{path}: not the components of a data set; remove it") from error
        self.report("principal components of each block of the training frames")
        found = principal_components(_blocks(self.frames("train")), MOST_COMPONENTS)
        with replacing(str(path)) as part:
            save_file(vars(found), part)
        return found

    def train(self, network: Network, minutes: float) -> None:
        """Make the network's model file, and that of its compact form; a checkpoint holds what is half done.

        `minutes` are those from now on; a network that is half done takes fewer steps than planned to end in them.
        """
        journal = self._log(network.name)
        torch.manual_seed(0)
        earlier = self._earlier(network)
        model = build(network.arch, network.hyperparameters, folded=earlier is not None)
        self.report(f"{network.name}: {'computing' if network.closed_form else f'training for {minutes:.1f} minutes'}")
        steps = 0
        if network.closed_form:
            self._compute(model)
        else:
            steps = self._fit(model, network, earlier, minutes, journal)
        late_gain = journal.late_gain()
        with torch.inference_mode():
            exact = float(measure_psnr(model.cpu(), self.frames("test"), CPU).mean())
        training = {
            "frames": self.dataset.count("train"),
            "data": self.dataset.sha256,
            "steps": steps,
            "batch": network.batch,
            "seconds": round(journal.seconds),
            "psnr_float32": round(exact, 3),
        } | ({} if late_gain is None else {"late_gain": round(late_gain, 3)})
        if network.compact is not None:
            self._store(self._compact(network, model), network.arch, network.name + COMPACT, training, dump)
        self._store(model, network.arch, network.name, training, dump_half)
        self._checkpoint(network.name).unlink(missing_ok=True)  # not before: what was trained is in the file
        journal.remove()

    def _fit(
        self, model: Autoencoder, network: Network, earlier: Path | None, minutes: float, journal: TrainingLog
    ) -> int:
        """Train by gradient; the steps taken."""
        validation = self.frames("validation") or self.frames("train")
        stride = max(1, sum(map(len, validation)) // VALIDATION_FRAMES)
        plan = TrainingPlan(1, arch=network.name, batch=network.batch, footage=int(self.dataset.sha256[:12], 16))

        def follow(progress: str | TrainingProgress) -> None:
            if isinstance(progress, TrainingProgress):
                journal.note(progress)
            self.report(progress)

        checkpoint = self._checkpoint(network.name)
        if checkpoint.exists():
            shorten(checkpoint, minutes * 60)
        try:
            return fit_in_phases(
                model,
                self.frames("train"),
                [clip[::stride] for clip in validation],
                plan,
                device=self.device,
                minutes=minutes,
                checkpoint=checkpoint,
                report=follow,
                start=lambda images: _start(model, earlier, images),
            )
        except KeyboardInterrupt:
            journal.save()
            raise

    def _compute(self, model: Autoencoder) -> None:
        """Components of all training frames; levels, where the network has its own, that suit a sample of them."""
        if isinstance(model, LearnedQuantization):
            _begin(model.inner, self.components())
            clips = self.frames("train")
            step = max(1, sum(map(len, clips)) // INITIAL_FRAMES)
            model.initialise(to_images(np.concatenate([clip[::step] for clip in clips]), CPU))
        else:
            _begin(model, self.components())

    def _earlier(self, network: Network) -> Path | None:
        """The model file that a network goes on from, if there is one."""
        if network.base is not None:
            return self.path(network.base)
        path = self._elsewhere and self._elsewhere / self.path(network.name).name
        return path if path and path.exists() else None

    def _checkpoint(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}{CHECKPOINT_SUFFIX}"

    def _log(self, name: str) -> TrainingLog:
        return TrainingLog(self.folder / f"{name}.json")

    def _compact(self, network: Network, model: Autoencoder) -> Autoencoder:
        small = build(network.arch, network.compact or {}, folded=model.folded)
        if isinstance(small, VariationalAutoencoder) and isinstance(model, VariationalAutoencoder):
            small.take_over(model)
        else:
            _begin(small, self.components())
        return small

    def _store(self, model: Autoencoder, arch: str, name: str, training: dict[str, object], write: Dump) -> None:
        data, quality = package(model.eval(), arch, training, self.frames("test"), write)
        with replacing(str(self.path(name))) as part:
            part.write_bytes(data)
        self.report(f"{name}: {len(data) / 1e6:.1f} MB, {quality['psnr']:.2f} dB on the test frames")


def dump_half(weights: Mapping[str, NDArray[np.float32]], info: ModelInfo) -> bytes:
    """The bytes of a model file in half precision, but biases, which span orders of magnitude, in single.

    8 bits a weight cost a full-rank decoder 2.4 dB (vanilla-500): a row of it has codes of very different weight.
    """
    biases = {name for name, values in weights.items() if values.ndim == 3 and values.shape[1] == 1}
    return dump_arrays(
        {name: values if name in biases else values.astype(np.float16) for name, values in weights.items()},
        info,
    )


def _start(model: Autoencoder, earlier: Path | None, images: Tensor) -> None:
    if earlier is None:
        model.initialise(images)
        return
    weights = load_autoencoder(ModelFile.read(earlier)).state_dict()
    if isinstance(model, LearnedQuantization):
        model.inner.load_state_dict(weights)
        model.initialise(images)
    else:
        model.load_state_dict(weights)


def _begin(model: Autoencoder, components: Components) -> None:
    assert isinstance(model, BlockAutoencoder | PrincipalComponents)
    model.begin(components)


def _blocks(clips: list[Frames]) -> Iterator[Tensor]:
    """The training samples of each block, float [N, D]."""
    height, width = HEIGHT // ROWS, WIDTH // COLUMNS
    for top in range(0, HEIGHT, height):
        for left in range(0, WIDTH, width):
            block = np.concatenate([clip[:, top : top + height, left : left + width] for clip in clips])
            yield to_images(block, CPU).flatten(1)


def needed(networks: list[Network]) -> list[Network]:
    """The networks, each after the one that it goes on from."""
    wanted = {each for network in networks for each in (network.base, network.name) if each is not None}
    return [network for name, network in NETWORKS.items() if name in wanted]
