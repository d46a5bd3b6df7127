"""Exact integer probabilities to bytes and back: a thin layer above constriction's range coder.

A model asks for decisions through one interface, `SymbolCoder`, so that encoder and decoder run the same modelling
code: the encoder passes what it knows (`truth`), the decoder passes None, and both get the symbols back.

Why this is exact. constriction (pinned in pyproject.toml; `perfect=False`) turns a table of floats into 24-bit fixed
point as `floor(cumulative * scale) + i` with `scale = (2^24 - n) / total`. Frequencies here are integers whose total is
a power of two of at most 2^24, so `scale` has at most 24 significant bits, a product at most 48, and float64 rounds
nothing. A decision's probability is k / 2^16, which is such a table with total 1. The decoder's search skips ahead with
a bound that is only ever too careful and then repeats the same products.
"""

from typing import Any, NoReturn, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from pacodec.errors import CorruptFileError

PROBABILITY_BITS = 16
ONE = 1 << PROBABILITY_BITS
"""Probability 1; a decision's probability is an integer in 1 .. ONE - 1."""

_WORD = np.dtype("<u4")
_MAX_TOTAL = 1 << 24

Bits = NDArray[np.bool_]
Symbols = NDArray[np.int32]
Integers = NDArray[np.int64]


class SymbolCoder(Protocol):
    """One side of the range coder. Both sides must be asked the same questions in the same order."""

    def bits(self, ones: Integers, truth: Bits | None) -> Bits:
        """Code n decisions, bool [n], where `ones` [n] is each decision's probability of True times `ONE`."""

    def symbols(self, frequencies: Integers, count: int, truth: Symbols | None) -> Symbols:
        """Code `count` symbols, int32 [count], of one table of integer frequencies [m >= 2], all positive, whose total
        is a power of two of at most 2^24.
        """

    def choices(self, frequencies: Integers, truth: Symbols | None) -> Symbols:
        """Code n symbols, int32 [n], each of a table of its own, [n, m >= 2], under the conditions of `symbols`."""


class RangeEncoder:
    """The encoding side: `truth` is required everywhere."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self._decision = constriction.stream.model.Bernoulli(perfect=False)
        self._choice = constriction.stream.model.Categorical(perfect=False)

    def bits(self, ones: Integers, truth: Bits | None) -> Bits:
        """See `SymbolCoder.bits`."""
        assert truth is not None
        if len(truth):
            self._coder.encode(truth.astype(np.int32), self._decision, ones / ONE)
        return truth

    def symbols(self, frequencies: Integers, count: int, truth: Symbols | None) -> Symbols:
        """See `SymbolCoder.symbols`."""
        assert truth is not None
        assert len(truth) == count
        if count:
            self._coder.encode(truth, _table(frequencies))
        return truth

    def choices(self, frequencies: Integers, truth: Symbols | None) -> Symbols:
        """See `SymbolCoder.choices`."""
        assert truth is not None
        if len(truth):
            self._coder.encode(truth, self._choice, _checked(frequencies))
        return truth

    @property
    def bits_written(self) -> int:
        """Bits that everything coded so far takes."""
        return int(self._coder.num_bits())

    def finish(self) -> bytes:
        """Everything coded so far, as little-endian 32-bit words."""
        return bytes(self._coder.get_compressed().astype(_WORD).tobytes())


class RangeDecoder:
    """The decoding side of untrusted bytes: damage ends in wrong symbols or in CorruptFileError, nothing else."""

    def __init__(self, data: bytes) -> None:
        """Raise CorruptFileError where `data` is no whole number of words."""
        if len(data) % _WORD.itemsize:
            raise CorruptFileError(f"entropy-coded data has {len(data)} bytes, not a multiple of {_WORD.itemsize}")
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, _WORD).astype(np.uint32))
        self._decision = constriction.stream.model.Bernoulli(perfect=False)
        self._choice = constriction.stream.model.Categorical(perfect=False)

    def bits(self, ones: Integers, truth: Bits | None = None) -> Bits:
        """See `SymbolCoder.bits`; `truth` is ignored."""
        return self._decode(self._decision, ones / ONE).astype(np.bool_) if len(ones) else np.zeros(0, np.bool_)

    def symbols(self, frequencies: Integers, count: int, truth: Symbols | None = None) -> Symbols:
        """See `SymbolCoder.symbols`; `truth` is ignored."""
        return self._decode(_table(frequencies), count) if count else np.zeros(0, np.int32)

    def choices(self, frequencies: Integers, truth: Symbols | None = None) -> Symbols:
        """See `SymbolCoder.choices`; `truth` is ignored."""
        return self._decode(self._choice, _checked(frequencies)) if len(frequencies) else np.zeros(0, np.int32)

    def finish(self) -> None:
        """Raise CorruptFileError where data is left that nothing asked for."""
        if not self._coder.maybe_exhausted():
            raise CorruptFileError("entropy-coded data goes on after its last symbol")

    def _decode(self, model: Any, parameters: Any) -> Symbols:
        try:
            decoded: Symbols = self._coder.decode(model, parameters)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:
            # constriction answers impossible data with AssertionError; a Rust panic would derive from BaseException.
            _refuse(error)
        return decoded


def normalize(counts: Integers, total_bits: int) -> Integers:
    """Positive integer frequencies [..., m] with total 2^total_bits (at most 24), close to `counts` [..., m]
    (non-negative, each table's total between 1 and 2^38). Integer arithmetic only; what rounding leaves over goes to
    the most frequent symbol.
    """
    spare = (1 << total_bits) - counts.shape[-1]
    assert spare >= 0
    frequencies: Integers = counts * spare // counts.sum(-1, keepdims=True) + 1
    left = (1 << total_bits) - frequencies.sum(-1, keepdims=True)
    most = frequencies.argmax(-1)[..., None]
    np.put_along_axis(frequencies, most, np.take_along_axis(frequencies, most, -1) + left, -1)
    return frequencies


def _table(frequencies: Integers) -> Any:
    return constriction.stream.model.Categorical(_checked(frequencies), perfect=False)


def _checked(frequencies: Integers) -> NDArray[np.float64]:
    totals = frequencies.sum(-1)
    assert not (totals & (totals - 1)).any()
    assert totals.min() > 0
    assert totals.max() <= _MAX_TOTAL
    return frequencies.astype(np.float64)


def _refuse(error: BaseException) -> NoReturn:
    raise CorruptFileError(f"entropy-coded data is invalid: {error}") from error
