"""Conditional sequences by maximum likelihood: likelihoods, padding, greedy translations."""

import jax
import numpy as np
import pytest

import jaxgen
from jaxgen.contracts import Clock
from jaxgen.data import TokenSource, Vocabulary
from jaxgen.models.sequences import ConditionalSequences
from jaxgen.nets import AttentionSeq2Seq

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
MODEL = ConditionalSequences(AttentionSeq2Seq(5, 5, 4, width=6))
CONTEXT = np.array([[2, 3, 0], [4, 2, 0], [3, 0, 0]], np.int32)
TOKENS = np.array([[3, 2, 0, 0], [2, 4, 3, 0], [4, 2, 3, 3]], np.int32)
BATCH = {"x": TOKENS, "context": CONTEXT}


@pytest.fixture(scope="module")
def variables():
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(MODEL.init, KEY, BATCH)
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape).astype(np.float32), shapes)


@pytest.mark.slow
def test_likelihoods_end_with_the_end_token(variables):
    log_probs = MODEL.log_probs(variables, TOKENS, CONTEXT)
    expected = [log_probs[0, :3].sum(), log_probs[1].sum(), log_probs[2].sum()]
    np.testing.assert_allclose(MODEL.log_prob(variables, TOKENS, CONTEXT), expected, rtol=1e-5)
    loss = MODEL.mle_loss(variables, BATCH, KEY, Clock())
    np.testing.assert_allclose(loss.value, -np.mean(expected), rtol=1e-5)
    np.testing.assert_allclose(loss.metrics["nll"], -np.sum(expected) / 11, rtol=1e-5)
    metrics = MODEL.evaluate(variables, BATCH, KEY)
    np.testing.assert_allclose([metrics["nll"], metrics["nll_per_token"]], [loss.value, loss.metrics["nll"]], rtol=1e-5)
    # more padding changes nothing
    short = {"x": TOKENS[:2], "context": CONTEXT[:2]}
    padded = {name: np.pad(array, ((0, 0), (0, 2))) for name, array in short.items()}
    values = [MODEL.mle_loss(variables, batch, KEY, Clock()).value for batch in (short, padded)]
    np.testing.assert_allclose(*values, rtol=1e-5)


@pytest.mark.slow
def test_samples_end_and_depend_on_their_context(variables):
    samples = np.asarray(MODEL.sample(variables, KEY, 600, np.repeat(CONTEXT, 200, 0)))
    ended = np.cumsum(samples == 0, 1) > 0
    assert (samples[ended] == 0).all() and ended.any() and samples.shape == (600, 4)
    fractions = np.stack([np.bincount(part[:, 0], minlength=5) / 200 for part in np.split(samples, 3)])
    first = [[np.full((1, 4), token), context[None]] for context in CONTEXT for token in range(5)]
    tokens, contexts = (np.concatenate(parts) for parts in zip(*first, strict=True))
    probabilities = np.exp(MODEL.log_probs(variables, tokens, contexts)[:, 0]).reshape(3, 5)
    np.testing.assert_allclose(fractions, probabilities, atol=0.12)
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.02
    greedy = np.asarray(MODEL.translate(variables, CONTEXT))
    assert greedy[:, 0].tolist() == probabilities.argmax(1).tolist()
    one = MODEL.sample(variables, KEY, 4, CONTEXT[:1], temperature=0.0)
    np.testing.assert_array_equal(one, np.broadcast_to(greedy[0], (4, 4)))


def test_batches_without_tokens_are_refused(variables):
    for batch, error, message in (
        ({"x": TOKENS}, ValueError, "a batch must have the entry 'context'"),
        ({"x": TOKENS, "context": CONTEXT[:2]}, ValueError, "`context` must have shape"),
        ({"x": TOKENS / 2, "context": CONTEXT}, TypeError, "`x` must be integers"),
    ):
        with pytest.raises(error, match=message):
            MODEL.init(KEY, batch)


@pytest.mark.slow
def test_it_learns_to_copy_and_is_loaded_by_itself(tmp_path):
    words = RNG.integers(2, 7, (512, 3)).astype(np.int32)
    x = np.pad(words, ((0, 0), (0, 1)))
    words = Vocabulary([*"abcde"])
    source = TokenSource({"x": x, "context": x}, vocabulary=words, context_vocabulary=words)
    model = ConditionalSequences(AttentionSeq2Seq(7, 7, 4, width=24))
    settings = jaxgen.training.Settings(steps=600, batch_size=64, ema=0.0, steps_per_call=100)
    jaxgen.fit(model, source, settings, out=tmp_path / "run", progress=False)
    trained = jaxgen.load(tmp_path / "run")
    assert (np.asarray(trained.translate(x)) == x).all(1).mean() > 0.95
    assert source.texts(np.asarray(trained.sample(KEY, 1, x[:1], temperature=0.0))) == source.texts(x[:1])
