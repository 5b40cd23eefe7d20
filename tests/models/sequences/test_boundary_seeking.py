import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.distributions import Signs
from jaxgen.losses import boundary_seeking
from jaxgen.models.sequences import BoundarySeekingGAN, DensityRatioWeights, EqualWeights, Reinforce
from jaxgen.nets import MLP, BatchNorm, DCGANCritic, DCGANGenerator, NoisyMLP
from jaxgen.nets.heads import PositionHead
from jaxgen.nets.recurrent import RecurrentDecoder
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn

BITS = BoundarySeekingGAN(MLP((8,)), MLP((8,)), (3,), latent_dim=2, samples=4, prior=Signs((2,)))
TERNARY = BoundarySeekingGAN(MLP((8,)), MLP((8,)), (2,), levels=3, latent_dim=2, samples=4, prior=Signs((2,)))
IMAGES = BoundarySeekingGAN(
    DCGANGenerator((2, 2), (4, 3), norm=None), DCGANCritic((3, 4), norm=None), (4, 4, 1), latent_dim=3, samples=2,
    critic_samples=1,
)  # fmt: skip
TEXTS = BoundarySeekingGAN(
    MLP((8,)), RecurrentDecoder(4), (5,), levels=4, latent_dim=3, samples=3, critic_head=PositionHead(),
    objective=Reinforce("probability", "none"),
)  # fmt: skip
MODELS = {"bits": BITS, "three levels": TERNARY, "images": IMAGES, "a logit per position": TEXTS}


def all_events(model):
    return np.array(list(itertools.product(range(model.levels), repeat=model.event_shape[0])))


def coordinate_probabilities(model, variables, z):
    """P(x_i = k | z), [Z, D, K], by NumPy."""
    def dense(layer, h):
        return h @ np.asarray(layer["kernel"], float) + np.asarray(layer["bias"], float)

    params = variables["generator"]["params"]
    h = np.maximum(dense(params["network"]["Dense_0"], np.asarray(z, float)), 0)
    logits = dense(params["head"]["out"], h).reshape(len(z), *model.event_shape, -1)
    if model.levels == 2:
        logits = np.concatenate([0 * logits, logits], -1)
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def conditional_probabilities(model, variables, z):
    """g(x|z) of all events, [Z, N]."""
    each, events = coordinate_probabilities(model, variables, z), all_events(model)
    return np.stack([each[:, i, events[:, i]] for i in range(events.shape[1])], -1).prod(-1)


@pytest.mark.parametrize("name", ["bits", "three levels"])
def test_the_probability_of_an_event_is_the_mean_over_all_latents(name):
    model = MODELS[name]
    variables, events, z = drawn(model, batch_for(model)), all_events(model), model.prior.support()
    by_z = conditional_probabilities(model, variables, z)
    np.testing.assert_allclose(jnp.exp(model.log_prob(variables, events)), by_z.mean(0), rtol=1e-5)
    conditional = model.conditional_log_prob(variables, events[:4], z)
    np.testing.assert_allclose(conditional, np.log(by_z[range(4), range(4)]), rtol=1e-5)
    # and the frequencies of samples are these probabilities
    samples = np.asarray(jax.jit(model.sample, static_argnums=2)(variables, KEY, 20_000))
    assert samples.dtype == np.uint8
    index = np.ravel_multi_index(samples.T, (model.levels,) * model.event_shape[0])
    frequencies = np.bincount(index, minlength=len(events)) / len(samples)
    np.testing.assert_allclose(frequencies, by_z.mean(0), atol=4 * np.sqrt(by_z.mean(0).max() / len(samples)))


def test_the_most_probable_values_need_no_key():
    for model in (BITS, TERNARY):
        variables, z = drawn(model, batch_for(model)), model.prior.support()
        each = coordinate_probabilities(model, variables, z)
        np.testing.assert_array_equal(model.decode(variables, z), each.argmax(-1))


def test_without_enumerable_latents_there_is_no_density():
    with pytest.raises(ValueError, match="`prior` must have a finite support"):
        IMAGES.log_prob(drawn(IMAGES, batch_for(IMAGES)), np.zeros((2, 4, 4, 1), np.uint8))


