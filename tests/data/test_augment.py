import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnn_jax.data import augment, example_keys, normalize, random_crop, random_flip

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(autouse=True)
def _strict_ranks():
    with jax.numpy_rank_promotion("raise"):
        yield


def _images(n, side=6, channels=3):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, channels), dtype=np.uint8)


def _keys(n, step=0, first=0):
    return example_keys(jax.random.key(7), step, first, n)


def test_crop_equals_numpy():
    images, keys, padding = _images(40), _keys(40), 2
    expected = np.zeros_like(images)
    for i, image in enumerate(images):
        row, column = jax.random.randint(keys[i], (2,), 0, 2 * padding + 1)
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        expected[i] = padded[row : row + 6, column : column + 6]
    found = jax.jit(random_crop, static_argnames="padding")(keys, images, padding=padding)
    assert found.dtype == jnp.uint8
    np.testing.assert_array_equal(found, expected)


def test_crop_reaches_every_offset_equally():
    image = np.zeros((1, 3, 3, 1), np.uint8)
    image[0, 1, 1, 0] = 1
    crops = random_crop(_keys(9000), jnp.asarray(image.repeat(9000, axis=0)), padding=1)
    counts = np.asarray(crops, int).sum(0)[..., 0]
    assert counts.sum() == 9000
    # Chi-squared with 8 degrees of freedom: 26.1 has probability 0.001.
    assert np.square(counts - 1000).sum() / 1000 < 26.1


def test_no_padding_changes_nothing():
    np.testing.assert_array_equal(random_crop(_keys(4), jnp.asarray(_images(4)), padding=0), _images(4))


def test_flip_equals_numpy_and_is_fair():
    images, keys = _images(2000, side=3), _keys(2000)
    found = np.asarray(jax.jit(random_flip)(keys, images))
    flipped = np.array((found == images[:, :, ::-1]).all((1, 2, 3)))
    np.testing.assert_array_equal(found, np.where(flipped[:, None, None, None], images[:, :, ::-1], images))
    assert 900 < flipped.sum() < 1100


def test_normalize_equals_float64():
    images = _images(4)
    found = normalize(jnp.asarray(images), MEAN, STD)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, (images / 255 - MEAN) / STD, rtol=1e-5, atol=1e-6)


def test_border_is_black_before_normalization():
    keys = _keys(50)
    white = jnp.full((50, 4, 4, 3), 255, jnp.uint8)
    found = np.unique(augment(keys, white, crop_padding=4, flip=True, mean=MEAN, std=STD)[..., 0])
    np.testing.assert_allclose(found, [(0 - MEAN[0]) / STD[0], (1 - MEAN[0]) / STD[0]], rtol=1e-5)


def _augment(keys, images, flip=True):
    return augment(keys, images, crop_padding=2, flip=flip, mean=MEAN, std=STD)


def test_result_does_not_depend_on_how_the_batch_is_divided():
    images = jnp.asarray(_images(12))
    whole = _augment(_keys(12, step=5), images)
    parts = [_augment(_keys(4, 5, first), images[first : first + 4]) for first in (0, 4, 8)]
    np.testing.assert_array_equal(whole, jnp.concatenate(parts))
    mapped = jax.vmap(lambda first, part: _augment(_keys(4, 5, first), part))(
        jnp.array([0, 4, 8]), images.reshape(3, 4, 6, 6, 3)
    )
    np.testing.assert_array_equal(whole, mapped.reshape(whole.shape))


def test_steps_examples_and_seeds_have_their_own_keys():
    keys = [example_keys(jax.random.key(seed), step, 0, 50) for seed in range(3) for step in range(10)]
    data = np.concatenate([jax.random.key_data(block) for block in keys])
    assert len(np.unique(data, axis=0)) == 3 * 10 * 50


def test_augment_is_its_parts_in_order_each_with_its_own_keys():
    images, keys = jnp.asarray(_images(20)), _keys(20)
    crop_keys, flip_keys = (jax.vmap(lambda key, k=k: jax.random.fold_in(key, k))(keys) for k in (0, 1))
    expected = normalize(random_flip(flip_keys, random_crop(crop_keys, images, 2)), MEAN, STD)
    np.testing.assert_array_equal(_augment(keys, images), expected)


def test_step_is_traced_and_compiles_once():
    calls = []

    @jax.jit
    def run(step, images):
        calls.append(step)
        return _augment(example_keys(jax.random.key(0), step, 0, 3), images)

    first, second = run(0, _images(3)), run(1, _images(3))
    assert len(calls) == 1
    assert (first != second).any()


def test_no_flip_keeps_the_crop():
    keys, images = _keys(30), jnp.asarray(_images(30))
    plain, flipped = _augment(keys, images, flip=False), _augment(keys, images)
    same = (plain == flipped).all((1, 2, 3))
    mirrored = (plain[:, :, ::-1] == flipped).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert same.any()
    assert mirrored.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda k, x: random_crop(k[:2], x),
            r"one typed key per image, shape \(3,\), found key.*of shape \(2,\)",
        ),
        (lambda k, x: random_flip(jax.random.key_data(k), x), r"one typed key per image.*found uint32"),
        (lambda k, x: random_flip(k, x[0]), r"images of shape \(B, H, W, C\), found \(6, 6, 3\)"),
        (lambda k, x: random_crop(k, x, -1), r"padding of 0 or more pixels, found -1"),
        (lambda k, x: normalize(x.astype(jnp.float32), MEAN, STD), r"dtype uint8, found float32"),
        (lambda k, x: normalize(x, MEAN[:1], STD), r"length 3, one value per channel, found 1 and 3"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(_keys(3), jnp.asarray(_images(3)))
