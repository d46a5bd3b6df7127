"""FORMAT.md says what the code does, as far as figures and names tell."""

import re
from pathlib import Path

import numpy as np
import pytest

import pacodec
from pacodec.coders import COLOUR_TRANSFORMS
from pacodec.predictors import PREDICTORS, nominal, squeezed
from pacodec.predictors.hashing import salts, scramble
from pacodec.predictors.logistic import MAX_LOGIT, STRETCH, squash
from pacodec.quantizers import QUANTIZERS
from pacodec.transforms.postfilter import MAX_BLOCKS, MAX_WIDTH, NUMBERS, Shape
from pacodec.transforms.registry import ARCHITECTURES

TEXT = (Path(pacodec.__file__).parent / "FORMAT.md").read_text()


def quoted(pattern):
    (value,) = re.findall(pattern, TEXT)
    return value


def test_check_values():
    assert int(quoted(r"scramble\(salt\(0\)\) = ([0-9A-F]{16}) "), 16) == int(scramble(salts(1))[0])
    assert int(quoted(r"squash\(256\) = (\d+)")) == squash(np.array([256]))[0]
    assert int(quoted(r"stretch\(60000\) = (-?\d+)")) == STRETCH[60000]
    assert f"from -{MAX_LOGIT} to {MAX_LOGIT}" in TEXT


def test_the_tables_of_probabilities_are_as_described():
    """Built from the text: a sum of terms, powers of it, and the least log-odds that reach a probability."""
    one = 1 << 80
    base, term, k = 0, one, 1
    while term:
        base, term, k = base + term, term // (256 * k), k + 1
    table, power = {}, one
    for x in range(MAX_LOGIT + 1):
        table[x] = min(65535, (65536 * power + (one + power) // 2) // (one + power))
        table[-x] = table[x] if x == 0 else 65536 - table[x]
        power = power * base >> 80
    logits = np.arange(-MAX_LOGIT, MAX_LOGIT + 1)
    values = np.array([table[int(x)] for x in logits])
    assert np.array_equal(squash(logits), values)
    for p in (0, 1, 2, 17, 1000, 32767, 32768, 32769, 65000, 65534, 65535):
        reached = logits[values >= p]
        assert STRETCH[p] == (reached[0] if len(reached) else MAX_LOGIT)


@pytest.mark.parametrize("name", [*PREDICTORS, *QUANTIZERS, *ARCHITECTURES, *COLOUR_TRANSFORMS])
def test_every_name_is_described(name):
    family, _, codes = name.partition("-")
    assert f"`{name}`" in TEXT or (codes and f"`{family}-N`" in TEXT)


def test_contexts_are_those_of_the_tables():
    rows = re.findall(r"^\| (\d) \| ([\d, to]+) \|$", TEXT, re.M)
    described = [features(text) for _, text in rows]
    assert described == [set(context) for context in nominal._CONTEXTS]
    spelling = quoted(r"Spelling contexts\*, 12;[^:]*added: ([^.]*)\.")
    listed = [features(part.partition(":")[2]) for part in spelling.split(";")]
    assert listed == [set(context) for context in nominal._SPELLING_CONTEXTS]
    assert squeezed._SIZE.size == 4


def test_the_shape_of_a_post_filter_is_as_described():
    assert f"| `postfilter` | array of 2 ints: 1 to {MAX_WIDTH}, 0 to {MAX_BLOCKS} |" in TEXT
    assert f"| I8 [F, {9 * NUMBERS}], I32 [F], I8 [F] | layer `first`" in TEXT
    assert f"| I8 [{NUMBERS}, 9 F], I32 [{NUMBERS}], I8 [{NUMBERS}] | layer `last`" in TEXT
    least, per_block = quoted(r"at most\s+(\d+) \+ (\d+) B rows and columns from it")
    assert all(Shape(1, blocks).reach == int(least) + int(per_block) * blocks for blocks in range(MAX_BLOCKS + 1))


def features(text):
    """The numbers of "0 to 3, 12"."""
    if "none" in text:
        return set()
    found = set()
    for part in text.split(","):
        first, _, last = part.partition(" to ")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_nothing_is_left_to_be_written():
    assert "To be written" not in TEXT
    assert "TODO" not in TEXT
