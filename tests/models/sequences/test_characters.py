import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock
from jaxgen.data import ArraySource, Splits
from jaxgen.models.gans import GAN, Annealing, GradientPenalty
from jaxgen.models.sequences import character_wgan_gp
from jaxgen.nets import MLP, GumbelSoftmax, Softmax
from jaxgen.training import Settings, fit, init_state, make_train_step
from jaxgen.training.description import build, describe
from tests.models.parameters import batch_for, drawn

KEY = jax.random.key(0)
LENGTH, SYMBOLS = 6, 5
RELAXATIONS = {"softmax": Softmax(), "gumbel": GumbelSoftmax(0.7), "straight through": GumbelSoftmax(0.7, True)}


def small(relaxation=Softmax(), **fields):
    model = character_wgan_gp(LENGTH, SYMBOLS, width=4, blocks=1, latent_dim=3, relaxation=relaxation)
    return dataclasses.replace(model, critic_steps=2, **fields)


MODEL = small()
BATCH = batch_for(MODEL)


def temperature(variables):
    return float(*jax.tree.leaves(variables["generator"]["relaxation"]))


def with_temperatures(variables, value):
    relaxation = jax.tree.map(lambda _: jnp.float32(value), variables["generator"]["relaxation"])
    return {**variables, "generator": {**variables["generator"], "relaxation": relaxation}}


@pytest.mark.slow
@pytest.mark.parametrize("name", RELAXATIONS)
def test_a_step_moves_both_players_by_gradients_of_their_own(name):
    model = small(RELAXATIONS[name])
    plays = model.plays()
    state = init_state(model, plays, KEY, BATCH)
    before = state.params
    state, metrics = jax.jit(make_train_step(plays))(state.replace(phase_step=jnp.int32(1)), BATCH)
    for play, figures in metrics.items():
        assert figures["played"] == 1 and figures["grad_norm"] > 0, play
        assert all(np.isfinite(value) for value in figures.values())
    for player, params in state.params.items():
        moved = [np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before[player], params)), strict=True)]
        # two biases shift all of the critic's scores alike
        assert np.sum(moved) >= len(moved) - (2 if player == "critic" else 0), player


def test_the_critic_minimises_the_papers_loss_on_one_hot_texts_and_probabilities(monkeypatch):
    seen, model = {}, MODEL
    variables = drawn(model, BATCH)
    penalty = GradientPenalty.__call__

    def spied(self, critic, real, fake, key, clock):
        seen.update(real=real, fake=fake, key=key, critic=critic)
        return penalty(self, critic, real, fake, key, clock)

    monkeypatch.setattr(GradientPenalty, "__call__", spied)
    loss = model.critic_loss(variables, BATCH, KEY, Clock())
    real, fake = np.asarray(seen["real"]), np.asarray(seen["fake"])
    np.testing.assert_array_equal(real, np.eye(SYMBOLS, dtype=np.float32)[BATCH["x"]])
    assert fake.shape == (6, LENGTH, SYMBOLS) and 0 < fake.min() and fake.max() < 1
    np.testing.assert_allclose(fake.sum(-1), 1, rtol=1e-5)
    # one number between text and sample for each text, one norm over its positions and symbols
    epsilon = np.asarray(jax.random.uniform(seen["key"], (6, 1, 1)))
    points = [real + e * (fake - real) for e in (epsilon, 1 - epsilon)]
    norms = [np.linalg.norm(jax.grad(lambda x: seen["critic"](x).sum())(p).reshape(6, -1), axis=1) for p in points]
    gap = np.mean(seen["critic"](fake)) - np.mean(seen["critic"](real))
    expected = [gap + 10 * np.mean((norm - 1) ** 2) for norm in norms]
    assert any(np.isclose(loss.value, e, rtol=1e-4) for e in expected)
    # a number for each position, or a norm at each, is another loss
    apart = np.linalg.norm(jax.grad(lambda x: seen["critic"](x).sum())(points[0]), axis=-1)
    assert not np.isclose(loss.value, gap + 10 * np.mean((apart - 1) ** 2), rtol=1e-2)


