"""What every corruption promises: shapes, dtypes, keys, determinism, transformations, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.corruptions import record

KEY = jax.random.key(0)
CHANCE = ("gaussian_noise", "motion_blur", "fog")


def images(count=3, shape=(9, 8, 3)):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


@pytest.mark.parametrize("name", corruptions.ALL)
def test_it_takes_small_batches_of_bytes(name):
    found = corruptions.ALL[name](KEY, images(), severity=5, variant="cifar10_c")
    assert (found.shape, found.dtype) == ((3, 9, 8, 3), jnp.uint8)
    assert np.any(found != images())


@pytest.mark.parametrize("name", ["snow", "frost", "brightness", "jpeg_compression", "spatter", "saturate"])
def test_those_of_colours_take_gray_images(name):
    x = jnp.asarray(images(shape=(9, 8, 1)) / 255, jnp.bfloat16)
    gray = corruptions.ALL[name](KEY, x, severity=5, variant="cifar10_c")
    assert (gray.shape, gray.dtype) == ((3, 9, 8, 1), jnp.bfloat16)
    assert np.all((gray >= 0) & (gray <= 1))


@pytest.mark.parametrize("name", CHANCE)
class TestKeys:
    def test_an_image_depends_on_its_own_key_alone(self, name):
        corrupt, x = corruptions.ALL[name], images()
        together = np.asarray(corrupt(KEY, x, 3))
        np.testing.assert_array_equal(corrupt(KEY, x, 3), together)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(3))
        np.testing.assert_array_equal(corrupt(keys[::-1], x[::-1], 3)[::-1], together)
        np.testing.assert_array_equal(corrupt(keys[1], x[1], 3), together[1])

    def test_other_keys_and_places_draw_otherwise(self, name):
        corrupt, x = corruptions.ALL[name], np.repeat(images(1), 2, 0)
        first, second = corrupt(KEY, x, 5)
        assert np.any(first != second)
        assert np.any(first != corrupt(jax.random.key(1), x, 5)[0])


class TestSeverity:
    def test_a_traced_one_and_one_for_each_image_do_the_same(self):
        x = images()
        alone = np.stack([corruptions.zoom_blur(KEY, x, s)[i] for i, s in enumerate((1, 4, 5))])
        np.testing.assert_array_equal(corruptions.zoom_blur(KEY, x, np.array([1, 4, 5])), alone)
        traced = jax.jit(lambda severity: corruptions.zoom_blur(KEY, x, severity))
        np.testing.assert_array_equal(traced(4)[1], alone[1])

    def test_drops_of_water_and_of_mud_may_fall_on_one_batch(self):
        x = images()
        both = corruptions.spatter(KEY, x, np.array([2, 5, 3]), "cifar10_c")
        np.testing.assert_array_equal(both[1], corruptions.spatter(KEY, x, 5, "cifar10_c")[1])
        np.testing.assert_array_equal(both[2], corruptions.spatter(KEY, x, 3, "cifar10_c")[2])

    def test_batches_of_any_length_have_one_for_each_image(self):
        x, severities = images(19), np.arange(19) % 5 + 1
        found = corruptions.gaussian_noise(KEY, x, severities)
        alone = [corruptions.gaussian_noise(KEY, x, int(s))[i] for i, s in enumerate(severities)]
        np.testing.assert_array_equal(found, alone)

    def test_constants_of_few_images_are_in_memory_together(self):
        shape = (64, 64, 3)
        constants = record.tables(corruptions.zoom_blur, "imagenet_c", shape)
        each = sum(table.nbytes for table in jax.tree.leaves(record.at(constants, 1)))
        x, severities = jnp.zeros((64, *shape), jnp.uint8), jnp.ones(64, jnp.int32)
        keys = jax.random.split(KEY, 64)
        program = record._run_each.lower(corruptions.zoom_blur, keys, x, constants, severities).compile()
        assert program.memory_analysis().temp_size_in_bytes < 32 * each

    @pytest.mark.parametrize("severities", [[1, 0, 2], [1, 6, -1], 6])
    def test_those_out_of_range_are_refused_where_they_are_known(self, severities):
        with pytest.raises(ValueError, match=r"expected severities of 1 to 5, found (0|-1, 6|6)$"):
            corruptions.contrast(KEY, images(), jnp.array(severities))

    def test_traced_ones_out_of_range_are_the_nearest(self):
        x = images()
        found = jax.jit(lambda severity: corruptions.contrast(KEY, x, severity))(np.array([-3, 9, 2]))
        np.testing.assert_array_equal(found, corruptions.contrast(KEY, x, np.array([1, 5, 2])))

    def test_the_two_sets_of_numbers_differ(self):
        gentle, strong = (corruptions.contrast(KEY, images(), 3, variant) for variant in ("cifar10_c", "imagenet_c"))
        assert np.std(np.asarray(gentle, float)) > 1.5 * np.std(np.asarray(strong, float))


def test_bytes_are_cut_and_whole_ones_kept():
    every = jnp.arange(256, dtype=jnp.float32) / 255.0
    np.testing.assert_array_equal(record.to_bytes(every), np.arange(256))
    np.testing.assert_array_equal(record.to_bytes(every + 0.9 / 255), np.minimum(np.arange(256), 255))


def test_it_maps_over_batches_within_jit():
    keys = jax.random.split(KEY, 2)
    x = jnp.stack([jnp.asarray(images()), jnp.asarray(images())])
    mapped = jax.jit(jax.vmap(lambda key, x: corruptions.gaussian_noise(key, x, 2)))(keys, x)
    np.testing.assert_array_equal(mapped[1], corruptions.gaussian_noise(keys[1], x[1], 2))


def test_images_that_a_traced_function_closes_over_are_known():
    x, severities = jnp.asarray(images() / np.float32(255)), jnp.array([1, 3, 5])
    expected = corruptions.gaussian_noise(KEY, x, severities)
    np.testing.assert_array_equal(jax.jit(lambda key: corruptions.gaussian_noise(key, x, severities))(KEY), expected)
    _, scanned = jax.lax.scan(lambda carry, key: (carry, corruptions.gaussian_noise(key, x, severities)), 0, KEY[None])
    np.testing.assert_array_equal(scanned[0], expected)
    for outside in (x + 3, np.asarray(x) + 3):
        with pytest.raises(ValueError, match="found values from"):
            jax.jit(lambda key, x=outside: corruptions.contrast(key, x))(KEY)
    for other in (jnp.array([1, 2, 9]), np.array([1, 2, 9])):
        with pytest.raises(ValueError, match="found 9"):
            jax.jit(lambda key, severity=other: corruptions.contrast(key, x, severity))(KEY)


@pytest.mark.parametrize("name", ["jpeg_compression", "gaussian_blur", "contrast"])
def test_within_jit_nan_is_passed_on(name):
    x = np.array(images() / np.float32(255))
    x[1, 2, 3, 0] = np.nan
    found = np.asarray(jax.jit(lambda x: corruptions.ALL[name](KEY, x, 3))(x))
    assert np.isnan(found[1, 2, 3, 0])
    assert not np.isnan(found[[0, 2]]).any()


def test_a_single_image_takes_the_key_itself():
    x = images()
    found = corruptions.gaussian_noise(KEY, x[1], 2)
    np.testing.assert_array_equal(found, corruptions.gaussian_noise(KEY[None], x[1:2], 2)[0])
    assert np.any(found != corruptions.gaussian_noise(KEY, x[1:2], 2)[0])


def test_jpeg_on_the_host_is_that_of_the_device():
    constants = record.at(record.tables(corruptions.jpeg_compression, "imagenet_c", (9, 8, 3)), 2)
    host = corruptions.jpeg_compression.host(images(), constants)
    np.testing.assert_array_equal(corruptions.jpeg_compression(KEY, images(), 2), host)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((KEY, np.zeros((4, 4), np.uint8)), r"expected images of shape .* found \(4, 4\)"),
        ((KEY, np.zeros((1, 4, 4, 2), np.uint8)), "with 1 or 3 channels"),
        ((KEY, np.zeros((4, 4, 3), np.int32)), "dtype uint8, or floating"),
        ((KEY, np.full((4, 4, 3), 255.0, np.float32)), "found values from 255 to 255: .* divide 0 to 255 by 255"),
        ((KEY, np.full((4, 4, 3), -0.1, np.float32)), "found values from -0.1 to -0.1: .* before they are normalized"),
        ((KEY, np.full((4, 4, 3), np.nan, np.float32)), r"found NaN: mend what made it$"),
        # Where XLA passes a NaN over.
        ((KEY, jnp.linspace(0, 1, 4 * 32 * 32 * 3).reshape(4, 32, 32, 3).at[0, 0, 0, 0].set(jnp.nan)), "found NaN"),
        ((KEY, images()[:0]), r"at least one pixel, found \(0, "),
        ((KEY, images(), 6), "severity of 1 to 5, found 6"),
        ((KEY, images(), 2.0), "expected a severity, an integer"),
        ((KEY, images(), True), "expected a severity, an integer"),
        ((KEY, images(), 1, "tiny"), "expected variant to be one of"),
        ((jax.random.split(KEY, 2), images()), r"expected one typed key, or 3: .* shape \(2,\)"),
        ((jnp.zeros(2, jnp.uint32), images()), r"Make one with jax\.random\.key"),
        ((0, images()[0]), r"found <class 'int'> of shape \?\. Make one with jax\.random\.key"),
        ((jnp.uint32(0), images()[0]), r"found uint32 of shape \(\)\. Make one with jax\.random\.key"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        corruptions.contrast(*arguments)


def test_within_jit_what_leaves_the_range_is_clipped():
    x = np.array([-0.5, 0.5, 2.0], np.float32).reshape(1, 3, 1)
    found = jax.jit(lambda x: corruptions.brightness(KEY, x, 1))(np.broadcast_to(x, (4, 3, 3)))
    assert np.min(found) >= 0.0
    assert np.max(found) == 1.0


def test_the_fifteen_and_the_four():
    assert (len(corruptions.COMMON), len(corruptions.EXTRA)) == (15, 4)
    assert all(set(rows) == set(corruptions.ALL) for rows in corruptions.VARIANTS.values())
    assert set(corruptions.ALL) < set(corruptions.__all__)
