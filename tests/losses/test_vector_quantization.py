import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses.vector_quantization import (
    averaged_codebook,
    codebook_loss,
    commitment_loss,
    k_means,
    nearest_codes,
    perplexity,
    restart_dead_codes,
    straight_through,
    update_averages,
)

KEY = jax.random.key(0)


def normals(*shape, seed=0):
    return np.float32(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_the_nearest_code_is_the_nearest(offset):
    # far from the origin too, where |e|^2 / 2 - z e rounds away what decides
    z, codebook = normals(6, 4, 5, 3) + np.float32(offset), normals(50, 3, seed=1) + np.float32(offset)
    codes = jax.jit(nearest_codes)(z, codebook)
    distances = ((z[..., None, :].astype(np.float64) - codebook) ** 2).sum(-1)
    chosen = np.take_along_axis(distances, np.asarray(codes)[..., None], -1)[..., 0]
    assert codes.shape == (6, 4, 5) and codes.dtype == jnp.int32
    np.testing.assert_allclose(chosen, distances.min(-1), rtol=1e-4, atol=1e-4)
    assert len(np.unique(codes)) > 20


def test_both_losses_are_sums_over_an_event_and_means_over_the_batch():
    z_e, e = normals(5, 3, 2, 4), normals(5, 3, 2, 4, seed=1)
    expected = ((z_e - e) ** 2).sum((1, 2, 3)).mean()
    for loss in (codebook_loss, commitment_loss):
        value, (to_z, to_e) = jax.value_and_grad(loss, argnums=(0, 1))(z_e, e)
        assert float(value) == pytest.approx(expected, rel=1e-5)
        # each moves one of the two; with the weights exchanged, beta would slow the codes and not the encoder
        moved, still, sign = (to_e, to_z, -1) if loss is codebook_loss else (to_z, to_e, 1)
        np.testing.assert_allclose(moved, sign * 2 * (z_e - e) / 5, rtol=1e-5)
        np.testing.assert_array_equal(still, 0)


def test_straight_through_is_the_code_with_the_encoders_gradient():
    z_e, e, weights = 1e4 * normals(4, 3), normals(4, 3, seed=1), normals(4, 3, seed=2)
    # exactly: what the decoder is trained on is what it will be given
    np.testing.assert_array_equal(jax.jit(straight_through)(z_e, e), e)
    to_z, to_e = jax.grad(lambda z, e: (weights * straight_through(z, e)).sum(), argnums=(0, 1))(z_e, e)
    np.testing.assert_array_equal(to_z, weights)
    np.testing.assert_array_equal(to_e, 0)
    # computed before the losses it would leave the codebook where it is
    np.testing.assert_array_equal(jax.grad(lambda e: codebook_loss(z_e, straight_through(z_e, e)))(e), 0)


def test_averages_become_the_means_of_what_the_codes_stand_for():
    z, codes = normals(2, 3, 4), np.array([[0, 2, 2], [0, 2, 0]])
    counts, sums = np.float32([1, 2, 3, 4]), normals(4, 4, seed=1)
    new_counts, new_sums = jax.jit(update_averages)(counts, sums, z, codes, 0.75)
    np.testing.assert_allclose(new_counts, 0.75 * counts + 0.25 * np.float32([3, 0, 3, 0]), rtol=1e-6)
    total = np.stack([z[codes == k].sum(0) for k in range(4)])
    np.testing.assert_allclose(new_sums, 0.75 * sums + 0.25 * total, rtol=1e-5, atol=1e-6)
    for _ in range(60):
        new_counts, new_sums = update_averages(new_counts, new_sums, z, codes, 0.75)
    codebook = averaged_codebook(new_counts, new_sums)
    for k in (0, 2):
        np.testing.assert_allclose(codebook[k], z[codes == k].mean(0), rtol=1e-3, atol=1e-4)
    # Laplace's smoothing keeps what nothing is nearest to finite, and the total as it is
    assert np.isfinite(averaged_codebook(jnp.array([5.0, 0.0]), jnp.ones((2, 3)))).all()
    smoothed = 1 / averaged_codebook(jnp.array([6.0, 2.0]), jnp.ones((2, 1)), smoothing=1.0)[:, 0]
    np.testing.assert_allclose(smoothed, [8 * 7 / 10, 8 * 3 / 10], rtol=1e-6)


def test_codes_out_of_use_are_put_on_vectors_of_the_batch():
    z = normals(3, 10, 4)
    counts, sums = np.float32([10, 0.01, 6, 0, 4]), normals(5, 4, seed=1)
    restart = jax.jit(restart_dead_codes)
    new_counts, new_sums = restart(counts, sums, z, KEY, 0.1)
    alive, dead = [0, 2, 4], [1, 3]
    np.testing.assert_array_equal(new_counts[np.array(alive)], counts[alive])
    np.testing.assert_array_equal(new_sums[np.array(alive)], sums[alive])
    placed = np.asarray(averaged_codebook(new_counts, new_sums, smoothing=0.0))[dead]
    distances = np.abs(placed[:, None] - z.reshape(-1, 4)).max(-1)
    assert distances.min(-1).max() < 1e-5 and distances[0].argmin() != distances[1].argmin()
    # not dead at once, but unless it is used, the next time
    np.testing.assert_array_equal(restart(new_counts, new_sums, z, jax.random.key(1), 0.08)[1], new_sums)
    unused = update_averages(new_counts, new_sums, z, np.zeros((3, 10), int), 0.9)
    again = restart(*unused, z, jax.random.key(1), 0.1)[1]
    assert np.abs(again[1] - unused[1][1]).max() > 1e-3
    # more codes than vectors
    assert np.isfinite(restart(jnp.zeros(5).at[0].set(1.0), sums, z[:1, :2], KEY)[1]).all()


def test_k_means_finds_clusters_and_keeps_empty_centres():
    centres = np.float32([[0, 0], [10, 0], [0, 10], [10, 10]])
    points = (centres[:, None] + 0.1 * normals(4, 50, 2)).reshape(-1, 2)
    k = jax.jit(k_means, static_argnums=(2, 3))

    def distortion(found):
        return ((points[:, None] - np.asarray(found)) ** 2).sum(-1).min(-1).mean()

    before, after = k(KEY, points, 12, 0), k(KEY, points, 12, 10)
    assert {tuple(p) for p in np.asarray(before)} <= {tuple(p) for p in points}
    assert distortion(after) < 0.8 * distortion(before) and distortion(after) < 0.02
    # converged: each centre is the mean of its points
    nearest = np.asarray(nearest_codes(points, after))
    for i in np.unique(nearest):
        np.testing.assert_allclose(after[i], points[nearest == i].mean(0), rtol=1e-3, atol=1e-3)
    few = k(KEY, points[:3], 7, 5)
    assert few.shape == (7, 2) and {tuple(p) for p in np.asarray(few)} == {tuple(p) for p in points[:3]}


def test_perplexity_counts_codes_in_use():
    assert float(perplexity(jnp.full(8, 3.0))) == pytest.approx(8, rel=1e-5)
    assert float(perplexity(jnp.array([0, 0, 7, 0]))) == pytest.approx(1)
    p = np.array([0.5, 0.25, 0.125, 0.125])
    assert float(perplexity(jnp.asarray(80 * p))) == pytest.approx(2 ** (-p @ np.log2(p)), rel=1e-5)
    with pytest.raises(ValueError):
        perplexity(jnp.ones((2, 3)))
