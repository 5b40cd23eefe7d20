"""GLO and GLANN: the table of latents and its optimizer, the matches, and samples that drop no mode."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model, model_phases
from jaxgen.data import ArraySource
from jaxgen.models.hybrids import GLANN, GLO
from jaxgen.models.hybrids.epochs import projected_rows, restarted
from jaxgen.nets import MLP, BatchNorm
from jaxgen.nets.vgg import VGG
from jaxgen.training import Settings, fit, fit_seeds
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, drawn

RNG = np.random.default_rng(5)
MODEL = GLANN(
    MLP((6,), nn.tanh), (3, 3, 1), 24, epoch=3, mapping=MLP((7,), norm=BatchNorm), latent_dim=4, levels=9, noise_dim=2,
)  # fmt: skip
X = RNG.integers(0, 9, (24, 3, 3, 1)).astype(np.int32)
INDEX = np.array([3, 20, 7, 11, 0, 5], np.int32)
BATCH = {"x": X[INDEX], "index": INDEX}


def ready(model=MODEL):
    return drawn(model, BATCH)


def loss_of(play, variables, model=MODEL, clock=Clock(), batch=BATCH):
    return model.plays()[play].loss(variables, batch, KEY, clock)


def generated(variables, z):
    """G of latents on the unit sphere, by NumPy: [B, 9]."""
    params = variables["generator"]["params"]
    h = np.tanh(z @ np.asarray(params["network"]["Dense_0"]["kernel"]) + params["network"]["Dense_0"]["bias"])
    return 1 / (1 + np.exp(-(h @ np.asarray(params["head"]["out"]["kernel"]) + params["head"]["out"]["bias"])))


def unit(z):
    z = np.asarray(z, np.float64)
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_the_loss_compares_each_example_with_its_own_latent():
    variables = ready()
    z = unit(variables["latents"]["params"]["table"])[INDEX]
    expected = np.abs(generated(variables, z) - X[INDEX].reshape(6, -1) / 8).mean()
    np.testing.assert_allclose(loss_of("glo", variables).value, expected, rtol=1e-5)
    # another order of the batch, with its indices, is the same batch
    other = {name: a[::-1] for name, a in BATCH.items()}
    np.testing.assert_allclose(loss_of("glo", variables, batch=other).value, expected, rtol=1e-5)


def test_features_are_compared_without_a_square():
    model = dataclasses.replace(
        MODEL, features=VGG("relu2_1", (2, 3), (1, 1), mean=(0.0,) * 3), layers=("relu2_1",), event_shape=(4, 4, 1)
    )
    batch = {"x": RNG.integers(0, 9, (6, 4, 4, 1)).astype(np.int32), "index": INDEX}
    variables = drawn(model, batch)
    z = unit(variables["latents"]["params"]["table"])[INDEX]
    both = [x.astype(np.float32) for x in (batch["x"] / 8, generated(variables, z).reshape(6, 4, 4, 1))]
    pixels = np.abs(both[0] - both[1]).mean()
    features = [model.features.apply(variables["features"], np.repeat(x, 3, -1))["relu2_1"] for x in both]
    found = loss_of("glo", variables, model, batch=batch).value
    np.testing.assert_allclose(found, pixels + np.abs(features[0] - features[1]).mean(), rtol=1e-4)
    assert "features" not in model.plays()["glo"].players


def test_the_norm_of_latents_does_not_count_and_has_no_gradient():
    variables = ready()
    table = variables["latents"]["params"]["table"]

    def value(table, norms=None):
        """Of the loss, or with given norms of G at rows divided by them."""
        rows = table if norms is None else table / norms
        held = {**variables, "latents": {"params": {"table": rows}}}
        return loss_of("glo", held).value

    np.testing.assert_allclose(value(3.0 * table), value(table), rtol=1e-5)
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    found = jax.jit(jax.grad(value))(table)
    # d/du of a loss that is not homogeneous in u has a radial part, which a norm with a gradient would project away
    kernel = variables["generator"]["params"]["network"]["Dense_0"]["kernel"]

    def directly(table):
        u = (table / norms)[INDEX]
        h = jnp.tanh(u @ kernel + variables["generator"]["params"]["network"]["Dense_0"]["bias"])
        out = variables["generator"]["params"]["head"]["out"]
        return jnp.abs(jax.nn.sigmoid(h @ out["kernel"] + out["bias"]) - X[INDEX].reshape(6, -1) / 8).mean()

    np.testing.assert_allclose(found, jax.jit(jax.grad(directly))(table), rtol=1e-4, atol=1e-7)
    radial = (np.asarray(found)[INDEX] * unit(table)[INDEX]).sum(1)
    assert np.abs(radial).max() > 1e-4


def glo_steps(batches, model=MODEL, optimizer=None):
    """The table before and after each step."""
    plays = {"glo": model.plays()["glo"]._replace(optimizer=optimizer or model.plays()["glo"].optimizer)}
    state, tables = init_state(model, plays, KEY, BATCH), []
    step = jax.jit(make_train_step(plays))
    for index in (None, *batches):
        if index is not None:
            state, _ = step(state, {"x": X[index], "index": index})
        tables.append(np.asarray(state.params["latents"]["table"]))
    return tables


def test_adam_is_dense_and_a_row_goes_on_by_its_momentum():
    first, second = np.arange(6, dtype=np.int32), np.arange(6, 12, dtype=np.int32)
    start, one, two, _ = glo_steps([first, second, first])
    moved = np.abs(one - start).max(1)
    np.testing.assert_allclose(moved[:6], 1e-2, rtol=1e-3)  # by the learning rate
    assert (moved[6:] == 0).all()
    moved = np.abs(two - one).max(1)
    # m: 0.25 g / 0.75, v: 0.999 0.001 g^2 / 0.001999
    np.testing.assert_allclose(moved[:6], 1e-2 * (0.25 / 0.75) / (0.000999 / 0.001999) ** 0.5, rtol=1e-3)
    assert (moved[6:12] > 5e-3).all() and (moved[12:] == 0).all()


def test_latents_are_projected_after_each_epoch_and_not_before():
    _, _, two, three, four = glo_steps([np.arange(6, dtype=np.int32)] * 4)
    assert np.abs(np.linalg.norm(two, axis=1) - 1).max() > 0.1
    np.testing.assert_allclose(np.linalg.norm(three, axis=1), 1, rtol=1e-5)
    assert np.abs(np.linalg.norm(four, axis=1) - 1).max() > 1e-4
    # rows that no batch had are projected too, and point where they pointed
    np.testing.assert_allclose(three[10], unit(two[10]), rtol=1e-4)


def test_a_restarted_optimizer_begins_again_and_its_schedule_does_not():
    gradients = RNG.normal(size=(5, 3)).astype(np.float32)
    rates = optax.exponential_decay(1.0, 2, 0.5, staircase=True)

    def updates(optimizer, gradients):
        state, found = optimizer.init(jnp.zeros(3)), []
        for g in gradients:
            update, state = optimizer.update(jnp.asarray(g), state, jnp.zeros(3))
            found.append(update)
        return np.stack(found)

    adam = optax.scale_by_adam(b1=0.5)
    found = updates(optax.chain(restarted(adam, 2), optax.scale_by_learning_rate(rates)), gradients)
    fresh = [updates(adam, gradients[i : i + 2]) for i in (0, 2, 4)]
    np.testing.assert_allclose(found, -np.concatenate([0.5**i * part for i, part in enumerate(fresh)]), rtol=1e-5)
    whole = updates(adam, gradients)
    assert np.abs(whole[2] - fresh[1][0]).max() > 1e-2
    np.testing.assert_allclose(updates(projected_rows(2), np.ones((2, 3)))[1], np.full(3, 3**-0.5), rtol=1e-6)


def test_gaussian_latents_have_the_moments_of_the_table():
    variables = ready()
    z = unit(variables["latents"]["params"]["table"])
    samples = np.asarray(MODEL.gaussian_latents(variables, KEY, 40_000))
    np.testing.assert_allclose(samples.mean(0), z.mean(0), atol=0.02)
    np.testing.assert_allclose(np.cov(samples.T), np.cov(z.T), atol=0.02)


def mapped(variables, noise):
    """T with statistics of these noises, by NumPy."""
    params = variables["mapping"]["params"]
    h = np.asarray(noise, np.float64) @ np.asarray(params["network"]["Dense_0"]["kernel"])
    norm = params["network"]["BatchNorm_0"]["BatchNorm_0"]
    h = np.maximum((h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5) * norm["scale"] + norm["bias"], 0)
    return h @ np.asarray(params["head"]["out"]["kernel"]) + params["head"]["out"]["bias"]


def test_each_latent_is_matched_with_the_nearest_of_the_mapped_noises():
    variables = ready()
    matched = np.asarray(MODEL.match(variables, KEY))
    noise = np.asarray(jax.random.normal(KEY, (48, 2)))
    z = unit(variables["latents"]["params"]["table"])
    nearest = ((z[:, None] - mapped(variables, noise)) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(matched, noise[nearest])
    assert len(set(nearest)) > 3


@pytest.mark.slow
def test_matches_are_kept_for_an_epoch_and_then_found_anew():
    variables, found = ready(), {}
    kept = np.asarray(variables["mapping"]["matched"]["noise"])
    for step in range(4):
        loss = jax.jit(lambda clock: loss_of("imle", variables, clock=clock))(Clock(step + 30, jnp.int32(step), step))
        found[step] = np.asarray(loss.memory["mapping"]["matched"]["noise"]), float(loss.value)
    np.testing.assert_array_equal(found[1][0], kept)
    np.testing.assert_array_equal(found[2][0], kept)
    expected = np.asarray(MODEL.match(variables, jax.random.split(KEY)[0]))
    for step in (0, 3):
        np.testing.assert_array_equal(found[step][0], expected)
    # the loss is on the matches of the batch's own examples, which are nearer than what was kept
    for step, noise in ((0, expected), (1, kept)):
        z = unit(variables["latents"]["params"]["table"])[INDEX]
        np.testing.assert_allclose(
            found[step][1], ((mapped(variables, noise[INDEX]) - z) ** 2).sum(1).mean(), rtol=1e-3
        )


def test_imle_moves_the_mapping_alone():
    plays = {"imle": MODEL.plays()["imle"]}
    state = init_state(MODEL, plays, KEY, BATCH)
    after, _ = jax.jit(make_train_step(plays, 0.9))(state, BATCH)
    for player in ("latents", "generator"):
        chex.assert_trees_all_equal(after.params[player], state.params[player])
    assert any(
        np.any(a != b)
        for a, b in zip(jax.tree.leaves(after.params["mapping"]), jax.tree.leaves(state.params["mapping"]), strict=True)
    )
    # memory, unlike statistics, is not averaged
    matched = after.collections["mapping"]["matched"]["noise"]
    np.testing.assert_array_equal(after.average["mapping"]["matched"]["noise"], matched)
    assert np.abs(matched).max() > 0.1


def test_averages_of_the_few_matches_do_not_reach_samples():
    """Batches of one noise have no variance, and T by their moving averages explodes on all others."""
    variables = ready()
    flat = jax.tree.map(lambda a: jnp.zeros_like(a), variables["mapping"]["batch_stats"])
    collapsed = {**variables, "mapping": {**variables["mapping"], "batch_stats": flat}}
    few = np.asarray(MODEL.sample_latents(collapsed, KEY, 3))
    np.testing.assert_array_equal(few, MODEL.sample_latents(variables, KEY, 3))
    noise = np.asarray(jax.random.normal(KEY, (256, 2)))
    np.testing.assert_allclose(few, mapped(variables, noise)[:3], rtol=1e-3, atol=1e-5)
    plain = dataclasses.replace(MODEL, mapping=MLP((7,)))
    assert plain.sample_latents(jax.jit(plain.init)(KEY, BATCH), KEY, 3).shape == (3, 4)


@pytest.mark.parametrize(("steps", "first"), [(30, 24), (31, 24), (6, 3), (2, 1)])
def test_phases_are_whole_epochs(steps, first):
    phases = model_phases(MODEL, steps)
    assert [phase.steps for phase in phases] == [first, steps - first]
    assert [list(phase.plays) for phase in phases] == [["glo"], ["imle"]]
    # a model with an untrained mapping is not the best of the run
    assert phases[0].monitor == ("gaussian_sliced_wasserstein", "min") and phases[1].monitor is None


def test_methods_and_description():
    assert isinstance(MODEL, Model) and build(describe(MODEL)) == MODEL
    glo = GLO(MODEL.generator, (3, 3, 1), 24, epoch=3, latent_dim=4, levels=9)
    assert list(glo.init(KEY, BATCH)) == ["latents", "generator"] and build(describe(glo)) == glo
    variables = ready()
    trained = TrainedModel(MODEL, variables)
    np.testing.assert_allclose(np.linalg.norm(trained.latents(), axis=1), 1, rtol=1e-5)
    z = trained.sample_latents(KEY, 5)
    samples = trained.sample(KEY, 5)
    np.testing.assert_array_equal(samples, trained.decode(z))
    np.testing.assert_array_equal(samples, trained.decode(7 * z))
    expected = np.round(8 * generated(variables, unit(z))).reshape(5, 3, 3, 1)
    assert samples.dtype == jnp.uint8 and np.abs(np.asarray(samples, int) - expected).max() <= 1
    assert (trained.decode(trained.gaussian_latents(KEY, 5)) != samples).any()
    values = MODEL.evaluate(variables, BATCH, KEY)
    assert {"sliced_wasserstein", "gaussian_sliced_wasserstein"} <= set(values) and all(
        map(np.isfinite, values.values())
    )
    with pytest.raises(ValueError, match="GLANN expects a batch with an entry 'index'"):
        jax.eval_shape(MODEL.init, KEY, {"x": X})
    with pytest.raises(ValueError, match="`glo_fraction` must be at least 0 and at most 1, got 2"):
        dataclasses.replace(MODEL, glo_fraction=2)


@pytest.mark.slow
def test_imle_reaches_every_mode():
    """Eight groups of directions, one of them rare, which keeps its samples."""
    counts = np.array([40] * 7 + [12])
    centers = 2 * np.pi * np.arange(8) / 8
    angles = np.repeat(centers, counts) + 0.1 * np.random.default_rng(0).normal(size=counts.sum())
    table = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    model = GLANN(
        MLP((2,)), (1,), len(table), epoch=10, mapping=MLP((32, 32)), latent_dim=2, noise_dim=2, candidates=4
    )
    data = ArraySource({"x": np.zeros((len(table), 1), np.float32), "index": np.arange(len(table))})
    settings = Settings(steps=1500, batch_size=29, ema=0.0, steps_per_call=1500, log_every=1500)
    trained = fit(
        model, data, settings, start={"latents": {"params": {"table": table}}}, plays={"imle": model.plays()["imle"]},
        progress=False,
    )  # fmt: skip
    z = np.asarray(trained.sample_latents(KEY, 4000))
    modes = np.stack([np.cos(centers), np.sin(centers)], -1)
    distance = np.linalg.norm(unit(z)[:, None] - modes, axis=-1)
    near = np.bincount(distance.argmin(1)[distance.min(1) < 0.3], minlength=8) / 4000
    assert (near > 0.02).all(), near


class Broken(ArraySource):
    """Fails when it is asked for the batch of a step."""

    stop = None

    def indices_at(self, step, size, seed):
        if self.stop is not None and step >= self.stop:
            raise OSError("the disk is gone")
        return super().indices_at(step, size, seed)


@pytest.mark.slow
def test_seeds_side_by_side_and_a_resumed_run_are_what_single_runs_are(tmp_path):
    """Before the border of the phases, and in the middle of an epoch, whose matches are memory."""
    settings = Settings(steps=16, batch_size=8, steps_per_call=3, checkpoint_every=4, ema=0.5)
    model, data = dataclasses.replace(MODEL, glo_fraction=0.4), Broken({"x": X, "index": np.arange(24)}, levels=9)
    assert [phase.steps for phase in model.phases(16)] == [6, 10]
    whole = fit(model, data, settings, progress=False)
    side_by_side = fit_seeds(model, data, settings, seeds=(0, 1), progress=False)
    chex.assert_trees_all_close(side_by_side[0].variables, whole.variables, rtol=1e-3, atol=1e-4)
    for stop in (5, 10):
        data.stop = stop
        with pytest.raises(OSError, match="the disk is gone"):
            fit(model, data, settings, out=tmp_path / str(stop), progress=False)
        data.stop = None
        resumed = fit(model, data, settings, out=tmp_path / str(stop), resume=True, progress=False)
        chex.assert_trees_all_equal(resumed.variables, whole.variables)
