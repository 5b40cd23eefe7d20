"""TimeGAN: its losses against NumPy, whom each play moves, its phases, and its methods."""

import dataclasses
import itertools
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.data import ArraySource
from jaxgen.models.sequences import time_gan
from jaxgen.training import Settings, fit, fit_seeds
from jaxgen.training.description import build, describe
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, drawn

MODELS = {"authors": time_gan((5, 2), 3, 1, gamma=0.7), "paper": time_gan((5, 2), 3, 1, closed_loop=True)}
X = np.random.default_rng(0).random((8, 5, 2)).astype(np.float32)
BATCH = {"x": X}
PLAYS = {
    "authors": {
        "autoencoder": ("embedder", "recovery"), "supervisor": ("supervisor",),
        "generator": ("generator", "supervisor"),
        "embedder": ("embedder", "recovery"), "critic": ("critic",),
    },
    "paper": {
        "autoencoder": ("embedder", "recovery"), "supervisor": ("generator",), "generator": ("generator",),
        "embedder": ("embedder", "recovery"), "critic": ("critic",),
    },
}  # fmt: skip


def all_plays(model):
    return {name: play for phase in model.phases(8) for name, play in phase.plays.items()}


def softplus(x):
    return np.logaddexp(0, np.asarray(x, np.float64)).mean()


@pytest.mark.slow
@pytest.mark.parametrize("variant", MODELS)
def test_each_play_moves_its_players_and_no_other(variant):
    model = MODELS[variant]
    variables = drawn(model, BATCH)
    found = all_plays(model)
    assert {name: play.players for name, play in found.items()} == PLAYS[variant]
    for name, play in found.items():
        gradient = jax.jit(jax.grad(lambda v, play=play: play.loss(v, BATCH, KEY, Clock()).value))(variables)
        for player in play.players:
            for leaf in jax.tree.leaves(gradient[player]):
                assert float(jnp.abs(leaf).max()) > 1e-8, (name, player)
        # the critic's play has no gradient for those whom it judges
        if name == "critic":
            others = [gradient[player] for player in ("embedder", "generator")]
            assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(others))


def test_supervision_reaches_the_generator_in_the_papers_game_alone():
    """In the authors' code the second phase lists the generator's variables, but their gradient is zero."""
    for variant, reached in (("authors", False), ("paper", True)):
        model = MODELS[variant]
        loss = jax.jit(jax.grad(lambda v, m=model: m.supervisor_loss(v, BATCH, KEY, Clock()).value))
        gradient = loss(drawn(model, BATCH))["generator"]
        assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient)) == reached


@pytest.mark.slow
@pytest.mark.parametrize("variant", MODELS)
def test_losses_are_the_equations(variant):
    model = MODELS[variant]
    variables = drawn(model, BATCH)

    def run(player, *inputs):
        return np.asarray(getattr(model, player).apply(variables[player], *inputs), np.float64)

    h = run("embedder", X)
    error = np.sqrt(((X - run("recovery", h)) ** 2).mean())
    loss = jax.jit(model.autoencoder_loss)(variables, BATCH, KEY, Clock())
    np.testing.assert_allclose(loss.value, 10 * error, rtol=1e-5)

    z_key, supervised_key = jax.random.split(KEY)
    if variant == "authors":
        predicted = run("supervisor", h)[:, :-1]
    else:
        predicted = run("generator", model.noise(KEY, 8), h)[:, 1:]
    supervised = ((h[:, 1:] - predicted) ** 2).mean()
    np.testing.assert_allclose(model.supervisor_loss(variables, BATCH, KEY, Clock()).value, supervised, rtol=1e-5)
    loss = jax.jit(model.embedder_loss)(variables, BATCH, KEY, Clock())
    np.testing.assert_allclose(loss.value, 10 * error + 0.1 * supervised, rtol=1e-5)

    e = run("generator", model.noise(z_key, 8))
    if variant == "authors":
        generated = run("supervisor", e)
        adversarial = softplus(-run("critic", generated)) + 0.7 * softplus(-run("critic", e))
    else:
        generated, adversarial = e, softplus(-run("critic", e))
        predicted = run("generator", model.noise(supervised_key, 8), h)[:, 1:]
        supervised = ((h[:, 1:] - predicted) ** 2).mean()
    x = run("recovery", generated)
    moments = np.abs(np.sqrt(x.var(0) + 1e-6) - np.sqrt(X.var(0) + 1e-6)).mean() + np.abs(x.mean(0) - X.mean(0)).mean()
    loss = jax.jit(model.generator_loss)(variables, BATCH, KEY, Clock())
    np.testing.assert_allclose(loss.value, adversarial + 100 * np.sqrt(supervised) + 100 * moments, rtol=1e-5)

    e = run("generator", model.noise(KEY, 8))
    fakes = [(run("supervisor", e), 1.0), (e, 0.7)] if variant == "authors" else [(e, 1.0)]
    value = softplus(-run("critic", h)) + sum(weight * softplus(run("critic", fake)) for fake, weight in fakes)
    np.testing.assert_allclose(model.critic_loss(variables, BATCH, KEY, Clock()).value, value, rtol=1e-5)


