"""Decisions of the engine as FORMAT.md describes them: arithmetic decoder, counters, mixing and learning."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

START = Path(__file__).parents[2] / "pacodec" / "engine" / "start.zst"
START_SHA256 = "8b49ea08c17da1517ada0fd5f7f3a5786ab96735b6983f570bc318f5200bbb49"

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
COMMON_BITS = 16
STRETCH_MOST, SQUASH_REACH, STEPS, WEIGHT_MOST = 2816, 3072, 45, 1 << 19

BLOCK, COPY, SAME, QUIET, HIT, SPELL, SHADE, KEPT, LEVEL = range(9)
SHAPES = (
    (11, 128, 16, 32),
    (4, 19, 5, 19),
    (16, 208, 32, 78),
    (8, 320, 16, 84),
    (14, 480, 10, 288),
    (9, 265, 8, 264),
    (9, 265, 8, 264),
    (10, 64, 4, 64),
    (12, 528, 8, 520),
)
"""Contexts, mixers, finals and corrections of each stage."""

SIGMOID = (
    *(1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 47, 60, 77, 98, 126),
    *(162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446, 3108, 3938, 4971, 6249),
    *(7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693, 32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834),
    *(57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097, 65194, 65269, 65328),
    *(65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514, 65519, 65523, 65526, 65528, 65530, 65531, 65532),
    *(65533, 65534, 65534, 65535, 65535, 65535, 65535, 65535, 65535),
)


def clamp(value: int, least: int, most: int) -> int:
    return max(least, min(most, value))


def _squash_table() -> list[int]:
    table = []
    for x in range(2 * SQUASH_REACH):
        i, f = divmod(x, 64)
        table.append((SIGMOID[i] * (64 - f) + SIGMOID[i + 1] * f + 32) >> 6)
    return table


SQUASH = _squash_table()


def squash(x: int) -> int:
    return SQUASH[clamp(x, -SQUASH_REACH, SQUASH_REACH - 1) + SQUASH_REACH]


def _inverse_table() -> list[int]:
    """The least number in range whose squash is at least p, or the largest, for p from 0 to 65535."""
    table, x = [], -STRETCH_MOST
    for p in range(65536):
        while x < STRETCH_MOST and squash(x) < p:
            x += 1
        table.append(x)
    return table


def _stretch_table() -> list[int]:
    inverse = _inverse_table()
    return [
        inverse[p] if p < 4096 else -inverse[65535 - p] if p >= 61440 else inverse[p // 16 * 16 + 8]
        for p in range(65536)
    ]


STRETCH = _stretch_table()
RATE = [655360 // (10 * count + 16) for count in range(256)]


def mix(a: int, b: int) -> int:
    h = (a ^ ((b + GOLDEN) & MASK64)) * 0xD6E8FEB86659FD93 & MASK64
    return h ^ h >> 32


def place(hashed: int, bits: int) -> int:
    return hashed >> (64 - bits)


def counted(counter: int, bit: int) -> int:
    p, count = counter >> 10, counter & 1023
    p += (((1 << 22) - 1 if bit else 0) - p) * RATE[count] >> 16
    return p << 10 | min(count + 1, 255)


class ArithmeticDecoder:
    """Turns bytes into decisions."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.low, self.high, self.ahead, self.taken = 0, MASK32, 0, 0
        for _ in range(4):
            self._take()

    def _take(self) -> None:
        byte = self.data[self.taken] if self.taken < len(self.data) else 0
        self.ahead = (self.ahead << 8 | byte) & MASK32
        self.taken += 1

    def bit(self, p: int) -> int:
        """A decision whose probability of being 1 is p / 65536."""
        span = self.high - self.low
        middle = self.low + (span >> 16) * p + ((span & 0xFFFF) * p >> 16)
        bit = int(self.ahead <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while not (self.low ^ self.high) >> 24:
            self._take()
            self.low = self.low << 8 & MASK32
            self.high = (self.high << 8 | 255) & MASK32
        return bit

    def raw(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value << 1 | self.bit(32768)
        return value


class Slots:
    """A table of 2^bits counters with their checks and last outcomes."""

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.counters, self.tags = [0] * (1 << bits), [0] * (1 << bits)

    def find(self, hashed: int) -> int:
        check, at = hashed >> 8 & 0xFFFF, place(hashed, self.bits)
        for i in (at, at ^ 1):
            if self.counters[i] and self.tags[i] >> 16 == check:
                return i
        if self.counters[at ^ 1] & 1023 < self.counters[at] & 1023:
            at ^= 1
        self.counters[at], self.tags[at] = 1 << 31, check << 16 | 1
        return at


@dataclass(frozen=True)
class Stage:
    """Where the parts of one kind of decision lie among the learned words."""

    contexts: int
    stride: int
    mixers: int
    counts: int
    finals: int
    maps: int
    corrections: int


def lay_out() -> tuple[list[Stage], int]:
    """The stages, and the words that they take."""
    stages, words = [], 0
    for contexts, mixers, finals, corrections in SHAPES:
        stride = (3 * contexts + 7) // 8 * 8
        counts = words + mixers * stride
        final = counts + mixers
        maps = final + 4 * finals
        correction = maps + contexts * 1024
        stages.append(Stage(contexts, stride, words, counts, final, maps, correction))
        words = (correction + corrections * STEPS + 7) // 8 * 8
    return stages, words


class Contexts:
    """Hashes of the contexts of one decision: those of the table first, then the common ones."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.table: list[int] = []
        self.common: list[int] = []

    def _salt(self) -> int:
        return self.kind + len(self.table) + len(self.common)

    def in_table(self, a: int, b: int = 0) -> None:
        self.table.append(mix(mix(self._salt(), a), b) * GOLDEN & MASK64)

    def in_common(self, a: int) -> None:
        self.common.append(mix(self._salt(), a) * GOLDEN & MASK64)


class Decisions:
    """What is learned, and the decoder of the segment at hand."""

    def __init__(self, table_bits: int) -> None:
        start = zstandard.ZstdDecompressor().decompress(START.read_bytes())
        assert hashlib.sha256(start).hexdigest() == START_SHA256
        self.stages, words = lay_out()
        learned = np.frombuffer(start, "<u4")
        assert len(learned) == words + (2 << COMMON_BITS)
        self.weights: NDArray[np.int64] = learned[:words].astype(np.int32).astype(np.int64)
        self.words: list[int] = learned[:words].tolist()
        self.table, self.common = Slots(table_bits), Slots(COMMON_BITS)
        self.common.counters, self.common.tags = learned[words::2].tolist(), learned[words + 1 :: 2].tolist()
        self.coder = ArithmeticDecoder(b"")

    def decide(
        self, number: int, contexts: Contexts, mixer: tuple[int, int, int], final: int, correction: tuple[int, int]
    ) -> int:
        """Decode a decision of stage `number`, and learn from it."""
        stage, words = self.stages[number], self.words
        slots = [(self.table, self.table.find(h)) for h in contexts.table]
        slots += [(self.common, self.common.find(h)) for h in contexts.common]
        assert len(slots) == stage.contexts
        inputs = np.zeros(stage.stride, np.int64)
        maps = []
        for i, (table, at) in enumerate(slots):
            count, p = table.counters[at] & 1023, table.counters[at] >> 16
            seen = 0 if count < 8 else 1 if count < 24 else 2 if count < 96 else 3
            maps.append(stage.maps + 1024 * i + (table.tags[at] & 255) * 4 + seen)
            inputs[3 * i] = STRETCH[p] if count else 0
            inputs[3 * i + 1] = (p - 32768) * min(count, 32) >> 10
            inputs[3 * i + 2] = STRETCH[words[maps[i]] >> 16]
        rows = [self.weights[stage.mixers + m * stage.stride : stage.mixers + (m + 1) * stage.stride] for m in mixer]
        outputs = []
        for row in rows:
            total = (int((row >> 4) @ inputs) + (1 << 31) & MASK32) - (1 << 31)
            outputs.append(clamp(total >> 12, -STRETCH_MOST, STRETCH_MOST))
        weigh = self.weights[stage.finals + 4 * final : stage.finals + 4 * final + 3]
        mixed = sum(int(w) * y for w, y in zip(weigh, outputs, strict=True)) >> 16
        mixed = clamp(mixed, -STRETCH_MOST, STRETCH_MOST)
        step = min(mixed + STRETCH_MOST >> 7, STEPS - 2)
        fraction = mixed + STRETCH_MOST - 128 * step
        entries = [stage.corrections + c * STEPS + step for c in correction]
        p = 2 * squash(mixed)
        for at in entries:
            p += (words[at] >> 16) * (128 - fraction) + (words[at + 1] >> 16) * fraction >> 7
        bit = self.coder.bit(clamp(p >> 2, 1, 65535))

        target = 65535 if bit else 0
        for m, row, y in zip(mixer, rows, outputs, strict=True):
            count = words[stage.counts + m]
            rate = 300 + 76800 // (64 + count)
            words[stage.counts + m] = min(count + 1, 65535)
            error = (target - squash(y)) * rate >> 10
            row += inputs * error + 8192 >> 14
            np.minimum(np.maximum(row, -WEIGHT_MOST, out=row), WEIGHT_MOST, out=row)
        error = (target - squash(mixed)) * 200 >> 10
        for k, y in enumerate(outputs):
            weigh[k] = clamp(int(weigh[k]) + (y * error + 8192 >> 14), -WEIGHT_MOST, WEIGHT_MOST)
        goal = MASK32 if bit else 0
        for at in entries:
            words[at] += (goal - words[at]) * (128 - fraction) >> 12
            words[at + 1] += (goal - words[at + 1]) * fraction >> 12
        for i, (table, at) in enumerate(slots):
            table.counters[at] = counted(table.counters[at], bit)
            outcomes = (table.tags[at] & 255) << 1 | bit
            if outcomes > 255:
                outcomes = outcomes & 127 | 128
            table.tags[at] = table.tags[at] & 0xFFFF0000 | outcomes
            words[maps[i]] = counted(words[maps[i]], bit)
        return bit
