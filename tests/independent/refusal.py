"""Why a reader does not go on; no more is told than the kind and one line."""


class Refused(Exception):
    """A file, or a part of it, that a reader must not use."""


class Corrupt(Refused):
    """Damaged, cut short, or against a rule of the format."""


class Unsupported(Refused):
    """Of a later version, or in need of something unknown."""


class OverLimit(Refused):
    """A declared size beyond the bounds of the section Limits."""


def expect(condition: bool, message: str) -> None:
    """Raise `Corrupt` unless the condition holds."""
    if not condition:
        raise Corrupt(message)


def bounded(name: str, value: int, most: int, least: int = 0) -> int:
    """The value, if it lies in least .. most; `OverLimit` otherwise."""
    if not least <= value <= most:
        raise OverLimit(f"{name} is {value}, allowed are {least} to {most}")
    return value
