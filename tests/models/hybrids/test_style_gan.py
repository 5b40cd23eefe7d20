"""StyleGAN: its losses and lazy regularisation, styles and their mixtures, truncation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.models.gans import R1, Lazy
from jaxgen.models.hybrids import PathLength, StyleGAN
from jaxgen.nets import MLP, Projection, StyleCritic, StyleGenerator, StyleMapping, StyleSynthesis
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, batch_for, drawn

class Synthesis(nn.Module):
    """Dense layers in place of convolutions, which take long to compile, with noise."""

    num_styles = 4

    @nn.compact
    def __call__(self, styles):
        h = nn.tanh(nn.Dense(5)(styles.reshape(len(styles), -1)))
        if self.has_rng("noise"):
            h += 0.3 * jax.random.normal(self.make_rng("noise"), h.shape)
        return nn.Dense(16)(h).reshape(-1, 4, 4, 1)


MODEL = StyleGAN(
    StyleGenerator(StyleMapping(5, 1), Synthesis()), MLP((3,), nn.tanh), (4, 4, 1), latent_dim=4, levels=17,
    terms=(Lazy(R1(100.0), 3),), path_length=PathLength(2.0, 0.9, every=3),
)  # fmt: skip
CONVOLUTIONAL = dataclasses.replace(
    MODEL, generator=StyleGenerator(StyleMapping(5, 1), StyleSynthesis(1, (4, 4), (3, 2))),
    critic=StyleCritic((2, 3), 2), event_shape=(8, 8, 1),
)  # fmt: skip
BATCH = batch_for(MODEL)
VARIABLES = drawn(MODEL, BATCH)
LAYERS = 4


@functools.cache
def penalty(every):
    """By parameters and moves, the path lengths' part of the generator's loss with the loss, and its gradient."""
    model = dataclasses.replace(MODEL, path_length=PathLength(2.0, 0.9, every=every))

    def part(params, moves):
        variables = {**VARIABLES, "generator": {**VARIABLES["generator"], "params": params}}
        loss = model.generator_loss(variables, BATCH, KEY, Clock(moves, moves, moves))
        return loss.metrics["path_penalty"], loss

    return jax.jit(jax.value_and_grad(part, has_aux=True))


def penalised(every, moves):
    return [penalty(every)(VARIABLES["generator"]["params"], jnp.int32(move)) for move in moves]


@pytest.mark.slow
def test_lazy_path_lengths_keep_the_mean_gradient():
    """Every third move three times as strong: the penalty is multiplied by its interval."""
    ((value, loss), gradient), = penalised(1, [0])
    lazy = penalised(3, [0, 1, 2, 5])
    values = [float(v) for (v, _), _ in lazy]
    assert float(value) > 1e-2 and values[:2] == [0, 0]
    assert values[2:] == pytest.approx([3 * float(value)] * 2, rel=1e-4)
    mean = jax.tree.map(lambda *leaves: sum(leaves) / 3, *(g for _, g in lazy[:3]))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 1e-2
    for a, b in zip(jax.tree.leaves(mean), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    # it is in the loss
    assert float(lazy[2][0][1].value - lazy[0][0][1].value) == pytest.approx(values[2], rel=1e-3)
    # the first lengths are the first average
    fresh = {**VARIABLES, "generator": {**VARIABLES["generator"], "path_length": {"mean": jnp.zeros(())}}}
    first = jax.jit(MODEL.generator_loss)(fresh, BATCH, KEY, Clock(*[jnp.int32(2)] * 3)).metrics["path_length"]
    mean_length = 10 * loss.metrics["path_length"] - 9 * VARIABLES["generator"]["path_length"]["mean"]
    assert float(first) == pytest.approx(float(mean_length), rel=1e-4)
    # between them the moving average stays
    before, after = VARIABLES["generator"]["path_length"]["mean"], loss.statistics["generator"]["path_length"]["mean"]
    assert float(lazy[0][0][1].statistics["generator"]["path_length"]["mean"]) == float(before) != float(after)


def test_the_penalty_is_that_of_the_jacobian():
    ((_, loss), _), = penalised(1, [0])
    path_key = jax.random.split(KEY)[1]
    z_key, styles_key, noise_key, direction_key = jax.random.split(path_key, 4)
    generator = VARIABLES["generator"]
    styles = jax.jit(lambda: MODEL._styles(generator, MODEL.noise(z_key, 3), None, styles_key)[0])()
    y = np.asarray(jax.random.normal(direction_key, (3, 4, 4, 1)))
    jacobian = jax.jit(jax.jacrev(lambda styles: MODEL._synthesize(generator, styles, noise_key)))(styles)
    own = np.stack([jacobian[i, ..., i, :, :] for i in range(3)])
    product = np.einsum("bhvckw,bhvc->bkw", own, y) / 4
    lengths = np.sqrt((product**2).sum(-1).mean(-1))
    target = 0.9 * generator["path_length"]["mean"] + 0.1 * lengths.mean()
    assert float(loss.metrics["path_length"]) == pytest.approx(target, rel=1e-4)
    assert float(loss.metrics["path_penalty"]) == pytest.approx(2 * ((lengths - target) ** 2).mean(), rel=1e-3)


def test_a_fraction_of_samples_takes_the_upper_styles_from_another_latent():
    generator, z = VARIABLES["generator"], MODEL.noise(KEY, 400)
    unmixed = dataclasses.replace(MODEL, mixing=0.0)
    (own, _), (mixed, statistics), (never, _) = jax.jit(lambda: (
        MODEL._styles(generator, z, None), MODEL._styles(generator, z, None, KEY),
        unmixed._styles(generator, z, None, KEY)
    ))()  # fmt: skip
    np.testing.assert_array_equal(own[:, 0], own[:, 3])
    np.testing.assert_allclose(mixed[:, 0], own[:, 0], rtol=1e-5)
    same = np.isclose(mixed, own, rtol=1e-5).all(-1)
    # once the other latent begins it stays
    assert (np.diff(same.astype(int), axis=1) <= 0).all()
    lengths = np.bincount(same.sum(1), minlength=LAYERS + 1) / 400
    np.testing.assert_allclose(lengths, [0, 0.3, 0.3, 0.3, 0.1], atol=0.08)
    np.testing.assert_allclose(mixed[:, 1][~same[:, 1]], mixed[:, 3][~same[:, 1]], rtol=1e-5)
    # the mean style follows, in training alone
    mean = statistics["batch_stats"]["mapping"]["mean"]
    expected = 0.995 * generator["batch_stats"]["mapping"]["mean"] + 0.005 * own[:, 0].mean(0)
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(never, own, rtol=1e-5)


def test_truncation_goes_to_the_mean_style():
    trained, z = TrainedModel(MODEL, VARIABLES), MODEL.noise(KEY, 5)
    whole, half, none = (trained.styles(z, truncation=t) for t in (1.0, 0.5, 0.0))
    mean = VARIABLES["generator"]["batch_stats"]["mapping"]["mean"]
    np.testing.assert_allclose(none, np.broadcast_to(mean, none.shape), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(half, (whole + none) / 2, rtol=1e-4, atol=1e-5)
    images = trained.sample(KEY, 5, truncation=0.0)
    assert images.shape == (5, 4, 4, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.broadcast_to(images[:1], images.shape))
    synthesized = trained.synthesize(whole)
    np.testing.assert_array_equal(trained.decode(z), synthesized)
    # noise needs a key
    assert (trained.synthesize(whole, KEY) != synthesized).any()


def test_critics_penalty_is_lazy_and_as_strong():
    loss = jax.jit(MODEL.critic_loss)
    never, computed = (loss(VARIABLES, BATCH, KEY, Clock(*[jnp.int32(i)] * 3)) for i in (0, 2))
    penalty = float(computed.metrics["penalty"])
    assert float(never.metrics["penalty"]) == 0 and penalty > 1e-2
    assert float(computed.value - never.value) == pytest.approx(penalty, rel=1e-3)
    assert "generator" not in never.statistics


def test_it_is_a_model_that_can_be_written_down():
    assert isinstance(CONVOLUTIONAL, Model) and build(describe(CONVOLUTIONAL)) == CONVOLUTIONAL
    accumulates = [[play.accumulates for play in model.plays().values()] for model in (MODEL, CONVOLUTIONAL)]
    # critics with groups of examples compare them
    assert accumulates == [[True, False], [False, False]]


@pytest.mark.parametrize(
    ("model", "conditional"),
    [(MODEL, True), *(pytest.param(CONVOLUTIONAL, c, marks=pytest.mark.slow) for c in (False, True))],
)
def test_it_trains(model, conditional):
    batch = batch_for(model)
    if conditional:
        model = dataclasses.replace(model, critic_condition=Projection())
        batch = {**batch, "context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
    plays = model.plays()
    assert list(plays) == ["critic", "generator"]
    state = jax.jit(lambda key: init_state(model, plays, key, batch))(KEY)
    before = state.collections["generator"]
    step = make_train_step(plays, ema=0.9)
    state, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, _: step(s, batch), state, length=6))(state)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, metrics)))
    penalty = np.asarray(metrics["generator"]["path_penalty"])
    np.testing.assert_array_equal(penalty > 0, [False, False, True] * 2)
    after = state.collections["generator"]
    assert float(after["path_length"]["mean"]) > 0
    assert np.abs(after["batch_stats"]["mapping"]["mean"]).max() > 0
    jax.tree.map(np.testing.assert_array_equal, before.get("constants"), after.get("constants"))
    context = None if not conditional else np.eye(3, dtype=np.float32)[:1]
    trained = TrainedModel(model, state.average)
    assert jnp.isfinite(trained.evaluate(batch, KEY)["score_gap"])
    samples = trained.sample(KEY, 3, context)
    assert samples.shape == (3, *model.event_shape)


def test_other_shapes_and_values_are_refused():
    small = dataclasses.replace(MODEL, event_shape=(2, 2, 1))
    with pytest.raises(ValueError, match=r"`generator` must make images of shape \(2, 2, 1\), got \(4, 4, 1\)"):
        jax.eval_shape(small.init, KEY, batch_for(small))
    with pytest.raises(ValueError, match="`mixing` must be"):
        dataclasses.replace(MODEL, mixing=1.5)
    with pytest.raises(ValueError, match="`every` must be"):
        PathLength(every=0)
    assert isinstance(MODEL.plays()["critic"].optimizer, optax.GradientTransformation)
