"""Fuzz one target: `python tests/fuzz/fuzz.py TARGET [libFuzzer options] CORPUS ...`; needs atheris."""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

with atheris.instrument_imports(include=["pacodec"], enable_loader_override=False):
    import mutators
    import targets

    from pacodec import models


def main() -> None:
    """Run until an option or a finding ends it."""
    target = sys.argv.pop(1)
    options = {}
    if target in ("container", "decode", "arrays"):
        options = {"custom_mutator": _mutator(mutators.mutate_pac)}
    elif target == "model":
        options = {"custom_mutator": _mutator(mutators.mutate_model)}
    models.find_by_hash = targets.only_embedded
    atheris.Setup(sys.argv, targets.TARGETS[target], **options)
    atheris.Fuzz()


def _mutator(structured):  # type: ignore[no-untyped-def]
    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return structured(bytes(data), most, seed, lambda piece, room: bytes(atheris.Mutate(piece, max(room, 1))))

    return mutate


if __name__ == "__main__":
    main()
