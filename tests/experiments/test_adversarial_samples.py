"""The measures of experiments.hybrids.adversarial_samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from experiments.hybrids.adversarial_samples import (
    AdversarialSamplesConfig,
    build,
    by_parts,
    error_of,
    plot_errors,
    random_signs,
)
from jaxgen.data import ArraySource, Splits

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def test_errors_count_the_images_and_confidences_the_wrong_ones():
    logits = jnp.asarray(RNG.normal(size=(700, 3)).astype(np.float32))
    label = np.where(np.arange(700) < 600, np.asarray(logits.argmax(-1)), (np.asarray(logits.argmin(-1))))
    error, confidence = error_of(lambda x: x, logits, label)
    assert error == pytest.approx(1 / 7)
    assert confidence == pytest.approx(softmax(np.asarray(logits), -1).max(-1)[600:].mean(), rel=1e-4)
    assert error_of(lambda x: x, logits, np.asarray(logits.argmax(-1))) == (0.0, 0.0)


def test_random_signs_have_the_size_of_the_attack_and_differ_between_parts():
    x = jnp.zeros((1200, 2, 2, 1))
    found = by_parts(lambda x, key: random_signs(x, 0.3, key), x, KEY)
    np.testing.assert_allclose(np.abs(found), 0.3, rtol=1e-6)
    assert abs(found.mean()) < 0.02 and (found[:500] != found[500:1000]).any()
    assert random_signs(x + 0.9, 0.3, KEY).max() == 1


def test_the_curve_has_the_errors_of_each_epsilon():
    metrics = {
        f"{attack} error, epsilon {e}": e for attack in ("fgsm", "pgd", "random signs") for e in (0.2, 0.1, 0.05)
    }
    axes = plot_errors({**metrics, "pgd l2 error, epsilon 2.0": 9.0, "accuracy": 1.0}).axes[0]
    assert [line.get_label() for line in axes.lines] == ["fgsm", "pgd", "random signs"]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.05, 0.1, 0.2])


def test_the_range_of_images_must_be_known():
    arrays = {"x": RNG.random((20, 8, 8, 1)).astype(np.float32), "label": np.arange(20) % 3}
    splits = Splits(*[ArraySource(arrays, num_classes=3)] * 3)
    with pytest.raises(ValueError, match="`data` must hold integer images, whose range is known"):
        build(AdversarialSamplesConfig(), splits)
    arrays["x"] = (255 * arrays["x"]).astype(np.uint8)
    splits = Splits(*[ArraySource(arrays, num_classes=3, levels=256)] * 3)
    model = build(AdversarialSamplesConfig(training="pgd", training_epsilon=0.3), splits).model
    assert (model.adversarial.epsilon, model.adversarial.steps, model.adversarial.random_start) == (0.6, 7, True)
    assert build(AdversarialSamplesConfig(), splits).model.adversarial is None
    with pytest.raises(ValueError, match="`epsilons` and `pgd_epsilons` must have a number"):
        build(AdversarialSamplesConfig(pgd_epsilons=()), splits)
