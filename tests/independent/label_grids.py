"""Label grids as FORMAT.md describes them: blocks, copies, matches, candidates and spelling."""

from dataclasses import dataclass

import numpy as np
from independent.decisions import BLOCK, COPY, HIT, QUIET, SAME, SHADE, SPELL, Contexts, Decisions, clamp, mix, place
from numpy.typing import NDArray

MARGIN_X, MARGIN_Y = 4, 6
SEARCH_BITS = 18
NONE = -1
OVER = ((-1, 1), (0, 2), (1, 1))
ABOVE = ((-3, 1), (-2, 1), (-1, 2), (0, 4), (1, 2), (2, 1), (3, 1))
LEFT = ((-4, 1), (-3, 1), (-2, 2), (-1, 4))
"""Columns and weights of the template: two rows above, one row above, and in the pixel's own row."""


@dataclass
class BlockState:
    """What is known of a block of 8 x 8 pixels."""

    changed: int = 0
    before: int = 0
    age: int = 255
    period: int = 255
    history: int = 0
    amount: int = 0
    count: int = 0
    copied: int = 0


class Pixel:
    """What is known of a pixel before it is decoded."""

    p: int
    at: int
    still: int
    earlier: int
    left: int
    up: int
    up_left: int
    up_right: int
    differing: int
    farther: int
    moving: int
    age: int
    near4: int
    near8: int
    wide: int
    last3: int
    last5: int
    earlier3: int
    last_near: int
    last_near_wide: int
    match: int
    second: int
    nearby: int
    likeness: int
    second_likeness: int
    nearby_likeness: int
    distance: int
    run: int
    shift: int


def likeness_class(value: int) -> int:
    return max(value, 0) * 15 // 24


def run_class(run: int) -> int:
    return run if run < 2 else min(run.bit_length(), 6)


def towards_zero(a: int, b: int) -> int:
    return a // b if a >= 0 else -(-a // b)


def follow(entry: int, label: int) -> int:
    count, known = entry >> 16, entry & 0xFFFF
    if count and known == label:
        return min(count + 1, 15) << 16 | known
    return known | count // 2 << 16 if count > 1 else label | 1 << 16


