"""The pictures of whole GOPs, in order: codes decoded ahead in threads, pictures made in others."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Grids, Pictures
from pacodec.container import Gop, Header
from pacodec.errors import CorruptFileError, LimitError
from pacodec.gop.coding import batch_frames, decode_gop
from pacodec.gop.parallel import in_order
from pacodec.gop.priors import Decoders
from pacodec.transforms.base import GridTransform

AHEAD_BYTES = 16 << 20
"""Codes that wait, decoded, for the pictures to be made, a GOP."""

Damage = CorruptFileError | LimitError
"""What makes a GOP useless and leaves the others alone."""


def working_memory(header: Header, decoders: Decoders, pictures: int = 1) -> int:
    """Bytes that decoding a GOP takes, about, while so many pictures are made of it; LimitError where too many."""
    video = header.video
    need = decoders.memory + 9 * pictures * video.width * video.height
    limits.check_memory(f"decoding pictures of {video.width}x{video.height}", need)
    return need


class GopPictures:
    """Makes the pictures of whole GOPs from their codes, repeats included, in batches."""

    def __init__(
        self,
        header: Header,
        transform: GridTransform,
        decoders: Decoders,
        jobs: int = 1,
        on_damage: Callable[[Gop, Damage], None] | None = None,
        codes: Callable[[Gop, int], Iterator[Grids]] | None = None,
    ) -> None:
        """`codes` gives the codes of a GOP, repeats left out, at most so many at a time, where not `decode_gop` shall.

        With `on_damage`, a GOP whose codes are wrong is reported to it, in whatever thread, and left out.

        So is the rest of one whose pictures cannot be made.
        """
        self.header, self.transform, self.decoders, self.on_damage = header, transform, decoders, on_damage
        self._codes_of = codes or (lambda gop, most: decode_gop(gop, decoders, most))
        picture = 3 * header.video.width * header.video.height
        self.step = batch_frames(max(header.grid.size, picture))
        need = working_memory(header, decoders, self.step)
        self.jobs = limits.affordable(jobs, need + AHEAD_BYTES)

    def run(self, gops: Iterator[Gop]) -> Iterator[tuple[Gop, int, Pictures]]:
        """(GOP, frame within it, pictures uint8 [n, H, W, 3]) for all frames of the GOPs in order.

        The codes are decoded ahead in `jobs` threads and the pictures made in as many; CorruptFileError or LimitError
        comes where a GOP's codes are wrong.
        """
        last: NDArray[np.uint8] = np.empty(0, np.uint8)
        spoiled: Gop | None = None
        for gop, first, repeats, pictures in self._pictures(gops):
            if gop is spoiled:
                continue
            if isinstance(pictures, Damage):
                if self.on_damage is None:
                    raise pictures
                self.on_damage(gop, pictures)
                spoiled = gop
                continue
            made = last[:0] if pictures is None else pictures
            lookup = np.cumsum(~repeats) - 1
            if lookup[0] < 0:  # the batch begins with repeats of the last one's final picture
                made, lookup = np.concatenate([last, made]), lookup + 1
            yield gop, first, made if len(made) == len(lookup) else made[lookup]
            last = made[-1:]

    def _pictures(self, gops: Iterator[Gop]) -> Iterator[tuple[Gop, int, NDArray[np.bool_], Pictures | Damage | None]]:
        """(GOP, first frame, repeat flags, pictures of the frames that are no repeats, if any) in order.

        In place of pictures that cannot be made stands the reason.
        """
        tasks = (partial(self._codes, gop) for gop in gops)
        depth = max(2, AHEAD_BYTES // (self.step * self.header.grid.size))
        coded = in_order(tasks, self.jobs, depth)
        if self.jobs == 1:
            for gop, first, repeats, codes in coded:
                yield gop, first, repeats, self._decode(gop, codes)
            return
        made: deque[tuple[Gop, int, NDArray[np.bool_], Future[Pictures | Damage | None]]] = deque()
        with ThreadPoolExecutor(self.jobs) as pool:
            for gop, first, repeats, codes in coded:
                made.append((gop, first, repeats, pool.submit(self._decode, gop, codes)))
                if len(made) > self.jobs + 1:
                    yield _finished(made.popleft())
            while made:
                yield _finished(made.popleft())

    def _decode(self, gop: Gop, codes: Grids) -> Pictures | Damage | None:
        try:
            return self.transform.decode(codes, gop.transform, gop.quantizer) if len(codes) else None
        except (CorruptFileError, LimitError) as error:
            return error

    def _codes(self, gop: Gop) -> Iterator[tuple[Gop, int, NDArray[np.bool_], Grids]]:
        """(GOP, first frame, repeat flags, codes of the frames that are no repeats), each frame once."""
        coded = np.flatnonzero(~gop.repeats)
        done = 0
        for codes in self._decoded(gop):
            begin, done = coded[done], done + len(codes)
            end = coded[done] if done < len(coded) else gop.frames
            # A long still is given out in pieces, or its pictures would fill the memory.
            for first in range(begin, end, 4 * self.step):
                repeats = gop.repeats[first : min(first + 4 * self.step, end)]
                taken = int(np.count_nonzero(~gop.repeats[begin:first]))
                yield gop, first, repeats, codes[taken : taken + int(np.count_nonzero(~repeats))]

    def _decoded(self, gop: Gop) -> Iterator[Grids]:
        batches = self._codes_of(gop, self.step)
        if self.on_damage is None:
            yield from batches
            return
        try:
            # All or nothing, and the checksum comes last: what is too much to be held until then is decoded twice.
            if gop.coded_frames * self.header.grid.size <= AHEAD_BYTES:
                batches = iter(list(batches))
            else:
                for _ in batches:
                    pass
                batches = self._codes_of(gop, self.step)
        except (CorruptFileError, LimitError) as error:
            self.on_damage(gop, error)
            return
        yield from batches


def _finished(
    item: "tuple[Gop, int, NDArray[np.bool_], Future[Pictures | Damage | None]]",
) -> tuple[Gop, int, NDArray[np.bool_], Pictures | Damage | None]:
    gop, first, repeats, future = item
    return gop, first, repeats, future.result()