class OverTheBatch:
    """The mistake: weights among the samples of all latents."""

    def __call__(self, log_probs, logits):
        return boundary_seeking(log_probs.reshape(-1, 1), logits.reshape(-1, 1))


def expected_updates(model, variables):
    """By enumeration of a latent's pairs of samples, the expected gradients of the logits of its bits, [Z, D].

    With weights among the samples of the latent, of log-ratio rewards with a baseline, and of probabilities.
    """
    z, events = model.prior.support(), all_events(model)
    g, each = conditional_probabilities(model, variables, z), coordinate_probabilities(model, variables, z)[..., 1]
    a = np.asarray(model.score(variables, events.astype(np.uint8)), float)
    gradients = events[None] - each[:, None]  # of log g(x|z) with respect to the logits, [Z, N, D]
    weights, rewards, probabilities = (np.zeros_like(each) for _ in range(3))
    for i, j in itertools.product(range(len(events)), repeat=2):
        w = np.exp(a[[i, j]]) / np.exp(a[[i, j]]).sum()
        both = g[:, i, None] * g[:, j, None]
        weights += both * (w[0] * gradients[:, i] + w[1] * gradients[:, j])
        rewards += both * ((a[i] - a[j]) * gradients[:, i] + (a[j] - a[i]) * gradients[:, j]) / 2
    for i in range(len(events)):
        probabilities += g[:, i, None] * gradients[:, i] / (1 + np.exp(-a[i]))
    return {"weights": weights, "rewards": rewards, "probabilities": probabilities}


@pytest.fixture(scope="module")
def measured():
    """A linear generator's logits are its parameters by latent, so that means over many keys are compared with sums."""
    model = dataclasses.replace(BITS, samples=2)
    variables = drawn(model, batch_for(model))
    # a critic that matters, and latents that differ: else the mistakes would be small
    variables = jax.tree.map(lambda leaf: 4 * leaf, variables)
    head = jax.tree.map(jnp.asarray, variables["generator"]["params"]["head"])
    batch = {"x": np.zeros((4096, 3), np.uint8)}

    def mean_update(objective):
        """Minus the gradient of the head's bias: the mean over latents of the gradients of the logits."""
        changed = dataclasses.replace(model, objective=objective)

        def gradient(key):
            def loss(bias):
                params = {**variables["generator"]["params"], "head": {"out": {**head["out"], "bias": bias}}}
                whole = {**variables, "generator": {"params": params}}
                return jax.jit(changed.generator_loss)(whole, batch, key, Clock()).value

            return -jax.jit(jax.grad(loss))(head["out"]["bias"])

        return np.asarray(jax.jit(lambda: jax.lax.map(gradient, jax.random.split(KEY, 40)))())

    return mean_update, {name: value.mean(0) for name, value in expected_updates(model, variables).items()}


OBJECTIVES = {
    "weights": DensityRatioWeights(),
    "rewards": Reinforce(),
    "probabilities": Reinforce("probability", "none"),
}


