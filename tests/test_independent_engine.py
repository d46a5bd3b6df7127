"""FORMAT.md describes the engine: a plain decoder that follows it gives back what the engine coded."""

import numpy as np
import pytest
from independent.engine import Engine
from same_bytes import scattered

from pacodec.common.media import Grids, GridSpec
from pacodec.engine import SegmentEncoder, State


def check(segments: list[Grids], ordinal: bool = False) -> Engine:
    """Code segments of grids uint8 [n, C, h, w] one after the other and decode them independently; the decoder."""
    channels, height, width = segments[0].shape[1:]
    state, decoder = State.fresh(GridSpec(channels, height, width, ordinal)), Engine(ordinal, channels, height, width)
    for grids in segments:
        encoder = SegmentEncoder(state)
        encoder.push(grids)
        np.testing.assert_array_equal(decoder.segment(encoder.finish(), len(grids)), grids)
    return decoder


def sprite(frames: int, first: int = 0) -> Grids:
    """A checked square that moves over stripes, uint8 [frames, 1, 20, 27]."""
    grids = np.repeat((np.arange(27, dtype=np.uint8) // 5 * 20)[None, None, None], frames, 0).repeat(20, 2)
    square = (np.indices((6, 6)).sum(0) % 3).astype(np.uint8) + 130
    for number in range(frames):
        at = first + number
        grids[number, 0, at % 14 : at % 14 + 6, 2 * at % 20 : 2 * at % 20 + 6] = square
    return grids


def text(planes: int) -> Grids:
    """Lines of noise and, two rows higher and a column to the left, again, uint8 [2, planes, 40, 64]."""
    page = np.random.default_rng(7).integers(0, 4, (42, 65), np.uint8)
    page[np.arange(42) % 4 != 1] = 0
    grids = np.stack([page[:40, :64], page[2:, 1:]])
    return np.stack([grids, 5 * grids + 1][:planes], 1)


@pytest.mark.parametrize("levels", [2, 256])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_labels_without_order(channels, levels):
    check([scattered(channels, (3, channels, 9, 11), levels)])


@pytest.mark.parametrize("channels", [1, 3])
def test_numbers(channels):
    check([scattered(channels, (3, channels, 6, 7), 256), scattered(5, (2, channels, 6, 7), 9)], ordinal=True)


@pytest.mark.parametrize("planes", [1, 2])
def test_scrolling_text_is_copied_by_vectors(planes):
    assert check([text(planes)]).copies > 20


def test_moving_sprite_in_segments_that_follow_on_each_other():
    check([sprite(5), sprite(3, 5), sprite(2)])


def test_smallest_grids():
    for channels in (1, 2, 3):
        check([scattered(3, (4, channels, 1, 1), 3), scattered(4, (4, channels, 1, 1), 3)])


def test_history_is_used_anew_when_it_is_full():
    check([scattered(1, (4100, 1, 1, 1), 3), scattered(2, (5, 1, 1, 1), 3)])
