"""Parts of large images: torchvision's rules, by hand and as properties."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bnn_jax.data import views
from bnn_jax.data.chance import uniforms
from tests.reference import views as reference

SIDES = st.integers(1, 700)
SPANS = (("left", "right"), ("top", "bottom"))


def draws(*first, rest=0.5):
    """Uniforms of ten tries of which the first is given."""
    return np.concatenate([np.asarray(first, float), np.full(views.DRAWS - len(first), rest)])


def gradient(height, width):
    """An image whose pixels tell where they are."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows % 256, columns % 256, 0 * rows], -1).astype(np.uint8))


class TestRandomBox:
    def test_it_is_frozen(self):
        assert views.random_box(375, 500, uniforms(views.DRAWS, 0, 1, 2)) == (181, 90, 423, 361)

    def test_the_first_draw_that_fits_by_hand(self):
        # Half of 10,000 pixels, twice as wide as high: 100 x 50, in the last place that it has.
        box = views.random_box(100, 100, draws(0.5, 0.5, 1 - 1e-9, 1 - 1e-9), (0.25, 0.75), (2.0, 2.0))
        assert box == (0, 50, 100, 100)

    def test_what_does_not_fit_is_drawn_again(self):
        # The whole area, four times as wide as high, does not fit; of the second draw the square does.
        box = views.random_box(80, 80, draws(0.999999, 1.0, 0, 0, 0.25, 0.5, 0, 0), (0.0, 1.0), (0.25, 4.0))
        assert box == (0, 0, 40, 40)

    @pytest.mark.parametrize(
        ("height", "width", "expected"),
        [(10, 100, (43, 0, 56, 10)), (100, 10, (0, 43, 10, 56)), (90, 100, (0, 0, 100, 90))],
    )
    def test_if_none_fits_it_is_the_middle_in_the_nearest_shape(self, height, width, expected):
        box = views.random_box(height, width, draws(), (3.0, 3.0), (3 / 4, 4 / 3))
        assert box == expected

    @given(SIDES, SIDES, st.integers(0, 2**32))
    def test_it_lies_in_the_image_and_is_not_empty(self, height, width, seed):
        box = views.random_box(height, width, uniforms(views.DRAWS, seed), (0.08, 1.25))
        assert 0 <= box.left < box.right <= width
        assert 0 <= box.top < box.bottom <= height

    def test_shares_of_the_area_and_shapes_are_those_asked_for(self):
        boxes = [views.random_box(1000, 1000, uniforms(views.DRAWS, seed), (0.1, 0.5)) for seed in range(2000)]
        widths, heights = (np.array([getattr(b, e) - getattr(b, s) for b in boxes]) for s, e in SPANS)
        share, shape = widths * heights / 1e6, np.log(widths / heights)
        assert share.min() == pytest.approx(0.1, abs=0.01)
        assert share.max() == pytest.approx(0.5, abs=0.01)
        assert share.mean() == pytest.approx(0.3, abs=0.01)
        assert abs(shape).max() == pytest.approx(np.log(4 / 3), abs=0.01)
        assert abs(shape.mean()) < 0.02
        tops = np.array([b.top for b in boxes]) / (1000 - heights)
        assert tops.mean() == pytest.approx(0.5, abs=0.02)
        assert abs(np.corrcoef(tops, [b.left for b in boxes])[0, 1]) < 0.08


class TestMiddle:
    def test_of_an_image_of_the_right_size_nothing_is_resampled(self):
        image = gradient(256, 300)
        expected = np.asarray(image)[16:240, 38:262]
        np.testing.assert_array_equal(views.middle(image, 256, 224), expected)

    @pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 300), (64, 64), (1, 5), (501, 333)])
    def test_the_shorter_side_is_resized_whatever_the_shape(self, height, width):
        shown = views.middle(gradient(height, width), 40, 32)
        assert shown.shape == (32, 32, 3)
        assert shown.dtype == np.uint8
        assert shown.flags.c_contiguous

    @given(st.integers(40, 400), st.integers(40, 400), st.integers(20, 40))
    def test_it_is_the_part_of_the_resized_image_that_torchvision_shows(self, height, width, size):
        shown = views.middle(gradient(height, width), 40, size)
        rows, columns = reference.resized(height, width, 40)
        resized = np.asarray(gradient(height, width).resize((columns, rows), Image.Resampling.BILINEAR))
        top, left = reference.center(rows, columns, size)
        np.testing.assert_array_equal(shown, resized[top : top + size, left : left + size])

    def test_a_larger_image_is_averaged_not_picked_from(self):
        stripes = np.zeros((80, 80, 3), np.uint8)
        stripes[:, ::2] = 255
        shown = views.middle(Image.fromarray(stripes), 20, 10)
        np.testing.assert_allclose(shown.astype(int), 127, atol=2)


class TestRandomPart:
    def test_it_is_the_box_resized(self):
        image = gradient(90, 120)
        chances = uniforms(views.DRAWS, 3)
        box = views.random_box(90, 120, chances)
        part = views.random_part(image, 33, chances, (0.08, 1.0), (3 / 4, 4 / 3))
        assert part.shape == (33, 33, 3)
        rows, columns = part[:, 0, 0].astype(int), part[0, :, 1].astype(int)
        assert box.top <= rows.min()
        assert rows.max() < box.bottom
        assert box.left <= columns.min()
        assert columns.max() < box.right
        assert rows.max() - rows.min() >= (box.bottom - box.top) * 0.9


class TestDecode:
    @pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "1", "RGB"])
    def test_any_mode_becomes_rgb(self, mode):
        file = io.BytesIO()
        gradient(8, 8).convert(mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
        image = views.decode(file.getvalue(), "x")
        assert (image.mode, image.size) == ("RGB", (8, 8))

    @pytest.mark.parametrize("keep", [0, 10, 300])
    def test_bytes_which_are_none_or_half_an_image_are_refused_with_where_they_are(self, keep):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(file, "JPEG")
        with pytest.raises(ValueError, match=r"a\.jpg: expected an encoded image, found .* bytes"):
            views.decode(file.getvalue()[:keep], "a.jpg")