def test_samples_are_the_most_probable_symbols_and_those_of_gumbel_are_drawn():
    variables = drawn(MODEL, BATCH)
    samples = MODEL.sample(variables, KEY, 8)
    assert samples.shape == (8, LENGTH) and samples.dtype == jnp.uint8 and samples.max() < SYMBOLS
    z = MODEL.noise(KEY, 8)
    np.testing.assert_array_equal(samples, MODEL.decode(variables, z))
    assert len(np.unique(samples)) > 1

    gumbel = small(GumbelSoftmax(0.7))
    variables = with_temperatures(drawn(gumbel, BATCH), 0.7)
    drawn_twice = [np.asarray(gumbel.sample(variables, jax.random.key(i), 2000)) for i in (0, 0, 1)]
    np.testing.assert_array_equal(*drawn_twice[:2])
    assert (drawn_twice[0] != drawn_twice[2]).any()
    # the symbols' frequencies are the mean probabilities, which the most probable symbols do not have
    z = gumbel.noise(jax.random.key(5), 2000)
    probabilities = gumbel._generate(variables["generator"], z, None)[0].mean((0, 1))
    frequencies = np.bincount(drawn_twice[0].reshape(-1), minlength=SYMBOLS) / drawn_twice[0].size
    np.testing.assert_allclose(frequencies, probabilities, atol=0.02)
    modes = gumbel.decode(variables, z)
    assert np.abs(np.bincount(modes.reshape(-1), minlength=SYMBOLS) / modes.size - probabilities).max() > 0.05
    assert {"js1", "js2", "score_gap"} == set(gumbel.evaluate(variables, BATCH, KEY))


def test_evaluation_compares_symbols():
    variables = drawn(MODEL, BATCH)
    figures = MODEL.evaluate(variables, BATCH, KEY)
    expected = MODEL.metrics(BATCH["x"], MODEL.decode(variables, MODEL.noise(KEY, 6)))
    assert float(figures["js2"]) == pytest.approx(float(expected["js2"]), rel=1e-5)


@pytest.mark.slow
def test_the_temperature_falls_geometrically_with_the_generators_moves():
    model = small(GumbelSoftmax(2.0), terms=(GradientPenalty(), Annealing(0.5, 4)))
    plays = model.plays()
    state = init_state(model, plays, KEY, BATCH)
    step, seen = jax.jit(make_train_step(plays)), []
    for _ in range(12):
        state, _ = step(state, BATCH)
        seen.append(temperature({"generator": state.collections["generator"]}))
    falling = [2.0 * 0.25 ** (move / 4) for move in range(5)] + [0.5, 0.5]
    # the generator moves on every other step
    np.testing.assert_allclose(seen, [falling[(i + 1) // 2] for i in range(12)], rtol=1e-4)
    with pytest.raises(ValueError, match="`Annealing` requires relaxation=GumbelSoftmax"):
        small(terms=(Annealing(0.5, 4),))
    with pytest.raises(ValueError, match="`final` must be above 0"):
        Annealing(0.0)


@pytest.mark.parametrize("relaxation", RELAXATIONS.values(), ids=RELAXATIONS)
def test_models_can_be_written_down(relaxation):
    model = small(relaxation)
    again = build(json.loads(json.dumps(describe(model))))
    assert repr(again) == repr(model) and again.relaxation == relaxation


def test_symbols_need_a_number_of_them():
    with pytest.raises(ValueError, match="`relaxation` requires data of integers 0..levels-1, got levels=None"):
        GAN(MLP((4,)), MLP((4,)), (6,), relaxation=Softmax())
    with pytest.raises(ValueError, match="the model expects integers 0..4, got float32"):
        MODEL.init(KEY, {"x": np.zeros((2, LENGTH), np.float32)})
    with pytest.raises(ValueError, match="`x` must be"):
        MODEL.init(KEY, {"x": np.full((2, LENGTH), SYMBOLS)})


@pytest.mark.slow
def test_it_learns_which_symbols_follow():
    """Sequences that count up from a random symbol: each symbol is as frequent, and the next one is known."""
    rng = np.random.default_rng(0)
    x = ((rng.integers(0, SYMBOLS, (2000, 1)) + np.arange(LENGTH)) % SYMBOLS).astype(np.uint8)
    sources = Splits(*(ArraySource({"x": part}, levels=SYMBOLS, name="counting") for part in np.split(x, [1600, 1800])))
    model = character_wgan_gp(LENGTH, SYMBOLS, width=16, blocks=1, latent_dim=8, critic_steps=5)
    settings = Settings(steps=2000, batch_size=32, ema=0.0, eval_every=2000, checkpoint_every=2000)
    optimizers = dict.fromkeys(model.plays(), optax.adam(1e-3, 0.5, 0.9))
    trained = fit(model, sources, settings, optimizers=optimizers, progress=False)
    samples = np.asarray(trained.sample(KEY, 200)).astype(int)
    # a fifth by chance
    follows = ((samples[:, 1:] - samples[:, :-1]) % SYMBOLS == 1).mean()
    assert follows > 0.6 and len(np.unique(samples)) == SYMBOLS
