import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats
from scipy.special import log_softmax, softmax

from jaxgen.losses import auxiliary, semi_supervised

bottleneck, next_dual, feature_matching, class_loss, categorical_information, normal_information = map(
    jax.jit,
    (
        auxiliary.bottleneck, auxiliary.next_dual, auxiliary.feature_matching, auxiliary.class_loss,
        auxiliary.categorical_information, auxiliary.normal_information,
    ),
)  # fmt: skip
k_plus_one_labelled = jax.jit(semi_supervised.k_plus_one_labelled)
k_plus_one_unlabelled = jax.jit(semi_supervised.k_plus_one_unlabelled)
LABELS = np.array([2, 0, 1, 1])


def normals(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_class_losses_are_cross_entropies_of_the_rows_own_classes():
    logits = 3 * normals(4, 3)
    expected = -np.mean([log_softmax(logits[i])[LABELS[i]] for i in range(4)])
    assert float(class_loss(jnp.asarray(logits), LABELS)) == pytest.approx(expected, rel=1e-5)
    # another row's class, and the classes in another order, cost something else
    for other in (np.roll(LABELS, 1), 2 - LABELS):
        assert abs(float(class_loss(jnp.asarray(logits), other)) - expected) > 0.05
    assert float(class_loss(1e4 * jnp.eye(3)[LABELS], LABELS)) == 0
    with pytest.raises(TypeError):
        class_loss(jnp.asarray(logits), np.eye(3)[LABELS])


def test_the_bound_of_categorical_codes_reaches_their_information():
    # x of five values under three equally likely codes, each pair in proportion in a batch of 3 x 20
    counts = np.array([[8, 1, 3, 4, 4], [1, 9, 5, 4, 1], [2, 2, 2, 2, 12]])
    codes, x = np.repeat(np.arange(3), 20), np.concatenate([np.repeat(np.arange(5), row) for row in counts])
    joint = counts / 60
    information = (joint * np.log(joint / joint.sum(0) * 3)).sum()
    best = jnp.log(jnp.asarray(joint.T))
    assert float(categorical_information(best[x], codes)) == pytest.approx(information, rel=1e-5)
    for seed in range(3):
        assert float(categorical_information(best[x] + normals(5, 3, seed=seed)[x], codes)) < information - 1e-3
    # at most log K, at certainty; nothing, for a Q that knows nothing
    assert float(categorical_information(1e4 * jnp.eye(3)[codes], codes)) == pytest.approx(np.log(3), rel=1e-6)
    assert float(categorical_information(jnp.zeros((60, 3)), codes)) == pytest.approx(0, abs=1e-6)


def test_the_information_of_independent_codes_adds_up():
    logits, codes = jnp.asarray(normals(4, 2, 3)), np.stack([LABELS, LABELS[::-1]], 1)
    parts = [float(categorical_information(logits[:, i], codes[:, i])) for i in range(2)]
    assert float(categorical_information(logits, codes)) == pytest.approx(sum(parts), rel=1e-5)


def test_the_bound_of_continuous_codes_is_a_normal_log_likelihood_and_their_entropy():
    mean, log_variance, codes = normals(3, 4, 2)
    log_q = stats.norm(mean, np.exp(log_variance / 2)).logpdf(codes)
    got = normal_information(*map(jnp.asarray, (mean, log_variance, codes)))
    assert float(got) == pytest.approx(log_q.sum(1).mean() + 2 * np.log(2), rel=1e-5)


def test_the_bound_of_normal_codes_reaches_their_information():
    # x = c + noise of standard deviation 1/2, c standard normal: the information is 1/2 log(1 + 1 / s^2)
    variance = 0.25 / 1.25
    # c given x, less its mean, in a batch of exactly its variance
    residual = np.float32(np.sqrt(variance) * np.array([[-1.0], [1.0]]))
    entropy = 0.5 * np.log(2 * np.pi * np.e)
    best = jnp.full((2, 1), np.log(variance))
    assert float(normal_information(jnp.zeros((2, 1)), best, residual, entropy)) == pytest.approx(
        0.5 * np.log(5), rel=1e-5
    )
    for wrong in (best + 0.5, best - 0.5):
        assert float(normal_information(jnp.zeros((2, 1)), wrong, residual, entropy)) < 0.5 * np.log(5) - 0.05


def test_k_plus_one_classes_are_those_of_logits_and_a_zero():
    real, fake = normals(4, 3), 2 * normals(5, 3, seed=1)
    p_real, p_fake = (softmax(np.concatenate([a, np.zeros((len(a), 1))], 1), 1) for a in (real, fake))
    among_real = p_real[np.arange(4), LABELS] / p_real[:, :3].sum(1)
    assert float(k_plus_one_labelled(jnp.asarray(real), LABELS)) == pytest.approx(-np.log(among_real).mean(), rel=1e-5)
    expected = -0.5 * np.log(1 - p_real[:, 3]).mean() - 0.5 * np.log(p_fake[:, 3]).mean()
    got = k_plus_one_unlabelled(jnp.asarray(real), jnp.asarray(fake))
    assert float(got) == pytest.approx(expected, rel=1e-5)
    # real is any class, and high logits say real
    to_real, to_fake = jax.grad(k_plus_one_unlabelled, argnums=(0, 1))(jnp.asarray(real), jnp.asarray(fake))
    assert (to_real < 0).all() and (to_fake > 0).all()


def test_sure_logits_cost_what_they_should():
    sure = jnp.array([[1e4, 0.0, 0.0]])
    assert float(k_plus_one_labelled(sure, jnp.array([1]))) == pytest.approx(1e4)
    # wrong on both, with Z of 1e4 and, of two equal logits, -1e4 + log 2
    assert float(k_plus_one_unlabelled(-sure - 1e4, sure)) == pytest.approx(1e4 - np.log(2) / 2)
    assert float(k_plus_one_unlabelled(sure, -sure - 1e4)) == pytest.approx(0, abs=1e-6)
    gradients = jax.grad(k_plus_one_unlabelled, argnums=(0, 1))(-sure - 1e4, sure)
    assert np.isfinite(gradients).all()


def test_features_are_matched_by_their_means():
    real, fake = normals(4, 2, 3), normals(5, 2, 3, seed=1)
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    assert float(feature_matching(jnp.asarray(real), jnp.asarray(fake))) == pytest.approx(expected, rel=1e-5)
    # rows that differ one by one, with the same mean, are matched
    assert float(feature_matching(jnp.array([[1.0], [3.0]]), jnp.array([[2.0], [2.0]]))) == 0


def test_moments_over_examples_are_matched():
    real, fake = normals(4, 2, 3), 2 * normals(5, 2, 3, seed=1) + 1
    deviations = np.sqrt(real.var(0) + 1e-6), np.sqrt(fake.var(0) + 1e-6)
    expected = np.abs(deviations[0] - deviations[1]).mean() + np.abs(real.mean(0) - fake.mean(0)).mean()
    assert float(auxiliary.moment_matching(real, fake)) == pytest.approx(expected, rel=1e-5)
    # equal examples have a variance of zero, and a finite gradient
    assert np.isfinite(jax.grad(auxiliary.moment_matching, 1)(real, np.ones((3, 2, 3), np.float32))).all()


def test_the_bottleneck_is_held_by_its_dual():
    kl = jnp.array([1.0, 5.0])
    assert float(bottleneck(kl, 0.5, 2.0)) == pytest.approx(0.5)
    # slack is a reward, while beta is not yet zero
    assert float(bottleneck(kl, 0.5, 4.0)) == pytest.approx(-0.5)
    np.testing.assert_allclose(jax.grad(bottleneck)(kl, 0.5, 2.0), [0.25, 0.25])
    assert float(jax.grad(bottleneck, argnums=1)(kl, 0.5, 2.0)) == 0
    assert float(next_dual(0.5, kl, 2.0, 0.1)) == pytest.approx(0.6)
    assert float(next_dual(0.5, kl, 4.0, 0.1)) == pytest.approx(0.4)
    assert float(next_dual(0.5, kl, 40.0, 0.1)) == 0
    np.testing.assert_array_equal(jax.grad(next_dual, argnums=1)(0.5, kl, 2.0, 0.1), 0)


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):

        @jax.jit
        def weighted(a, b, c):
            values = (
                class_loss(a, LABELS), categorical_information(a, LABELS), normal_information(a, b, c),
                k_plus_one_labelled(b, LABELS), k_plus_one_unlabelled(a, b), feature_matching(b, c),
            )  # fmt: skip
            return sum(np.sqrt(i + 2) * value for i, value in enumerate(values))

        given = tuple(jnp.asarray(normals(4, 3, seed=s)) for s in range(3))
        check_grads(weighted, given, order=1, modes=["rev"], rtol=1e-6)


def test_features_are_matched_layer_by_layer():
    """Squared distances of means over the batch, then means over each layer's features, summed over layers."""
    real = [normals(5, 3), normals(5, 2, 2, 4, seed=1)]
    fake = [normals(7, 3, seed=2), normals(7, 2, 2, 4, seed=3)]
    expected = sum(((r.mean(0) - f.mean(0)) ** 2).mean() for r, f in zip(real, fake, strict=True))
    match = jax.jit(auxiliary.layerwise_feature_matching)
    assert float(match(real, fake)) == pytest.approx(expected, rel=1e-5)
    # PyTorch's HingeEmbeddingLoss with target 1 is the distance itself: it is minimised, and zero for equal means
    assert float(match(real, [r[::-1] for r in real])) == pytest.approx(0, abs=1e-6)
    gradient = jax.grad(lambda f: match(real[:1], [f]))(fake[0])
    assert float(match(real[:1], [fake[0] - 0.1 * gradient])) < float(match(real[:1], fake[:1]))
    for other in ([], real[:1]):
        with pytest.raises(ValueError, match="equally many layers, at least one, got"):
            auxiliary.layerwise_feature_matching(other, fake)