class LabelGrids:
    """The history of grids and what is known of them, over all segments."""

    def __init__(self, decisions: Decisions, planes: int, height: int, width: int) -> None:
        self.decisions, self.planes, self.height, self.width = decisions, planes, height, width
        self.stride = width + 2 * MARGIN_X
        self.area = (height + 2 * MARGIN_Y) * self.stride
        self.grids = clamp((40 << 20) // self.area, 4, 4096)
        self.guard = 3 * self.stride + 64
        self.history = [bytearray(self.grids * self.area + 2 * self.guard) for _ in range(planes)]
        self.matches = [[0] * (1 << SEARCH_BITS) for _ in range(2)]
        self.successors = [[0] * (1 << SEARCH_BITS) for _ in range(3)]
        self.latest = [0] * (1 << 16)
        self.rows, self.columns = (height + 7) // 8, (width + 7) // 8
        self.time = 0
        self.beginning = self.blank = True
        self.copies = 0

    def begin(self) -> None:
        """A new segment."""
        self.beginning = True

    def decode(self) -> NDArray[np.uint8]:
        """The next grid, uint8 [planes, height, width]."""
        if self.beginning:
            self._begin_labels()
        now, last = self._place(0), self._place(1)
        for plane in self.history:
            plane[now : now + self.area] = plane[last : last + self.area]
        self._blocks(now, last)
        self._pixels(now, last, self._place(2))
        self._age()
        self.beginning = self.blank = False
        self.time += 1
        grid = [np.frombuffer(plane, np.uint8)[now : now + self.area] for plane in self.history]
        return np.stack([g.reshape(-1, self.stride)[MARGIN_Y:-MARGIN_Y, MARGIN_X:-MARGIN_X].copy() for g in grid])

    def compared(self, row: int, column: int) -> tuple[int, int]:
        """First byte of the label of the grid decoded last, and whether the one before has the same there."""
        at = (row + MARGIN_Y) * self.stride + column + MARGIN_X
        now, last = self.history[0][self._place(1) + at], self.history[0][self._place(2) + at]
        return now, int(now == last)

    def _place(self, back: int) -> int:
        return self.guard + (self.time - back) % self.grids * self.area

    def _label(self, at: int) -> int:
        return self.history[0][at] | (self.history[1][at] << 8 if self.planes == 2 else 0)

    def _begin_labels(self) -> None:
        self.distances, self.runs = [self.area] * self.area, [0] * self.area
        self.changes = [self.time] * self.area
        self.blocks = [[BlockState() for _ in range(self.columns + 2)] for _ in range(self.rows + 2)]
        self.last_hit = self.area
        remembered = min(self.time, self.grids - 1)
        back = min(self.decisions.coder.raw(13), remembered) if remembered else 0
        self.blank = not back
        start = self._place(back)
        for _ in range(2):
            to = self._place(0)
            for plane in self.history:
                plane[to : to + self.area] = plane[start : start + self.area] if back else bytes(self.area)
            self.time += 1

    # Blocks

    def _blocks(self, now: int, last: int) -> None:
        vectors: list[tuple[int, int]] = []
        if not self.blank:
            for _ in range(self._vector_count()):
                y, x = ((self.decisions.coder.raw(16) + 32768) % 65536 - 32768 for _ in range(2))
                vectors.append((y, x))
        for row in range(self.rows):
            for column in range(self.columns):
                block = self.blocks[row + 1][column + 1]
                block.changed = 1 if self.blank else self._flag(row, column)
                block.copied = block.count = 0
                y, x = 8 * row, 8 * column
                rows, columns = min(8, self.height - y), min(8, self.width - x)
                at = (y + MARGIN_Y) * self.stride + x + MARGIN_X
                places = [at + i * self.stride + j for i in range(rows) for j in range(columns)]
                if not block.changed:
                    if block.before:
                        for p in places:
                            self.distances[p], self.runs[p] = self.area, 0
                    continue
                block.copied = self._copied(row, column, len(vectors))
                if not block.copied:
                    continue
                block.count = 32
                self.copies += 1
                down, right = vectors[block.copied - 1]
                from_y, from_x = clamp(y + down, 0, self.height - rows), clamp(x + right, 0, self.width - columns)
                offset = (from_y + MARGIN_Y) * self.stride + from_x + MARGIN_X - at
                for p in places:
                    for plane in self.history:
                        plane[now + p] = plane[last + p + offset]
                    self.distances[p], self.runs[p], self.changes[p] = self.area - offset, 8, self.time

    def _vector_count(self) -> int:
        for number in range(3):
            contexts = Contexts(COPY << 16 | 1 << 8)
            for _ in range(4):
                contexts.in_common(number)
            if not self.decisions.decide(COPY, contexts, (16, 17, 18), 4, (16 + number, 16 + number)):
                return number
        return 3

    def _flag(self, row: int, column: int) -> int:
        above, middle, below = (self.blocks[row + i][column : column + 3] for i in range(3))
        b, up, down, left, right = middle[1], above[1], below[1], middle[0], middle[2]
        around = sum(x.before << i for i, x in enumerate([*above, *middle, *below]))
        now = left.changed | up.changed << 1 | above[0].changed << 2 | above[2].changed << 3
        age = min(b.age, 20)
        position = (row << 12 | column) << 8
        contexts = Contexts(BLOCK << 16)
        contexts.in_table(position | b.before)
        contexts.in_table(position | b.age)
        contexts.in_table(position | now)
        contexts.in_table(position | b.history)
        contexts.in_common(around | now << 9)
        contexts.in_common(b.age | b.period << 8)
        contexts.in_common(age | now << 8)
        contexts.in_common(age | min(right.age, 6) << 8 | min(down.age, 6) << 12 | min(left.age, 6) << 16 | now << 20)
        contexts.in_common(b.history | now << 8)
        contexts.in_common(
            b.history
            | (right.history & 7) << 8
            | (left.history & 7) << 12
            | (down.history & 7) << 16
            | (up.history & 7) << 20
            | now << 24
        )
        contexts.in_common(
            b.amount | right.amount << 4 | left.amount << 8 | down.amount << 12 | up.amount << 16 | now << 20
        )
        age = min(age, 15)
        mixer = (b.before * 16 + now, 32 + age, 64 + b.period % 64)
        return self.decisions.decide(BLOCK, contexts, mixer, now, (age, 16 + now))

    def _copied(self, row: int, column: int, vectors: int) -> int:
        above, b, left = self.blocks[row], self.blocks[row + 1][column + 1], self.blocks[row + 1][column]
        up = above[column + 1]
        for number in range(1, vectors + 1):
            beside = (left.copied == number) | (up.copied == number) << 1
            beside |= (left.changed and not left.copied) << 2 | (up.changed and not up.copied) << 3
            diagonal = (above[column + 2].copied == number) | (above[column].copied == number) << 1
            contexts = Contexts(COPY << 16)
            contexts.in_common(beside)
            contexts.in_common(number | beside << 2)
            contexts.in_common(diagonal | beside << 2)
            contexts.in_common(b.before | vectors << 1 | beside << 3)
            if self.decisions.decide(COPY, contexts, (beside, beside, number), number, (beside, beside)):
                return number
        return 0

    def _age(self) -> None:
        for row in self.blocks[1:-1]:
            for b in row[1:-1]:
                b.amount = sum(b.count >= least for least in (1, 3, 8, 20))
                b.history = (b.history << 1 | b.changed) & 255
                if b.changed:
                    b.period, b.age = b.age, 0
                else:
                    b.age = min(b.age + 1, 255)
                b.before = b.changed

    # Pixels

    def _pixels(self, now: int, last: int, earlier: int) -> None:
        for y in range(self.height):
            for x in range(self.width):
                block = self.blocks[y // 8 + 1][x // 8 + 1]
                if block.changed and not block.copied:
                    p = (y + MARGIN_Y) * self.stride + x + MARGIN_X
                    label = self._pixel(now, last, earlier, p, y, x)
                    for i, plane in enumerate(self.history):
                        plane[now + p] = label >> 8 * i & 255

    def _look_around(self, now: int, last: int, earlier: int, p: int) -> Pixel:
        g, s = self.history[0], self.stride
        c, l, e = now + p, last + p, earlier + p  # noqa: E741
        x = Pixel()
        x.p, x.at = p, c
        x.left, x.up = self._label(c - 1), self._label(c - s)
        x.up_left, x.up_right = g[c - s - 1], g[c - s + 1]
        x.still, x.earlier = x.left if self.blank else self._label(l), self._label(e)
        near, far = (-1, -s, -s - 1, -s + 1), (-2, -2 * s, -s - 2, -s + 2)
        x.differing = sum((g[c + o] != g[l + o]) << i for i, o in enumerate(near))
        x.farther = sum((g[c + o] != g[l + o]) << i for i, o in enumerate(far))
        nine = [row * s + column for row in (-1, 0, 1) for column in (-1, 0, 1)]
        x.moving = sum((g[l + o] != g[e + o]) << i for i, o in enumerate(nine))
        x.age = min(self.time - self.changes[p], 15)

        def packed(at: int, offsets: list[int]) -> int:
            return int.from_bytes(bytes(g[at + o] for o in offsets), "little")

        def row(number: int, first: int, end: int) -> list[int]:
            return [number * s + column for column in range(first, end + 1)]

        x.near4 = mix(packed(c, list(near)), 77)
        x.near8 = mix(x.near4, packed(c, list(far)))
        x.wide = mix(mix(packed(c, row(-1, -3, 3)), packed(c, row(0, -4, -1))), packed(c, row(-2, -1, 1)))
        x.last3 = mix(mix(packed(l, nine[:6]), 16), packed(l, nine[6:]))
        x.earlier3 = mix(mix(packed(e, nine[:6]), 99), packed(e, nine[6:]))
        sides = [-s - 2, -2, s - 2, -s + 2, 2, s + 2]
        x.last5 = mix(mix(mix(x.last3, packed(l, row(2, -2, 2))), packed(l, row(-2, -2, 2))), packed(l, sides))
        x.last_near, x.last_near_wide = mix(x.last3, x.near4), mix(x.last5, x.near8)
        return x

    def _likeness(self, a: int, b: int) -> int:
        g, s = self.history[0], self.stride
        alike = 0
        for row, columns in ((-2 * s, OVER), (-s, ABOVE), (0, LEFT)):
            for column, weight in columns:
                if g[a + row + column] == g[b + row + column]:
                    alike += weight
        return alike

    def _looked_up(self, table: list[int], hashed: int, position: int) -> int:
        at = place(hashed, SEARCH_BITS)
        found, table[at] = table[at], position + 1
        if not found:
            return 0
        distance = position - (found - 1)
        return distance if distance > 0 else distance + self.grids * self.area

    def _find_matches(self, x: Pixel, last: int) -> None:
        position, total, s, p = x.at - self.guard, self.grids * self.area, self.stride, x.p
        found: dict[int, int] = {}
        offers = [(self.distances[q], self.runs[q]) for q in (p - 1, p - s, p - s + 1)]
        offers += [(self.distances[p], 0), (self.area, 0), (self.last_hit, 0)]
        offers.append((self._looked_up(self.matches[0], x.wide, position), 0))
        offers.append((self._looked_up(self.matches[1], x.near8, position), 0))
        for distance, run in offers:
            if 0 < distance < (self.grids - 1) * self.area:
                found.setdefault(distance, run)
        best, second, best_run = -1, -1, 0
        x.match, x.second, x.distance = x.still, NONE, self.area
        for i, (distance, run) in enumerate(found.items()):
            q = self.guard + (position - distance) % total
            bonus = 3 if run > 15 else 2 if run > 3 else int(run > 0)
            value = self._likeness(x.at, q) * 8 + bonus + (i == 0)
            label = self._label(q)
            if value > best:
                if best >= 0 and x.match != label:
                    x.second, second = x.match, best
                best, best_run, x.match, x.distance = value, run, label, distance
            elif label != x.match and value > second:
                x.second, second = label, value
        nearby = -1
        x.nearby = x.still
        if (x.differing | x.farther | x.moving) and not self.blank:
            offset = 0
            for row in range(-3, 4):
                for column in range(-3, 4):
                    o = row * s + column
                    bonus = 2 if not row and not column else int(not row or not column)
                    value = self._likeness(x.at, last + p + o) * 4 + bonus
                    if value > nearby:
                        nearby, offset = value, o
            x.nearby = self._label(last + p + offset)
            value = nearby // 4 * 8
            if value > best:
                if x.match != x.nearby:
                    x.second, second = x.match, best
                best, best_run, x.match, x.distance = value, 0, x.nearby, self.area - offset
            elif x.nearby != x.match and value > second:
                x.second, second = x.nearby, value
        x.likeness, x.second_likeness = likeness_class(best >> 3), likeness_class(second >> 3)
        x.nearby_likeness = likeness_class(nearby >> 2)
        x.run, x.shift = run_class(best_run), self._shift(x.distance)
        self.runs[p] = best_run

    def _shift(self, distance: int) -> int:
        offset, s = distance - self.area, self.stride
        rows = towards_zero(offset + 3 * s + s // 2, s) - 3
        columns = offset - rows * s
        if -3 <= rows <= 3 and -3 <= columns <= 3:
            return (rows + 3) * 7 + columns + 3
        return 50 if offset < 0 else 49

    def _pixel(self, now: int, last: int, earlier: int, p: int, row: int, column: int) -> int:
        x = self._look_around(now, last, earlier, p)
        self._find_matches(x, last)
        block = self.blocks[row // 8 + 1][column // 8 + 1]
        beside = self.blocks[row // 8 + 1][column // 8 + 2].changed
        beside |= self.blocks[row // 8 + 2][column // 8 + 1].changed << 1
        inside = column % 8 | row % 8 << 3
        after = self.history[0][last + p + 1] | self.history[0][last + p + self.stride] << 8
        quiet = not (x.differing | x.farther | x.moving | self.blank) and x.match == x.still
        decide = self._quiet if quiet else self._same
        label = x.still
        if not decide(x, block, beside, inside, after):
            label = self._change(x)
            block.count = min(block.count + 1, 255)
            self.changes[p] = self.time
        hit = label == x.match
        self.runs[p] = min(self.runs[p] + 1, 63) if hit else 0
        self.distances[p] = x.distance
        if hit and x.distance != self.area:
            self.last_hit = x.distance
        return label

    def _same(self, x: Pixel, block: BlockState, beside: int, inside: int, after: int) -> int:
        still, match, second = x.still, x.match, x.second & 0xFFFF
        is_match, is_second, is_nearby = match == still, x.second == still, x.nearby == still
        contexts = Contexts(SAME << 16)
        contexts.in_table(x.last_near_wide)
        contexts.in_table(mix(x.last3, x.earlier3), x.near4)
        contexts.in_table(still | x.left << 16 | x.up << 32, after)
        contexts.in_table(x.p << 32 | still << 16 | x.earlier)
        contexts.in_table(x.near8, still)
        contexts.in_table(x.last3, x.moving)
        contexts.in_table(x.last3, x.differing | match << 8)
        contexts.in_table(match | still << 16 | x.run << 32)
        contexts.in_table(match | second << 16 | still << 32, x.left)
        contexts.in_table(x.age | still << 8 | x.differing << 24)
        contexts.in_table(still | x.nearby << 16 | x.left << 32, x.up | match << 16)
        contexts.in_common(x.differing | x.farther << 4 | x.moving << 8)
        contexts.in_common(x.shift | x.likeness << 8 | is_match << 16 | x.differing << 20)
        contexts.in_common(x.run | is_match << 8 | is_second << 9 | x.likeness << 12)
        contexts.in_common(inside | min(block.count, 2) << 6 | beside << 8 | is_match << 10)
        contexts.in_common(x.age | x.differing << 4 | is_match << 8 | is_nearby << 9)
        state = x.differing | is_match << 4
        mixer = (
            state | (x.moving > 0) << 5,
            64 + x.likeness * 2 + is_match,
            96 + x.run * 16 + min(block.count, 3) * 4 + is_match * 2 + is_nearby,
        )
        return self.decisions.decide(SAME, contexts, mixer, state, (state, 64 + x.run * 2 + is_match))

    def _quiet(self, x: Pixel, block: BlockState, beside: int, inside: int, after: int) -> int:
        still, count, is_second = x.still, min(block.count, 3), x.second != NONE
        contexts = Contexts(QUIET << 16)
        contexts.in_table(x.last_near_wide)
        contexts.in_table(x.last_near)
        contexts.in_table(x.p << 16 | still)
        contexts.in_table(x.p << 32 | count << 8 | beside)
        contexts.in_table(still | x.left << 16 | x.up << 32, after)
        contexts.in_common(inside | count << 6 | beside << 8 | is_second << 10)
        contexts.in_common(x.age | x.run << 4 | is_second << 8 | x.second_likeness << 9 | count << 13)
        contexts.in_common(block.history | block.amount << 8 | count << 12)
        mixer = (inside | count << 6, 256 + x.age * 2 + is_second, 288 + x.second_likeness * 2 + is_second)
        return self.decisions.decide(QUIET, contexts, mixer, count * 4 + beside, (x.age, 16 + inside))

    def _change(self, x: Pixel) -> int:
        followers = [
            (self.successors[0], place(x.last_near_wide, SEARCH_BITS)),
            (self.successors[1], place(x.last_near, SEARCH_BITS)),
            (self.successors[2], place(mix(x.near4, x.still), SEARCH_BITS)),
            (self.latest, x.still),
        ]
        entries = [table[at] for table, at in followers]
        wide, narrow, third, latest = ((e & 0xFFFF if e else NONE, e >> 16) for e in entries)
        candidates = [
            (x.match, x.likeness),
            (x.second, x.second_likeness),
            wide,
            (x.nearby, x.nearby_likeness),
            narrow,
            third,
            (x.left, 0),
            (x.up, 0),
            latest,
            (x.earlier, 0),
        ]
        asked = [x.still]
        result = NONE
        for number, (label, likely) in enumerate(candidates):
            if label == NONE or label in asked:
                continue
            asked.append(label)
            if self._hit(x, label, number, min(likely, 15), len(asked), narrow[0]):
                result = label
                break
        if result == NONE:
            result = self._spell(x, SPELL, 0)
            if self.planes == 2:
                result |= self._spell(x, SHADE, result + 1) << 8
        for table, at in followers:
            table[at] = follow(table[at], result)
        return result

    def _hit(self, x: Pixel, label: int, number: int, likely: int, tried: int, narrow: int) -> int:
        still = x.still
        others = (x.nearby, x.match, x.second, x.left, x.up, x.earlier, narrow)
        agreeing = sum((label == other) << i for i, other in enumerate(others))
        contexts = Contexts(HIT << 16)
        contexts.in_table(number | label << 8 | likely << 24)
        contexts.in_table(x.last_near, number | label << 8)
        contexts.in_table(x.near4, label | still << 16 | number << 32)
        contexts.in_table(label | still << 16 | x.left << 32 | x.up << 48)
        contexts.in_table(x.p << 32 | label << 16 | still)
        contexts.in_table(label | x.earlier << 16 | x.shift << 32)
        contexts.in_table(x.last_near_wide, label)
        contexts.in_table(agreeing | label << 8 | tried << 24)
        contexts.in_table(x.near8, label | still << 16)
        contexts.in_table(x.last3, label)
        contexts.in_table(x.earlier3, label | still << 16)
        contexts.in_table(x.up_right | x.up_left << 8 | x.left << 16 | x.up << 32, label)
        contexts.in_common(agreeing | likely << 8 | number << 12)
        contexts.in_common(agreeing | x.likeness << 8 | x.run << 12 | tried << 16)
        mixer = (
            number * 16 + likely,
            160 + (agreeing & 63),
            224 + min(tried, 15) * 16 + x.run * 2 + (label == x.match),
        )
        return self.decisions.decide(HIT, contexts, mixer, number, (number * 16 + likely, 160 + agreeing))

    def _spell(self, x: Pixel, stage: int, known: int) -> int:
        still, left, up = x.still, x.left, x.up
        surroundings = (0, still, left, up, left | up << 16, still | left << 16, still | up << 16, x.p, x.near4)
        node = 1
        for bit in range(7, -1, -1):
            contexts = Contexts(stage << 16 | node << 5 | known << 32)
            for surrounding in surroundings:
                contexts.in_table(surrounding)
            mixer = (node, 256 + bit, 264)
            node = node << 1 | self.decisions.decide(stage, contexts, mixer, bit, (node, 256 + bit))
        return node & 255