def test_the_critic_waits_below_the_threshold():
    model = MODELS["authors"]
    variables = drawn(model, BATCH)
    value = float(model.critic_loss(variables, BATCH, KEY, Clock()).value)
    for threshold, moves in ((value - 0.01, True), (value + 0.01, False)):
        changed = dataclasses.replace(model, critic_threshold=threshold)
        loss, gradient = jax.jit(jax.value_and_grad(
            lambda p, m=changed: m.critic_loss({**variables, "critic": p}, BATCH, KEY, Clock()).value
        ))(variables["critic"])
        assert loss == pytest.approx(value) and any(np.asarray(g).any() for g in jax.tree.leaves(gradient)) == moves


def test_phases_are_a_quarter_a_quarter_and_a_half_and_the_critic_moves_at_every_second_step():
    model = MODELS["authors"]
    phases = model.phases(13)
    assert [(phase.steps, list(phase.plays)) for phase in phases] == [
        (3, ["autoencoder"]), (3, ["supervisor"]), (7, ["generator", "embedder", "critic"])
    ]  # fmt: skip
    assert all(phase.fresh_optimizers for phase in phases)  # the authors' five optimizers have moments of their own
    joint = phases[2].plays
    assert joint["generator"].when is joint["embedder"].when is None
    assert [bool(joint["critic"].when(Clock(step=9, phase_step=i))) for i in range(4)] == [False, True, False, True]
    with pytest.raises(ValueError, match="`steps` must be integers of at least 4, got 3"):
        model.phases(3)


@pytest.mark.parametrize("variant", MODELS)
def test_methods_and_description(variant):
    model = MODELS[variant]
    variables = drawn(model, BATCH)
    assert isinstance(model, Model) and build(describe(model)) == model
    trained = TrainedModel(model, variables)
    samples = trained.sample(jax.random.key(1), 4)
    assert samples.shape == (4, 5, 2) and np.isfinite(samples).all() and 0 < samples.min() and samples.max() < 1
    assert len(np.unique(np.asarray(samples), axis=0)) == 4
    np.testing.assert_array_equal(trained.reconstruct(X), trained.decode(trained.encode(X)))
    metrics = model.evaluate(variables, BATCH, KEY)
    assert set(metrics) == {"reconstruction_error", "supervised_error", "sliced_wasserstein"}
    with pytest.raises(ValueError, match="`x` must be a batch of events of shape"):
        model.encode(variables, X[:, :4])
    with pytest.raises(ValueError, match="`gamma` must be at least 0, got -1"):
        dataclasses.replace(model, gamma=-1.0)


@pytest.mark.slow
def test_training_learns_resumes_and_seeds_run_side_by_side(tmp_path):
    model, start = time_gan((5, 2), 6, 1), np.random.default_rng(1).uniform(0, 6, (256, 1, 1))
    x = (0.5 + 0.4 * np.sin(start + np.arange(5)[:, None] + [0, 1])).astype(np.float32)
    settings = Settings(steps=240, batch_size=32, ema=0.0, checkpoint_every=60, eval_every=240, steps_per_call=30)
    run = partial(fit, model, optimizers=dict.fromkeys(all_plays(model), optax.adam(1e-2)), progress=False)
    whole = run(ArraySource({"x": x}), settings, out=tmp_path / "whole")
    error = model.evaluate(whole.variables, {"x": x}, KEY)["reconstruction_error"]
    assert error < 0.15 < np.std(x)

    class Stopping(ArraySource):
        def indices_at(self, step, size, seed):
            if step == 190:  # in the third phase, ten steps after a checkpoint
                raise RuntimeError("stopped")
            return super().indices_at(step, size, seed)

    phases = model.phases(240)
    stopping = (*phases[:2], phases[2]._replace(data=Stopping({"x": x})))
    with pytest.raises(RuntimeError, match="stopped"):
        run(ArraySource({"x": x}), settings, phases=stopping, out=tmp_path / "halves")
    resumed = run(ArraySource({"x": x}), settings, out=tmp_path / "halves", resume=True)
    chex.assert_trees_all_equal(resumed.variables, whole.variables)
    pair = fit_seeds(model, x, dataclasses.replace(settings, steps=8), seeds=(0, 1), progress=False)
    alone = fit(model, x, dataclasses.replace(settings, steps=8), progress=False)
    chex.assert_trees_all_close(pair[0].variables, alone.variables, rtol=1e-3, atol=1e-4)


def test_fields_decide_the_networks():
    for closed, (width, layers) in itertools.product((False, True), ((3, 1), (4, 3))):
        model = time_gan((5, 2), width, layers, closed)
        assert (model.supervisor is None) == closed and model.latent_dim == 2 and model.generator.layers == layers
        if not closed:
            assert model.supervisor.layers == max(1, layers - 1)