def errors(updates, expected):
    """The mean over keys less the expectation, in standard errors."""
    return (updates.mean(0) - expected) / (updates.std(0) / np.sqrt(len(updates)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_update_is_that_of_the_samples_of_each_latent(name, measured):
    mean_update, expected = measured
    updates = mean_update(OBJECTIVES[name])
    assert np.abs(errors(updates, expected[name])).max() < 4
    assert np.abs(errors(updates, 0)).max() > 20


def test_a_baseline_leaves_the_expected_update(measured):
    mean_update, expected = measured
    without = mean_update(Reinforce("log_ratio", "none"))
    assert np.abs(errors(without, expected["rewards"])).max() < 4
    # what the samples of a latent have in common does not move it
    log_probs, logits = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    by_shift = [jax.jit(jax.grad(Reinforce()))(log_probs, logits + shift) for shift in (0, np.float32([1, -2, 5]))]
    np.testing.assert_allclose(*by_shift, atol=1e-5)


def test_weights_over_the_batch_are_another_update(measured):
    mean_update, expected = measured
    assert np.abs(errors(mean_update(OverTheBatch()), expected["weights"])).max() > 20


def test_equal_weights_say_nothing(measured):
    mean_update, _ = measured
    assert np.abs(errors(mean_update(EqualWeights()), 0)).max() < 4


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "images" else ()) for n in MODELS])
def test_a_step_moves_each_player_by_its_own_play(name):
    model = MODELS[name]
    batch, plays = batch_for(model), model.plays()
    assert isinstance(model, Model)
    first = init_state(model, plays, KEY, batch)
    state, metrics = jax.jit(make_train_step(plays, 0.9))(first, batch)
    for play, values in metrics.items():
        assert values["grad_norm"] > 0 and all(np.isfinite(value) for value in values.values()), (play, values)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, first.params, state.params)
    assert all(np.mean(jax.tree.leaves(leaves)) > 0.5 for leaves in moved.values()), moved
    assert 1 <= float(metrics["generator"]["effective_samples"]) <= model.samples
    evaluated = jax.jit(model.evaluate)(state.variables, batch, KEY)
    assert model.monitor[0] in evaluated and all(np.isfinite(value) for value in evaluated.values())
    again = build(describe(model))
    assert again == model and hash(again) == hash(model)


@pytest.mark.parametrize("name", ["bits", "a logit per position"])
def test_no_play_leads_a_gradient_into_another_player(name):
    model, batch = MODELS[name], batch_for(MODELS[name])
    variables = drawn(model, batch)
    for name, play in model.plays().items():
        def loss(params, play=play):
            whole = {player: {**v, "params": params[player]} for player, v in variables.items()}
            return jax.jit(play.loss)(whole, batch, KEY, Clock()).value

        gradients = jax.jit(jax.grad(loss))({player: v["params"] for player, v in variables.items()})
        sizes = {player: max(float(np.abs(g).max()) for g in jax.tree.leaves(own)) for player, own in gradients.items()}
        assert {player for player, size in sizes.items() if size > 0} == set(play.players)


def test_a_logit_per_position_weighs_that_position_alone():
    """Samples [M, B, T], whose log-probabilities are summed over the axes after the position alone."""
    model = dataclasses.replace(TEXTS, objective=DensityRatioWeights())
    variables, batch = drawn(model, batch_for(model)), batch_for(model)
    shapes = []

    class Shapes:
        def __call__(self, log_probs, logits):
            shapes.append((log_probs.shape, logits.shape))
            return boundary_seeking(log_probs, logits)

    dataclasses.replace(model, objective=Shapes()).generator_loss(variables, batch, KEY, Clock())
    assert shapes == [((3, 6, 5), (3, 6, 5))]
    assert model.score(variables, batch["x"]).shape == (6, 5)


def test_a_critic_that_weighs_does_not_drop_or_move_its_averages():
    """Dropout, noise and batch statistics are those of evaluation: the same samples have the same logits."""
    model = dataclasses.replace(BITS, critic=NoisyMLP((8, 4)), generator=MLP((8,), norm=BatchNorm))
    variables, batch = drawn(model, batch_for(model)), batch_for(model)
    output = jax.jit(model.generator_loss)(variables, batch, KEY, Clock())
    assert set(output.statistics) == {"generator"} and output.statistics["generator"]
    shifted = jax.tree.map(jnp.asarray, variables)
    value = jax.jit(model.generator_loss)(shifted, batch, KEY, Clock()).value
    assert value == output.value
    assert not model.plays()["generator"].accumulates


def test_malformed_arguments_are_named():
    with pytest.raises(ValueError, match="`reward` must be"):
        Reinforce("ratio")
    with pytest.raises(ValueError, match="`baseline` must be"):
        Reinforce(baseline="mean")
    with pytest.raises(ValueError, match="samples"):
        dataclasses.replace(BITS, samples=1)
    with pytest.raises(ValueError, match="`x` must be integers from 0 to 1"):
        BITS.init(KEY, {"x": np.full((2, 3), 2, np.uint8)})
    with pytest.raises(ValueError, match="floats|integers"):
        jax.eval_shape(BITS.init, KEY, {"x": np.zeros((2, 3), np.float32)})
