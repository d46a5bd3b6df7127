"""Results by the hash of everything that decides them, so that a comparison can be interrupted and added to."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacodec.common.files import replacing
from pacodec.errors import FileAccessError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Codec

REVISION = 1
"""To be raised when what is measured, or how, changes."""


def default_folder() -> Path:
    """The XDG cache folder's pacodec/eval."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pacodec" / "eval"


def describe(codec: Codec) -> dict[str, Any]:
    """A codec as JSON holds it; its class and its settings."""
    return {"kind": type(codec).__name__, "settings": asdict(codec)}  # type: ignore[call-overload]


def key_of(clip: Clip, codec: Codec) -> str:
    """The hash of frames, settings and versions."""
    return hashed([REVISION, clip.sha256, describe(codec), codec.identity()])


def hashed(values: object) -> str:
    """The sha256 of JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class Cache:
    """JSON objects, and the coded packets beside them, in a folder."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder; FileAccessError where that fails."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileAccessError(f"{folder}: {error.strerror}") from error
        self.folder = folder

    def packets(self, key: str) -> Path:
        """Where the packets of a result are."""
        return self.folder / f"{key}.packets"

    def get(self, key: str) -> dict[str, Any] | None:
        """The result of that name, None where there is none that can be read."""
        try:
            found = json.loads(self._path(key).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result."""
        with replacing(str(self._path(key))) as part:
            part.write_text(json.dumps(dict(result)))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"
