"""Warps against SciPy, similarities against a least-squares solver, gradients against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize

from jaxgen.warping import affine_coordinates, affine_warp, similarity, warp

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 7, 9, 3)).astype(np.float32)  # higher than wide would hide an exchange of x and y
MODES = {"zero": "grid-constant", "edge": "nearest"}
MATRICES = np.array([[[0.9, -0.4, 2.3], [0.3, 1.2, -1.1]], [[-0.7, 0.2, 7.5], [0.1, 0.5, 0.4]]], np.float32)


def by_scipy(coordinates, border):
    rows = []
    for image, where in zip(IMAGES, coordinates, strict=True):
        y_then_x = where[..., ::-1].transpose(2, 0, 1)
        channels = [
            scipy.ndimage.map_coordinates(image[..., c].astype(np.float64), y_then_x, order=1, mode=MODES[border])
            for c in range(3)
        ]
        rows.append(np.stack(channels, -1))
    return np.stack(rows)


@pytest.mark.parametrize("border", MODES)
def test_samples_are_those_of_map_coordinates_inside_and_beyond_the_border(border):
    coordinates = RNG.uniform(-4, 13, (2, 40, 25, 2)).astype(np.float32)
    whole = np.stack(np.meshgrid(np.arange(-2.0, 12), np.arange(-2.0, 10)), -1).astype(np.float32)
    for where in (coordinates, np.stack([whole, whole])):
        warped = jax.jit(warp, static_argnums=2)(IMAGES, where, border)
        np.testing.assert_allclose(warped, by_scipy(where, border), atol=2e-5)


@pytest.mark.parametrize("border", MODES)
def test_affine_warps_are_those_of_affine_transform(border):
    warped = affine_warp(IMAGES, MATRICES, border)
    for image, matrix, result in zip(IMAGES, MATRICES, warped, strict=True):
        rows_first = matrix[::-1, :2][:, ::-1]
        for c in range(3):
            expected = scipy.ndimage.affine_transform(
                image[..., c].astype(np.float64), rows_first, matrix[::-1, 2], order=1, mode=MODES[border]
            )
            np.testing.assert_allclose(result[..., c], expected, atol=2e-5)


def test_x_runs_along_columns_and_the_warp_is_backward():
    image = np.zeros((1, 5, 6, 1), np.float32)
    image[0, 1, 4] = 1  # y = 1, x = 4
    moved = affine_warp(image, jnp.array([[[1.0, 0, 3], [0, 1, 0]]]))  # the output at x is the input at x + 3
    assert float(moved[0, 1, 1, 0]) == 1 and float(moved.sum()) == 1


def test_the_identity_is_exact_and_whole_shifts_are():
    identity = jnp.tile(jnp.array([[[1.0, 0, 0], [0, 1, 0]]]), (2, 1, 1))
    np.testing.assert_array_equal(affine_warp(IMAGES, identity), IMAGES)
    np.testing.assert_array_equal(jax.jit(affine_warp)(IMAGES, identity), IMAGES)
    shifted = affine_warp(IMAGES, identity.at[:, 0, 2].set(2).at[:, 1, 2].set(-1))
    np.testing.assert_array_equal(shifted[:, 1:, :-2], IMAGES[:, :-1, 2:])
    assert not np.asarray(shifted[:, :1]).any() and not np.asarray(shifted[:, :, -2:]).any()


def by_differences(function, arguments, directions, step=1e-6):
    """The derivative of a function along a direction."""
    beyond, before = ([x + sign * step * d for x, d in zip(arguments, directions, strict=True)] for sign in (1, -1))
    return (function(*beyond) - function(*before)) / (2 * step)


@pytest.mark.slow
@pytest.mark.parametrize("border", MODES)
def test_gradients_are_those_of_differences(border):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        weights = rng.normal(size=(2, 6, 5, 3))

        def sampled(images, coordinates):
            return (weights * warp(images, coordinates, border)).sum()

        def warped(images, matrices):
            return (weights * affine_warp(images, matrices, border)[:, :6, :5]).sum()

        # no coordinate may be whole: bilinear samples have a kink there
        matrices = MATRICES + 0.03 * rng.normal(size=MATRICES.shape)
        coordinates = rng.uniform(-3, 11, (2, 6, 5, 2))
        for function, where in ((sampled, coordinates), (warped, matrices)):
            arguments = IMAGES.astype(np.float64), where
            directions = [rng.normal(size=x.shape) for x in arguments]
            gradients = jax.grad(function, (0, 1))(*arguments)
            for i in range(2):
                along = [d if i == j else np.zeros_like(d) for j, d in enumerate(directions)]
                expected = by_differences(function, arguments, along)
                np.testing.assert_allclose((gradients[i] * directions[i]).sum(), expected, rtol=1e-6)


def test_a_similarity_is_the_solution_of_least_squares():
    points, targets, weights = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 5, 2)), RNG.uniform(size=(3, 5))
    solved = np.asarray(similarity(points.astype(np.float32), targets.astype(np.float32), weights.astype(np.float32)))
    for p, t, w, found in zip(points, targets, weights, solved, strict=True):
        one, zero = np.ones(5), np.zeros(5)
        rows = np.concatenate([np.stack([p[:, 0], -p[:, 1], one, zero], 1), np.stack([p[:, 1], p[:, 0], zero, one], 1)])
        root = np.sqrt(np.tile(w, 2))
        a, b, c, d = np.linalg.lstsq(root[:, None] * rows, root * t.T.ravel(), rcond=None)[0]
        np.testing.assert_allclose(found, [[a, -b, c], [b, a, d]], atol=1e-5)

        def error(matrix, p=p, t=t, w=w):
            a, b, c, d = matrix
            return (w[:, None] * (p @ np.array([[a, b], [-b, a]]) + (c, d) - t) ** 2).sum()

        best = scipy.optimize.minimize(error, np.zeros(4), tol=1e-10).fun
        assert error((found[0, 0], found[1, 0], found[0, 2], found[1, 2])) < best + 1e-6


def test_a_similarity_of_two_points_takes_them_to_their_targets():
    points = jnp.array([[3.0, 1.0], [5.0, 9.0]])
    targets = jnp.array([[1.0, 2.0], [-4.0, 2.5]])
    matrix = similarity(points, targets)
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], targets, atol=1e-5)
    assert float(jnp.linalg.det(matrix[:, :2])) > 0  # without reflection


def test_degenerate_points_give_shifts_and_finite_gradients():
    same, targets = jnp.full((2, 2), 3.0), jnp.array([[1.0, 5.0], [2.0, 6.0]])
    np.testing.assert_allclose(similarity(same, targets), [[1, 0, -1.5], [0, 1, 2.5]])
    points = jnp.array([[3.0, 1.0], [5.0, 9.0]])
    np.testing.assert_allclose(similarity(points, targets, jnp.zeros(2)), [[1, 0, 0], [0, 1, 0]])
    one = similarity(points, targets, jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(one, [[1, 0, -3], [0, 1, -3]])
    for weights in (jnp.ones(2), jnp.zeros(2)):
        gradients = jax.grad(lambda p, t, w=weights: similarity(p, t, w).sum(), (0, 1))(same, targets)
        assert np.isfinite(gradients).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: warp(IMAGES, np.zeros((2, 4, 4, 3))), "`coordinates` .B, h, w, 2."),
        (lambda: warp(IMAGES, np.zeros((1, 4, 4, 2))), "`coordinates` must have shape"),
        (lambda: warp(IMAGES, np.zeros((2, 4, 4, 2)), "reflect"), "`border` must be 'zero' or 'edge', got 'reflect'"),
        (lambda: affine_warp(IMAGES, np.zeros((2, 3, 3))), "`matrices` .B, 2, 3."),
        (lambda: similarity(np.zeros((4, 2)), np.zeros((5, 2))), "of one shape"),
        (lambda: similarity(np.zeros((4, 3)), np.zeros((4, 3))), "must be .*N, 2"),
    ],
)
def test_malformed_arguments_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_matrices_take_pixels_to_coordinates():
    coordinates = affine_coordinates(jnp.asarray(MATRICES), 3, 4)
    x, y = 3, 1
    np.testing.assert_allclose(coordinates[0, y, x], MATRICES[0] @ (x, y, 1), rtol=1e-6)
