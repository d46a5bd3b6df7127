"""Makes the test vectors anew, all of them or those whose names match patterns, and writes manifest.json.

    python tests/vectors/make.py
    python tests/vectors/make.py 'valid/learned*' 'models/screens'

A file that is made anew no longer shows that old files still decode: do so only when the format has changed, or for
new vectors. Nothing is written down that the independent reader sees differently.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import zstandard
from vectors.making import faulty, golden, uncommon, valid
from vectors.making.models import MODELS
from vectors.making.vectors import FOLDER, MANIFEST, PIXELS, independently, installed_models, pixels_path
from vectors.making.workshop import Recipe, Workshop

GOOD: Mapping[str, Mapping[str, Recipe]] = {"valid": valid.RECIPES, "uncommon": uncommon.RECIPES}


def main(patterns: list[str]) -> None:
    """Make what matches, and what is not there yet."""
    old = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    paths = _paths()
    wanted = {path for path in paths if not patterns or any(fnmatch(path, pattern) for pattern in patterns)}
    wanted |= {path for path in paths if f"{path}.pac" not in old and not path.startswith("models/")}
    manifest = {f"{path}.pac": old.get(f"{path}.pac") for path in paths if not path.startswith("models/")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, make in MODELS.items():
            if f"models/{model}" in wanted:
                _write(f"models/{model}.pacmodel.zst", zstandard.ZstdCompressor(level=19).compress(make()))
        with installed_models(folder / "models"):
            shop = Workshop(folder)
            try:
                for path in paths:
                    kind, _, vector = path.partition("/")
                    if kind in GOOD and path in wanted:
                        manifest[f"{path}.pac"] = _good(path, GOOD[kind][vector], shop)
                    elif kind == "faulty":
                        fault = faulty.FAULTS[vector]
                        manifest[f"{path}.pac"] = fault.expected
                        if path in wanted:
                            _write(f"{path}.pac", fault.make())
            finally:
                made = {path: entry for path, entry in manifest.items() if entry}
                MANIFEST.write_text(json.dumps(made, indent=1) + "\n")
    _remove_others(manifest)
    if None in manifest.values():
        raise SystemExit("the manifest lacks what the readers disagree about")


def _paths() -> list[str]:
    good = [f"{kind}/{vector}" for kind, recipes in GOOD.items() for vector in recipes]
    return [*(f"models/{name}" for name in MODELS), *good, *(f"faulty/{name}" for name in faulty.FAULTS)]


def _good(path: str, recipe: Recipe, shop: Workshop) -> dict[str, Any] | None:
    """Make a file that decodes; what is to be remembered of it, None where the two readers disagree."""
    file = FOLDER / f"{path}.pac"
    _write(f"{path}.pac", recipe.make(shop))
    facts = golden.symbols(file)
    video = independently(file)
    if golden.symbols_of(video) != facts or bool(video.damage) != recipe.damaged:
        print(f"{path}: THE INDEPENDENT READER READS SOMETHING ELSE {video.damage}")
        return None
    pictures = golden.pictures(file)
    if golden.is_exact(file):
        facts["pixels_sha256"] = golden.digest(pictures.tobytes())
    else:
        packed = zstandard.ZstdCompressor(level=19).compress(np.ascontiguousarray(pictures).tobytes())
        _write(str(pixels_path(f"{path}.pac").relative_to(FOLDER)), packed)
    return {"about": recipe.about, "damaged": recipe.damaged, **facts}


def _write(path: str, data: bytes) -> None:
    target = FOLDER / path
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    print(f"{path}: {len(data)} bytes")


def _remove_others(manifest: Mapping[str, Any]) -> None:
    """Delete files that no recipe makes any longer."""
    kept = {FOLDER / path for path in manifest} | {pixels_path(path) for path in manifest}
    kept |= {FOLDER / f"models/{model}.pacmodel.zst" for model in MODELS}
    for kind in (*GOOD, "faulty", "models", PIXELS.name):
        for path in (FOLDER / kind).glob("*"):
            if path not in kept:
                path.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
