"""The two stages of pose synthesis, its losses against closed forms, and what a run loads."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxgen
from jaxgen.contracts import Clock, Model
from jaxgen.data import FramePairs, Splits
from jaxgen.data.figures import figures
from jaxgen.data.frames import all_pairs, half_a_clip_apart
from jaxgen.models.translation import Domain, FeatureReconstruction, PixelReconstruction, PoseSynthesis
from jaxgen.nets import DirectSynthesis, LimbSynthesis, PoseCritic, PoseUNet, no_motion
from jaxgen.training import Settings, fit, init_state, make_train_step
from jaxgen.training.description import build, describe
from jaxgen.training.state import enter_phase


class Trunk(nn.Module):
    """Two layers of features."""

    @nn.compact
    def __call__(self, x):
        first = nn.relu(nn.Conv(4, (3, 3), name="one")(x))
        return {"first": first, "second": nn.relu(nn.Conv(5, (3, 3), strides=2, name="two")(first))}


DRAWN = figures(4, 4, 16)
FRAMES = {"x": DRAWN["image"].reshape(16, 16, 16, 3), "joints": DRAWN["joints"].reshape(16, 14, 2)}
PAIRS = FramePairs(FRAMES, all_pairs(4, 4))
BATCH = PAIRS.batch_at(0, 4, 0)
GREY = {name: {**frame, "x": frame["x"][..., :1]} for name, frame in BATCH.items()}
# the baseline's one network compiles in a third of the time
MODEL = PoseSynthesis(
    Domain((16, 16, 3)), generator=DirectSynthesis(PoseUNet(2, 4)), critic=PoseCritic(2, 4), adversary_fraction=0.5,
    lead=2,
)
FEATURES = replace(MODEL, reconstruction=FeatureReconstruction(Trunk()))
NETWORK = replace(MODEL, adversary_fraction=0.0, augmentation=None)


@pytest.fixture(scope="module")
def variables():
    made = jax.jit(FEATURES.init)(jax.random.key(0), BATCH)
    leaves, tree = jax.tree.flatten(made)
    rng = np.random.default_rng(1)
    moved = [np.float32(a + 0.1 * rng.normal(size=a.shape)) for a in jax.device_get(leaves)]
    return jax.tree.unflatten(tree, moved)


def difference(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.slow
def test_the_first_stage_moves_the_generator_and_the_second_lets_the_critic_lead(variables):
    model = replace(FEATURES, adversary_fraction=0.6)
    phases = model.phases(10)
    assert [(phase.steps, set(phase.plays)) for phase in phases] == [(4, {"generator"}), (6, {"critic", "generator"})]
    state = init_state(model, {}, jax.random.key(0), BATCH, variables)
    start, moved = state.params, {}
    for i, phase in enumerate(phases):
        state, step = enter_phase(state, phase, BATCH, i), jax.jit(make_train_step(phase.plays))
        for j in range(3):
            before = state.params
            state, _ = step(state, BATCH)
            moved[i, j] = {p for p in before if jax.tree.leaves(before[p]) and difference(before[p], state.params[p])}
    assert moved == {
        (0, 0): {"generator"}, (0, 1): {"generator"}, (0, 2): {"generator"},
        (1, 0): {"critic"}, (1, 1): {"critic"}, (1, 2): {"critic", "generator"},
    }  # fmt: skip
    assert not difference(start["trunk"], state.params["trunk"])


@pytest.mark.slow
def test_the_losses_of_the_second_stage(variables):
    model, key, clock = replace(FEATURES, augmentation=None), jax.random.key(2), Clock()
    source, target = BATCH["source"], BATCH["target"]
    made = model.steps(variables, source["x"], source["joints"], target["joints"])
    truth = target["x"] / 127.5 - 1.0
    on_fake, on_real = (
        model.critic.apply(variables["critic"], x, made.source_pose, made.target_pose) for x in (made.output, truth)
    )
    assert on_fake.shape == (4,) and float(jnp.abs(on_fake - on_real).max()) > 1e-4
    reconstruction = model.reconstruction.loss(variables, made.output, truth)
    out = model.generator_loss(variables, BATCH, key, clock)
    np.testing.assert_allclose(out.value, reconstruction + 0.1 * np.logaddexp(0, -on_fake).mean(), rtol=1e-4)
    error = np.abs(127.5 * (np.asarray(made.output) + 1) - target["x"]).mean()
    np.testing.assert_allclose(out.metrics["l1"], error, rtol=1e-4)
    critic = model.critic_loss(variables, BATCH, key, clock)
    np.testing.assert_allclose(critic.value, (np.logaddexp(0, -on_real) + np.logaddexp(0, on_fake)).mean(), rtol=1e-4)
    first = model.reconstruction_loss(variables, BATCH, key, clock)
    np.testing.assert_allclose(first.value, reconstruction, rtol=1e-4)


def test_the_second_stage_keeps_its_own_best_variables(variables):
    # by L1 alone, the last variables of the first stage would win against all of the second
    model = replace(FEATURES, augmentation=None)
    first, second = model.phases(10)
    assert first.monitor is None and model.monitor == ("l1", "min") and second.monitor == ("reconstruction", "min")
    metrics = jax.jit(model.evaluate)(variables, BATCH, jax.random.key(0))
    loss = jax.jit(model.reconstruction_loss)(variables, BATCH, jax.random.key(0), Clock())
    np.testing.assert_allclose(metrics["reconstruction"], loss.value, rtol=1e-4)
    assert abs(metrics["l1"] - loss.metrics["l1"]) < 0.6  # `translate` rounds
    assert abs(metrics["l1"] - metrics["reconstruction"]) > 1


def test_features_are_divided_by_the_deviation_of_each_channel_over_the_first_targets(variables):
    reconstruction, targets = FEATURES.reconstruction, jnp.asarray(BATCH["target"]["x"]) / 127.5 - 1
    entered = FEATURES.phases(10)[0].enter(variables, BATCH, jax.random.key(0))
    params = {"params": variables["trunk"]["params"]}
    outputs = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, targets.shape).astype(np.float32))
    expected = 0.0
    for layer in ("first", "second"):
        f, g = (np.asarray(Trunk().apply(params, (x + 1) / 2)[layer]) for x in (outputs, targets))
        scale = g.reshape(-1, g.shape[-1]).std(0)
        np.testing.assert_allclose(entered["trunk"]["scales"][layer], scale, rtol=1e-4)
        expected += 0.5 * (np.abs(f - g) / (scale + 0.1)).mean()
    np.testing.assert_allclose(reconstruction.loss(entered, outputs, targets), expected, rtol=1e-4)
    assert float(reconstruction.loss(entered, targets, targets)) == 0
    many = jnp.concatenate([targets] * 16 + [jnp.ones_like(targets)])
    first = FEATURES.reconstruction.enter(variables, many)["trunk"]["scales"]["first"]
    np.testing.assert_allclose(first, entered["trunk"]["scales"]["first"], rtol=1e-4)  # the first 64 images'
    one = replace(reconstruction, layers=("second",))
    assert set(jax.jit(one.init)(jax.random.key(0), targets)["trunk"]["scales"]) == {"second"}
    pixels = PixelReconstruction().loss({}, outputs, targets)
    np.testing.assert_allclose(pixels, np.abs(outputs - targets).mean(), rtol=1e-6)


@pytest.mark.slow
def test_a_run_starts_from_a_trained_trunk_and_keeps_it():
    trained = jax.jit(Trunk().init)(jax.random.key(9), jnp.zeros((1, 16, 16, 3)))
    model = replace(FEATURES, adversary_fraction=0.0)
    settings = Settings(steps=2, batch_size=2, ema=0.0)
    run = fit(model, PAIRS, settings, start=model.reconstruction.started(trained), progress=False)
    assert not difference(run.variables["trunk"]["params"], trained["params"])
    assert min(float(scale.min()) for scale in run.variables["trunk"]["scales"].values()) >= 0
    assert difference(run.variables["trunk"]["scales"]["first"], jnp.ones(4)) > 1e-3  # computed when the run begins


def test_both_frames_of_a_pair_are_augmented_alike(variables):
    same = {"source": BATCH["source"], "target": BATCH["source"]}
    made, target, _ = FEATURES._train(variables, same, jax.random.key(0))
    np.testing.assert_array_equal(made.source_pose, made.target_pose)
    image = BATCH["source"]["x"] / 127.5 - 1
    assert float(jnp.abs(target - image).max()) > 0.05


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pose") / "run"
    splits = Splits(PAIRS, FramePairs(FRAMES, half_a_clip_apart(4, 4)), None)
    settings = Settings(steps=6, batch_size=4, eval_every=3, checkpoint_every=3)
    model = replace(MODEL, lead=1)
    return model, folder, fit(model, splits, settings, out=folder, progress=False)


def test_a_run_loads_and_translates_in_data_units(run):
    model, folder, trained = run
    loaded, source, target = jaxgen.load(folder), BATCH["source"], BATCH["target"]
    assert loaded.model == model and isinstance(model, Model)
    y = loaded.translate(source["x"], source["joints"], target["joints"])
    assert y.dtype == np.uint8 and y.shape == source["x"].shape
    np.testing.assert_array_equal(y, trained.translate(source["x"], source["joints"], target["joints"]))
    steps = loaded.steps(source["x"], source["joints"], target["joints"])
    np.testing.assert_array_equal(y, np.round(127.5 * (np.asarray(steps.output) + 1)).clip(0, 255).astype(np.uint8))
    metrics = jax.jit(model.evaluate)(trained.variables, BATCH, jax.random.key(0))
    np.testing.assert_allclose(metrics["l1"], np.abs(y.astype(np.float32) - target["x"]).mean(), rtol=1e-5)


def test_a_model_of_five_steps_is_described_whole():
    limbs = LimbSynthesis(PoseUNet(2, 2), PoseUNet(2, 2), PoseUNet(2, 2), motion=no_motion)
    model = replace(MODEL, generator=limbs)
    assert build(json.loads(json.dumps(describe(model)))) == model and hash(model) == hash(replace(model))


@pytest.mark.slow
def test_training_lowers_the_error_on_the_batch_it_sees():
    one = PAIRS.subset(np.arange(4))
    settings = Settings(steps=60, batch_size=4, ema=0.0)
    trained = fit(NETWORK, one, settings, optimizers={"generator": optax.adam(1e-2)}, progress=False)
    before = jax.jit(NETWORK.init)(jax.random.key(0), one.head(4))
    errors = [float(NETWORK.evaluate(v, one.head(4), None)["l1"]) for v in (before, trained.variables)]
    assert errors[1] < 0.7 * errors[0] and "critic" not in trained.variables


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: MODEL.init(jax.random.key(0), {"a": BATCH["source"]}), "entries 'source' and 'target', got .'a'."),
        (lambda: PoseSynthesis(Domain((16, 16, 3), None)), "`domain` must have levels"),
        (lambda: replace(MODEL, domain=Domain((16, 16, 1))).init(jax.random.key(0), GREY), "the shape of the images"),
        (lambda: replace(MODEL, adversary_fraction=1.5), "`adversary_fraction` must be at least 0 and at most 1"),
        (lambda: NETWORK.translate({}, BATCH["source"]["x"], np.zeros((4, 14, 2)), np.zeros((3, 14, 2))), "`joints`"),
    ],
)
def test_malformed_arguments_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
