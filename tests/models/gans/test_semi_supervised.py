import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.gans import R1, Proximal, SemiSupervisedGAN
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, drawn

GAME = SemiSupervisedGAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, num_classes=3, unlabelled_weight=0.6)
KNOWN, UNKNOWN = (np.random.default_rng(i).normal(size=(n, 2)).astype(np.float32) for i, n in ((0, 4), (1, 6)))
LABELS = np.array([2, 0, 1, 1])
BATCH = {"labelled": {"x": KNOWN, "label": LABELS}, "unlabelled": {"x": UNKNOWN}}
VARIABLES = drawn(GAME, BATCH)
PARAMS = {player: v["params"] for player, v in VARIABLES.items()}


def probabilities(params, x):
    """Probabilities of the classes, and last of samples."""
    logits = linear(params["critic"], x)
    return jax.nn.softmax(jnp.concatenate([logits, jnp.zeros((len(x), 1))], -1))


def samples(params):
    return linear(params["generator"], Z)


@pytest.mark.slow
def test_the_critic_tells_classes_and_samples_apart():
    def expected(params):
        known = probabilities(params, KNOWN)
        supervised = -jnp.log(known[np.arange(4), LABELS] / known[:, :3].sum(1)).mean()
        data, fake = probabilities(params, UNKNOWN), probabilities(params, samples(params))
        unsupervised = -0.5 * jnp.log(1 - data[:, 3]).mean() - 0.5 * jnp.log(fake[:, 3]).mean()
        return supervised + 0.6 * unsupervised

    figures = as_written(GAME.plays()["critic"], VARIABLES, BATCH, expected).metrics
    right = (linear(PARAMS["critic"], KNOWN).argmax(-1) == LABELS).mean()
    assert 0 < right < 1 and float(figures["labelled_accuracy"]) == pytest.approx(right)
    whole = figures["supervised"] + 0.6 * figures["unsupervised"]
    assert float(whole) == pytest.approx(float(expected(PARAMS)), rel=1e-4)


def test_the_generator_matches_the_features_of_unlabelled_data():
    # of a critic without layers they are the rows
    def expected(params):
        return ((UNKNOWN.mean(0) - samples(params).mean(0)) ** 2).sum()

    play = GAME.plays()["generator"]
    assert play.players == ("generator",)
    as_written(play, VARIABLES, BATCH, expected)


def test_rows_are_classified_among_the_classes_of_data():
    rows = {"x": UNKNOWN, "label": np.array([0, 1, 2, 0, 1, 2])}
    log_p, score, figures = jax.jit(
        lambda v: (GAME.classify(v, UNKNOWN), GAME.score(v, UNKNOWN), GAME.evaluate(v, rows, KEY))
    )(VARIABLES)
    logits = linear(PARAMS["critic"], UNKNOWN)
    np.testing.assert_allclose(log_p, jax.nn.log_softmax(logits), rtol=1e-4, atol=1e-6)
    # the logit of data against samples
    p = np.asarray(probabilities(PARAMS, UNKNOWN))[:, 3]
    np.testing.assert_allclose(score, np.log(1 - p) - np.log(p), rtol=1e-3, atol=1e-5)
    right = (logits.argmax(-1) == rows["label"]).mean()
    assert 0 < right < 1 and float(figures["accuracy"]) == pytest.approx(right)


def test_one_source_and_what_it_has_no_use_for_are_refused():
    with pytest.raises(ValueError, match="entries 'labelled' and 'unlabelled', got"):
        GAME.init(KEY, {"x": UNKNOWN})
    for field in ({"packing": 2}, {"terms": (R1(),)}, {"terms": (Proximal(),)}):
        with pytest.raises(ValueError, match=r"requires packing=1 and terms=\(\), got"):
            dataclasses.replace(GAME, **field)
