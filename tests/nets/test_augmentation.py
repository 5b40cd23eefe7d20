import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.augmentation import (
    Affine,
    Brightness,
    Contrast,
    Cutout,
    InstanceNoise,
    Jitter,
    Mirror,
    QuarterTurns,
    Saturation,
    Translation,
)

KEY = jax.random.key(0)
X = jax.random.uniform(jax.random.key(1), (40, 9, 8, 3), minval=-1, maxval=1)
AUGMENTATIONS = {
    "brightness": (Brightness(), Brightness(0.0)),
    "saturation": (Saturation(), Saturation(0.0)),
    "contrast": (Contrast(), Contrast(0.0)),
    "translation": (Translation(0.3), Translation(0.0)),
    "cutout": (Cutout(), Cutout(0.0)),
    "noise": (InstanceNoise(0.5, 100), InstanceNoise(0.0, 100)),
}


@pytest.mark.parametrize(("some", "none"), AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_of_no_strength_it_is_the_identity_and_of_some_it_differs_by_row(some, none, channels):
    x = X[..., :channels]
    np.testing.assert_array_equal(none(x, KEY, 0), x)
    same = jnp.tile(x[:1], (40, 1, 1, 1))
    y = some(same, KEY, jnp.int32(0))
    assert y.shape == x.shape and y.dtype == x.dtype
    np.testing.assert_array_equal(some(same, KEY, 0), y)
    if isinstance(some, Saturation) and channels == 1:
        np.testing.assert_array_equal(y, same)
    else:
        assert len(np.unique(np.asarray(y).reshape(40, -1), axis=0)) > 10
        assert np.abs(some(same, jax.random.key(5), 0) - y).max() > 1e-3
    if not isinstance(some, InstanceNoise):
        with pytest.raises(ValueError, match="must be images"):
            some(x[0], KEY, 0)


@pytest.mark.parametrize(("some", "none"), AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_gradients_flow_to_each_image_from_its_own_score(some, none):
    weights = jax.random.normal(KEY, X.shape)
    gradient = jax.jit(jax.grad(lambda x: (weights * some(x, KEY, 0)).sum()))(X)
    # all of these are affine in x: the gradient gives the value back
    offset = some(jnp.zeros_like(X), KEY, 0)
    np.testing.assert_allclose((gradient * X).sum(), (weights * (some(X, KEY, 0) - offset)).sum(), rtol=1e-3)
    assert (np.abs(gradient).max((1, 2, 3)) > 0).all()
    one = jax.jit(jax.grad(lambda x: (weights * some(x, KEY, 0))[2].sum()))(X)
    np.testing.assert_array_equal(np.abs(one).max((1, 2, 3)) > 0, np.arange(40) == 2)


def factors(some, x, middle):
    """By how much each image's distance from its middle grows: one number an image, over all of its pixels."""
    ratio = np.asarray((some(x, KEY, 0) - middle) / (x - middle)).reshape(len(x), -1)
    np.testing.assert_allclose(ratio.std(1), 0, atol=1e-2)
    return np.median(ratio, 1)


def test_colours():
    x = jnp.tile(X, (25, 1, 1, 1))
    shift = np.asarray(Brightness()(x, KEY, 0) - x).reshape(1000, -1)
    assert np.ptp(shift, axis=1).max() < 1e-5
    # uniform: the bounds, and the moments within four of their standard errors
    contrasts = factors(Contrast(), x, x.mean((1, 2, 3), keepdims=True))
    y, mean = Saturation()(x, KEY, 0), x.mean(-1, keepdims=True)
    np.testing.assert_allclose(y.mean(-1, keepdims=True), mean, atol=1e-5)
    saturations = ((y - mean) * (x - mean)).sum((1, 2, 3)) / ((x - mean) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(y, mean + saturations[:, None, None, None] * (x - mean), atol=1e-4)
    for drawn, low, high in ((shift[:, 0], -0.5, 0.5), (contrasts, 0.5, 1.5), (saturations, 0.0, 2.0)):
        assert low - 1e-3 < np.min(drawn) < low + 0.05 and high - 0.05 < np.max(drawn) < high + 1e-3
        assert np.mean(drawn) == pytest.approx((low + high) / 2, abs=4 * (high - low) / np.sqrt(12_000))


def test_a_translation_is_by_whole_pixels_with_zeros_coming_in():
    x = jnp.tile(1 + X[:1], (500, 1, 1, 1))
    y = np.asarray(Translation(0.2)(x, KEY, 0))
    # 9 and 8 pixels by a fifth, rounded: up to two each way
    wide = np.pad(x[0], ((2, 2), (2, 2), (0, 0)))
    seen = {
        (i, j): np.array_equal(wide[i : i + 9, j : j + 8], row) for row in y for i in range(5) for j in range(5)
        if np.array_equal(wide[i : i + 9, j : j + 8], row)
    }  # fmt: skip
    assert len(seen) == 25
    matches = sum(any(np.array_equal(wide[i : i + 9, j : j + 8], row) for i, j in seen) for row in y)
    assert matches == 500


@pytest.mark.parametrize(("ratio", "sides"), [(0.5, (5, 4)), (0.25, (2, 2)), (1.0, (9, 8))])
def test_a_cutout_is_a_rectangle_of_zeros_anywhere(ratio, sides):
    x = jnp.ones((400, 9, 8, 2))
    y = np.asarray(Cutout(ratio)(x, KEY, 0))
    assert set(np.unique(y)) == {0.0, 1.0}
    np.testing.assert_array_equal(y[..., 0], y[..., 1])
    gone = y[..., 0] == 0
    down, across = gone.any(2), gone.any(1)
    np.testing.assert_array_equal(gone, down[:, :, None] & across[:, None])
    for hit, side in zip((down, across), sides):
        assert hit.sum(1).max() == side and (np.abs(np.diff(hit.astype(int), axis=1)).sum(1) <= 2).all()
        # every place is hit, those at the edges too; at an edge half of it is left
        assert (hit.mean(0) > 0.05).all()
        assert hit.sum(1).min() == (side + 1) // 2


def test_instance_noise_fades():
    noise, x = InstanceNoise(0.4, 10), jnp.zeros((100, 100))
    for step, std in ((0, 0.4), (5, 0.2), (10, 0.0), (20, 0.0)):
        drawn = jax.jit(noise)(x, KEY, jnp.int32(step))
        assert np.std(drawn) == pytest.approx(std, rel=0.05) and abs(np.mean(drawn)) <= 0.05 * std


def test_jitter_crops_the_enlarged_picture_and_mirrors_half():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6, 8, 2)).astype(np.float32)
    y = np.asarray(jax.jit(Jitter(1.25))(x, KEY, 0))
    large = np.asarray(jax.image.resize(x, (64, 8, 10, 2), "bilinear"))
    found = []
    for picture, original in zip(y, large, strict=True):
        windows = {
            (i, j, mirror): original[i : i + 6, j : j + 8][:, :: -1 if mirror else 1]
            for i in range(3) for j in range(3) for mirror in (False, True)
        }  # fmt: skip
        (place,) = [place for place, window in windows.items() if np.abs(window - picture).max() < 1e-5]
        found.append(place)
    assert {place[:2] for place in found} == {(i, j) for i in range(3) for j in range(3)}
    assert 0.3 < np.mean([place[2] for place in found]) < 0.7
    np.testing.assert_array_equal(Jitter(1.0, mirror=False)(x, KEY, 0), x)
    mirrored = np.asarray(Jitter(1.0)(x, KEY, 0))
    assert {np.array_equal(a, b) or 2 * np.array_equal(a, b[:, ::-1]) for a, b in zip(mirrored, x, strict=True)} == {
        1,
        2,
    }
    with pytest.raises(ValueError, match="`scale` must be at least 1"):
        Jitter(0.9)


def test_mirrors_and_quarter_turns_are_rearrangements():
    x = X[:, :8]
    options = {
        Mirror(): lambda a: [a, a[:, ::-1]],
        QuarterTurns(): lambda a: [np.rot90(a, turns) for turns in range(4)],
    }
    for augmentation, each in options.items():
        found = [
            [np.array_equal(y, option) for option in each(np.asarray(a))].index(True)
            for a, y in zip(x, augmentation(x, KEY, 0), strict=True)
        ]
        assert set(found) == set(range(len(each(x[0]))))
    with pytest.raises(ValueError, match="square"):
        QuarterTurns()(X, KEY, 0)


@pytest.mark.slow
def test_affine_warps_turn_scale_and_shift_around_the_centre():
    np.testing.assert_allclose(Affine(0, 0, 0, 0)(X, KEY, 0), X, atol=1e-5)
    # a disc around the centre is the same after all rotations, and is as large as the scale makes it
    axis = jnp.arange(33.0) - 16
    disc = jnp.clip(9 - jnp.hypot(axis[:, None], axis), 0, 1)[None, :, :, None].repeat(60, 0)
    np.testing.assert_allclose(Affine(0, 0, shift=0)(disc, KEY, 0), disc, atol=0.35)
    areas = np.asarray(Affine(0.3, 0, shift=0)(disc, KEY, 0).sum((1, 2, 3)) / disc[0].sum())
    assert np.log2(areas).std() / 2 == pytest.approx(0.3, rel=0.3)
    # stretching keeps the area
    stretched = np.asarray(Affine(0, 0.2, shift=0)(disc, KEY, 0))
    np.testing.assert_allclose(stretched.sum((1, 2, 3)) / float(disc[0].sum()), 1, atol=0.05)
    assert (stretched - np.asarray(disc)).std() > 0.05
    # shifts move the centre of mass, by an eighth of the side or so
    shifted = np.asarray(Affine(0, 0, 0, 0.05)(disc, KEY, 0))[..., 0]
    mass = shifted.sum((1, 2))
    centre = np.stack([(shifted.sum(1) @ np.asarray(axis)) / mass, (shifted.sum(2) @ np.asarray(axis)) / mass])
    np.testing.assert_allclose(centre.std(1), 0.05 * 33, rtol=0.35)
    np.testing.assert_allclose(centre.mean(1), 0, atol=0.8)
