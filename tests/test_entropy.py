import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec.entropy import ONE, RangeDecoder, RangeEncoder, normalize
from pacodec.errors import CorruptFileError

TABLE = normalize(np.array([5, 0, 1, 1000, 7], np.int64), 16)


def questions(seed, n):
    rng = np.random.default_rng(seed)
    return rng.integers(1, ONE, n), rng.integers(0, 2, n).astype(bool), rng.integers(0, len(TABLE), n).astype(np.int32)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(0, 50), max_size=8))
def test_decisions_and_symbols_come_back_in_order(seed, sizes):
    encoder = RangeEncoder()
    for k, n in enumerate(sizes):
        ones, bits, symbols = questions(seed + k, n)
        encoder.bits(ones, bits)
        encoder.symbols(TABLE, n, symbols)
    decoder = RangeDecoder(encoder.finish())
    for k, n in enumerate(sizes):
        ones, bits, symbols = questions(seed + k, n)
        np.testing.assert_array_equal(decoder.bits(ones), bits)
        np.testing.assert_array_equal(decoder.symbols(TABLE, n), symbols)
    decoder.finish()


def test_how_decisions_are_batched_does_not_change_the_bytes():
    ones, bits, _ = questions(1, 1000)
    together, apart = RangeEncoder(), RangeEncoder()
    together.bits(ones, bits)
    for at in range(0, 1000, 7):
        apart.bits(ones[at : at + 7], bits[at : at + 7])
    assert together.finish() == apart.finish()


def test_size_is_the_information_content():
    rng = np.random.default_rng(3)
    ones = rng.integers(1, ONE, 50_000)
    bits = rng.integers(0, ONE, 50_000) < ones
    information = -np.log2(np.where(bits, ones, ONE - ones) / ONE).sum() / 8
    encoder = RangeEncoder()
    encoder.bits(ones, bits)
    assert len(encoder.finish()) == pytest.approx(information, rel=0.002)


def test_golden_bytes():
    ones, bits, symbols = questions(7, 3000)
    encoder = RangeEncoder()
    encoder.bits(ones, bits)
    encoder.symbols(TABLE, 3000, symbols)
    assert (
        hashlib.sha256(encoder.finish()).hexdigest()
        == "2572601dd51a23e2597356c0e4ca5a10d8e94ca67bf1afbe2b4038413a270059"
    )


@given(counts=st.lists(st.integers(0, 1 << 29), min_size=2, max_size=300).filter(any), bits=st.integers(9, 24))
def test_normalized_tables_are_positive_and_have_the_total(counts, bits):
    frequencies = normalize(np.array(counts, np.int64), bits)
    assert frequencies.sum() == 1 << bits
    assert frequencies.min() >= 1


def test_normalize_keeps_the_proportions():
    frequencies = normalize(np.array([1, 2, 5], np.int64), 20)
    np.testing.assert_allclose(frequencies / frequencies.sum(), [1 / 8, 2 / 8, 5 / 8], atol=1e-5)


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=64))
def test_hostile_bytes_end_in_an_error_or_in_symbols(data):
    try:
        decoder = RangeDecoder(data)
        for _ in range(20):
            assert decoder.bits(np.full(40, ONE // 3)).shape == (40,)
            symbols = decoder.symbols(TABLE, 40)
            assert symbols.shape == (40,)
            assert 0 <= symbols.min() <= symbols.max() < len(TABLE)
        decoder.finish()
    except CorruptFileError:
        pass


def test_words_that_no_encoder_writes_are_refused():
    with pytest.raises(CorruptFileError, match="invalid"):
        RangeDecoder(b"\xff" * 20).bits(np.full(500, 1))


def test_a_broken_word_is_refused():
    with pytest.raises(CorruptFileError, match="multiple of 4"):
        RangeDecoder(b"12345")


def test_data_left_over_is_refused():
    encoder = RangeEncoder()
    encoder.bits(np.full(1000, ONE // 2), np.arange(1000) % 3 == 0)
    decoder = RangeDecoder(encoder.finish())
    decoder.bits(np.full(10, ONE // 2))
    with pytest.raises(CorruptFileError, match="goes on"):
        decoder.finish()
