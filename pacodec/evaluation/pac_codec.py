"""pacodec itself, through its public API: bytes are those of a whole .pac file."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pacodec
from pacodec.common.media import Image
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Encoded
from pacodec.models import library as models


@dataclass(frozen=True)
class PacCodec:
    """`pacodec.encode` with these options; `model` None lets the footage decide."""

    model: str | None
    quality: int | None
    quantizer: str | None = None
    device: str = "auto"

    def encode(self, clip: Clip) -> Encoded:
        """One packet, the file; `quality` None is lossless."""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "clip.pac")
            report = pacodec.encode(
                str(clip.video),
                str(target),
                model=self.model,
                quality=self.quality,
                lossless=self.quality is None,
                quantizer=self.quantizer,
                device=self.device,
                jobs=1,
            )
            used = self.model or report.model
            notes = {
                "codec": " + ".join(filter(None, (report.transform, report.quantizer, *report.coders))),
                "model": report.model,
                "model_bytes": len(models.find(used).data) if used else 0,
                "gops": report.gops,
            }
            return Encoded([target.read_bytes()], notes)

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The decoded frames."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "clip.pac")
            source.write_bytes(packets[0])
            with pacodec.open(source, model=self.model, device=self.device) as video:
                for batch in video.batches():
                    yield from batch

    def identity(self) -> str:
        """The code, and the model or, where the footage decides, all that are installed."""
        return _code() + (_installed() if self.model is None else models.find(self.model).sha256.hex())


@cache
def _code() -> str:
    """A hash of the package's sources but for what only asks and reports."""
    root = Path(pacodec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in ("cli", "evaluation"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _installed() -> str:
    digest = hashlib.sha256()
    for path in models.paths():
        digest.update(path.read_bytes())
    return digest.hexdigest()
