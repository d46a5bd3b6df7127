"""Integer logistic arithmetic: probabilities of 16 bits to log-odds and back, identical on every machine.

Log-odds are integers in units of 1/256, within +-`MAX_LOGIT`. The tables come from integer recurrences, not from a
floating-point exp that differs between C libraries.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.entropy import ONE, Integers

UNIT = 256
"""Log-odds of 1."""
MAX_LOGIT = 2840
"""Just over 256 * ln(65535): the log-odds of the most certain 16-bit probability."""

_FRACTION_BITS = 80


def _exp_of_one_unit() -> int:
    """exp(1 / UNIT) in fixed point, by its series in integers."""
    one = 1 << _FRACTION_BITS
    total, term, k = 0, one, 1
    while term:
        total += term
        term //= UNIT * k
        k += 1
    return total


def _squash_table() -> Integers:
    one, step = 1 << _FRACTION_BITS, _exp_of_one_unit()
    upper, power = [], one
    for _ in range(MAX_LOGIT + 1):
        upper.append(min(ONE - 1, (ONE * power + (one + power) // 2) // (one + power)))
        power = power * step >> _FRACTION_BITS
    return np.array([ONE - p for p in upper[:0:-1]] + upper, np.int64)


_SQUASH = _squash_table()
_NEAREST = np.searchsorted(_SQUASH, np.arange(ONE)) - MAX_LOGIT
STRETCH: NDArray[np.int32] = np.minimum(_NEAREST, MAX_LOGIT).astype(np.int32)
"""Log-odds of every 16-bit probability, int32 [65536]."""


EXP_BITS = 24


def _exp_table() -> Integers:
    one, step = 1 << _FRACTION_BITS, _exp_of_one_unit()
    table, power = [], one << _FRACTION_BITS
    while power >> (2 * _FRACTION_BITS - EXP_BITS):
        table.append(power >> (2 * _FRACTION_BITS - EXP_BITS))
        power = power * one // step
    return np.array([*table, 0], np.int64)


_EXP = _exp_table()


def exp(logits: Integers) -> Integers:
    """2^EXP_BITS * e^(logit / UNIT), rounded down, of log-weights up to 0; int64 in 0 .. 2^EXP_BITS."""
    return _EXP.take(-logits, mode="clip")


def squash(logits: Integers) -> Integers:
    """Probability (1 .. 65535, of 65536) of log-odds, any integers; beyond +-MAX_LOGIT they saturate."""
    return _SQUASH.take(logits + MAX_LOGIT, mode="clip")
