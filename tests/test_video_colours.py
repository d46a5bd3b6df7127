"""The survey of colours: those of all frames, with their counts, whatever a sample of the footage would show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec.transforms.colour_survey import ColourSurvey
from pacodec.transforms.palette import learn_palette, pack_colours, palette_of_counts, unpack_colours


def survey(pictures):
    found = ColourSurvey()
    for picture in pictures:
        found.add(picture)
    return found


def counted(pictures):
    return np.unique(pack_colours(np.stack(pictures)), return_counts=True)


def clip(frames, size=(30, 50), seed=0):
    """Flat pictures with a small square of a colour of its own in each."""
    rng = np.random.default_rng(seed)
    picture = np.full((*size, 3), 90, np.uint8)
    pictures = []
    for _ in range(frames):
        top, left = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
        picture = picture.copy()
        picture[top : top + 3, left : left + 3] = rng.integers(0, 256, 3)
        pictures.append(picture)
    return pictures


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(4, 40), st.integers(4, 40), st.integers(0, 99))
def test_counts_are_those_of_all_pixels(frames, height, width, seed):
    pictures = clip(frames, (height, width), seed)
    colours, counts = survey(pictures).colours()
    expected = counted(pictures)
    np.testing.assert_array_equal(colours, expected[0])
    np.testing.assert_array_equal(counts, expected[1])


def test_a_colour_of_one_frame_among_many_is_found():
    pictures = [np.zeros((64, 64, 3), np.uint8)] * 500
    pictures[333] = pictures[0].copy()
    pictures[333][5, 7] = (1, 2, 3)
    colours, counts = survey(pictures).colours()
    assert unpack_colours(colours).tolist() == [[0, 0, 0], [1, 2, 3]]
    assert counts.tolist() == [500 * 64 * 64 - 1, 1]


def test_asking_in_between_changes_nothing():
    pictures = clip(9)
    found = survey(pictures[:4])
    np.testing.assert_array_equal(found.colours()[1], counted(pictures[:4])[1])
    for picture in pictures[4:]:
        found.add(picture)
    np.testing.assert_array_equal(found.colours()[1], counted(pictures)[1])


def test_of_footage_that_changes_everywhere_no_pixel_is_lost():
    rng = np.random.default_rng(1)
    pictures = [rng.choice(np.arange(0, 250, 10, dtype=np.uint8), (400, 300, 3)) for _ in range(12)]
    colours, counts = survey(pictures).colours()
    assert counts.min() > 0
    assert counts.sum() == 12 * 400 * 300
    expected, _ = counted(pictures)
    assert len(np.intersect1d(colours, expected)) == len(colours) > 0.95 * len(expected)


def test_a_palette_knows_the_colours_that_a_sample_lacks():
    pictures = clip(40)
    palette = palette_of_counts(*survey(pictures).colours(), 256)
    assert {tuple(colour) for colour in palette.tolist()} == {
        tuple(colour) for picture in pictures for colour in picture.reshape(-1, 3).tolist()
    }
    np.testing.assert_array_equal(learn_palette(pictures), palette)
    assert len(palette_of_counts(*survey(pictures).colours(), 8)) == 8


def test_pictures_of_other_sizes_are_refused():
    found = survey(clip(1))
    with pytest.raises(ValueError, match="pixels among"):
        found.add(np.zeros((4, 4, 3), np.uint8))
