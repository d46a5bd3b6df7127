"""Sections "Hashes" and "Log-odds": functions of integers that all predictors share."""

from collections.abc import Sequence
from functools import cache

MASK = (1 << 64) - 1
MAX_LOG_ODDS = 2840


@cache
def salt(k: int) -> int:
    """The k-th of a sequence of odd numbers."""
    return ((k + 1) * 0x9E3779B97F4A7C15 & MASK) | 1


def scramble(x: int) -> int:
    """A hash of an unsigned integer of 64 bits."""
    x ^= x >> 31
    x = x * 0xD1B54A32D192ED03 & MASK
    return x ^ (x >> 29)


def salted(contexts: Sequence[int]) -> list[int]:
    """Hashes of contexts, each by its number."""
    return [scramble(c * salt(i) & MASK) for i, c in enumerate(contexts)]


def mixed(u: Sequence[int], n: int, more: int) -> int:
    """A hash of the first n surroundings and one thing more: "around" of the format."""
    return scramble((sum(u[k] * salt(k) for k in range(n)) + more) & MASK)


def _base(one: int) -> int:
    """e^(1/256) in units of 1 / one."""
    total, term, k = 0, one, 1
    while term:
        total, term, k = total + term, term // (256 * k), k + 1
    return total


def _squash_table() -> dict[int, int]:
    one, power = 1 << 80, 1 << 80
    base, table = _base(one), {}
    for x in range(MAX_LOG_ODDS + 1):
        table[x] = min(65535, (65536 * power + (one + power) // 2) // (one + power))
        table[-x] = 65536 - table[x] if x else table[x]
        power = power * base >> 80
    return table


def _stretch_table(squashed: dict[int, int]) -> list[int]:
    table, x = [], -MAX_LOG_ODDS
    for p in range(65536):
        while x < MAX_LOG_ODDS and squashed[x] < p:
            x += 1
        table.append(x)
    return table


def _exp_table() -> list[int]:
    base, table, fall = _base(1 << 80), [], 1 << 160
    while fall >> 136:
        table.append(fall >> 136)
        fall = (fall << 80) // base
    return table


_SQUASH = _squash_table()
_STRETCH = _stretch_table(_SQUASH)
_EXP = _exp_table()


def squash(x: int) -> int:
    """The probability, in units of 1/65536, of log-odds in units of 1/256."""
    return _SQUASH[max(-MAX_LOG_ODDS, min(MAX_LOG_ODDS, x))]


def stretch(p: int) -> int:
    """The log-odds of a probability of 0 to 65535."""
    return _STRETCH[p]


def exp(x: int) -> int:
    """2^24 e^(x / 256), about, for x <= 0."""
    return _EXP[-x] if -x < len(_EXP) else 0
