import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from jaxgen.attacks import fgsm, projected_gradient
from jaxgen.contracts import Clock
from jaxgen.models.adversarial_training import AdversarialTraining
from jaxgen.models.classifier import Classifier
from jaxgen.models.forward import forward
from jaxgen.nets import MLP, BatchNorm
from jaxgen.nets.features import ConvFeatures
from jaxgen.training import Settings, fit
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn

DENSE = Classifier(MLP((5,)), (2, 2, 1), num_classes=3, levels=9)
IMAGES = Classifier(ConvFeatures((3, 4), 6, dropout=0.5), (5, 5, 1), num_classes=4, levels=17)


def labelled(model, rows=6):
    return batch_for(model, rows) | {"label": (np.arange(rows) % model.num_classes).astype(np.int32)}


def test_logits_features_and_figures_by_hand():
    batch = labelled(DENSE)
    variables = drawn(DENSE, batch)
    params = variables["classifier"]["params"]
    hidden, out = params["network"]["Dense_0"], params["head"]["out"]
    x = batch["x"].reshape(6, 4) / 4 - 1
    features = np.maximum(x @ hidden["kernel"] + hidden["bias"], 0)
    logits = features @ out["kernel"] + out["bias"]
    np.testing.assert_allclose(jax.jit(DENSE.features)(variables, batch["x"]), features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(DENSE.logits)(variables, batch["x"]), logits, rtol=1e-5, atol=1e-6)
    log_p = log_softmax(logits, -1)[np.arange(6), batch["label"]]
    expected = {"cross_entropy": -log_p.mean(), "accuracy": (logits.argmax(-1) == batch["label"]).mean()}
    assert 0 < expected["accuracy"] < 1
    figures = {name: float(value) for name, value in jax.jit(DENSE.evaluate)(variables, batch, KEY).items()}
    assert figures == pytest.approx(expected, rel=1e-5)
    # without dropout the loss is the figure
    loss = jax.jit(DENSE.loss)(variables, batch, KEY, Clock())
    assert float(loss.value) == pytest.approx(expected["cross_entropy"], rel=1e-5)
    assert float(loss.metrics["accuracy"]) == pytest.approx(expected["accuracy"])


@pytest.mark.slow
def test_units_drop_in_training_alone():
    batch = labelled(IMAGES)
    variables = drawn(IMAGES, batch)
    keys = jax.random.split(KEY)
    dropped = jax.jit(jax.vmap(lambda key: IMAGES.loss(variables, batch, key, Clock()).value))(keys)
    whole = jax.jit(jax.vmap(lambda key: IMAGES.evaluate(variables, batch, key)["cross_entropy"]))(keys)
    assert dropped[0] != dropped[1] and whole[0] == whole[1]
    features, logits = jax.jit(lambda x: (IMAGES.features(variables, x), IMAGES.logits(variables, x)))(batch["x"])
    out = variables["classifier"]["params"]["head"]["out"]
    np.testing.assert_allclose(features @ out["kernel"] + out["bias"], logits, rtol=1e-4, atol=1e-5)
    assert features.shape == (6, 6) and logits.shape == (6, 4)
    # rows do not see each other
    alone = jax.jit(IMAGES.features)(variables, batch["x"][:1])
    np.testing.assert_allclose(alone, features[:1], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_it_learns_and_is_described():
    assert build(describe(IMAGES)) == IMAGES
    # it generates nothing, and says so by having no such method
    assert not hasattr(IMAGES, "sample")
    batch = labelled(DENSE)
    step = jax.jit(make_train_step(DENSE.plays()))
    state = init_state(DENSE, DENSE.plays(), KEY, batch)
    losses = []
    for _ in range(30):
        state, metrics = step(state, batch)
        losses.append(float(metrics["classifier"]["loss"]))
    assert losses[-1] < losses[0]


def test_batch_statistics_belong_to_the_features():
    model = Classifier(BatchNorm(), (4,), num_classes=3)
    batch = labelled(model)
    variables = drawn(model, batch)
    moved = model.loss(variables, batch, KEY, Clock()).statistics["classifier"]["batch_stats"]["network"][
        "BatchNorm_0"
    ]["mean"]
    before = variables["classifier"]["batch_stats"]["network"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(moved, 0.9 * before + 0.1 * batch["x"].mean(0), rtol=1e-4, atol=1e-5)
    statistics = variables["classifier"]["batch_stats"]["network"]["BatchNorm_0"]
    weights = variables["classifier"]["params"]["network"]["BatchNorm_0"]
    scaled = (batch["x"] - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5) * weights["scale"] + weights["bias"]
    np.testing.assert_allclose(model.features(variables, batch["x"]), scaled, rtol=1e-4, atol=1e-5)


def test_rows_without_labels_are_refused():
    with pytest.raises(ValueError, match="'label'.*'x'"):
        DENSE.init(KEY, batch_for(DENSE))


NORMED = MLP((5, 4), norm=BatchNorm)
SMOOTH = MLP((5,), jnp.tanh)


def attacked(network, **fields):
    return Classifier(network, (4,), num_classes=3, adversarial=AdversarialTraining(lower=-9.0, upper=9.0, **fields))


def test_adversarial_training_weighs_the_loss_of_both():
    """Goodfellow et al. 2015: alpha L(x, y) + (1 - alpha) L(x + epsilon sign grad L, y), here without dropout."""
    model = attacked(SMOOTH, epsilon=0.2, fraction=0.3)
    batch = labelled(model)
    variables = drawn(model, batch)
    loss = jax.jit(model.loss)(variables, batch, KEY, Clock())
    perturbed = fgsm(lambda x: model.logits(variables, x), batch["x"], 0.2, lower=-9.0, upper=9.0)
    clean, worse = (model.evaluate(variables, {**batch, "x": x}, KEY) for x in (batch["x"], perturbed))
    assert float(loss.value) == pytest.approx(
        float(0.7 * clean["cross_entropy"] + 0.3 * worse["cross_entropy"]), rel=1e-5
    )
    assert float(loss.metrics["accuracy"]) == pytest.approx(float(clean["accuracy"]))
    assert float(loss.metrics["adversarial_accuracy"]) == pytest.approx(float(worse["accuracy"]))
    # true labels, which leak, make other samples where the prediction is wrong
    wrong = np.asarray(model.logits(variables, batch["x"]).argmax(-1)) != batch["label"]
    told = attacked(SMOOTH, epsilon=0.2, fraction=0.3, labels="true").loss(variables, batch, KEY, Clock())
    assert wrong.any() and not np.isclose(told.value, loss.value, rtol=1e-3)


@pytest.mark.slow
def test_no_gradient_flows_through_the_making_of_a_sample():
    model = attacked(SMOOTH, epsilon=0.5, fraction=1.0, steps=3, step_size=0.3, random_start=True)
    batch = labelled(model)
    variables = drawn(model, batch)
    gradient = jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value)(variables)
    perturbed = projected_gradient(
        lambda x: model.logits(variables, x), batch["x"], 0.5, jax.random.split(KEY)[0], lower=-9.0, upper=9.0,
        steps=3, step_size=0.3,
    )  # fmt: skip
    expected = jax.grad(lambda v: model.evaluate(v, {**batch, "x": perturbed}, KEY)["cross_entropy"])(variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), gradient, expected)


@pytest.mark.slow
def test_the_attack_sees_the_network_in_evaluation_mode():
    """With batch statistics, a sample would depend on the others, and in evaluation it would be another one."""
    model = attacked(NORMED, epsilon=0.3, fraction=1.0)
    batch = labelled(model)
    variables = drawn(model, batch)
    perturbed = fgsm(lambda x: model.logits(variables, x), batch["x"], 0.3, lower=-9.0, upper=9.0)
    alone = fgsm(lambda x: model.logits(variables, x), batch["x"][:1], 0.3, lower=-9.0, upper=9.0)
    np.testing.assert_allclose(alone, perturbed[:1], atol=1e-6)
    # both halves are one batch for the statistics
    plain = Classifier(NORMED, (4,), num_classes=3)
    both = {"x": jnp.concatenate([batch["x"], perturbed]), "label": np.tile(batch["label"], 2)}
    expected = plain.loss(variables, both, KEY, Clock()).statistics
    loss = model.loss(variables, batch, KEY, Clock())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), loss.statistics, expected)
    in_training = fgsm(
        lambda x: forward(model._headed, variables["classifier"], x, train=True)[0], batch["x"], 0.3, lower=-9.0,
        upper=9.0
    )
    assert (np.abs(in_training - perturbed) > 0.1).any()


def test_integers_are_attacked_in_the_range_of_the_network():
    model = dataclasses.replace(DENSE, adversarial=AdversarialTraining(0.5))
    batch = labelled(model)
    variables = drawn(model, batch)
    assert build(describe(model)) == model and hash(model) != hash(DENSE)
    assert np.isfinite(jax.jit(model.loss)(variables, batch, KEY, Clock()).value)
    scaled = model.scaled(batch["x"])
    np.testing.assert_allclose(model.scaled_logits(variables, scaled), model.logits(variables, batch["x"]), rtol=1e-5)
    assert scaled.min() == -1 and scaled.max() <= 1
    with pytest.raises(ValueError, match="limits -1 and 1 of scaled integers, got 0.0 and 8.0"):
        dataclasses.replace(DENSE, adversarial=AdversarialTraining(0.5, 0.0, 8.0))
    with pytest.raises(ValueError, match="`epsilon` must be above 0 and at most 2, got 16"):
        AdversarialTraining(16)
    with pytest.raises(ValueError, match="`labels` must be 'predicted' or 'true'"):
        AdversarialTraining(labels="given")


@pytest.mark.slow
def test_adversarial_training_makes_a_classifier_more_robust():
    """One strong and weakly robust feature, four of a weak signal each: a perturbation turns the latter around."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 400).astype(np.int32)
    sign = 2 * label[:, None] - 1
    strong = sign * np.where(rng.random((400, 1)) < 0.9, 1.0, -1.0)
    x = np.concatenate([strong, 0.2 * sign + 0.15 * rng.normal(size=(400, 8))], 1).astype(np.float32)
    errors = {}
    for name, adversarial in {"plain": None, "adversarial": AdversarialTraining(0.4, -9.0, 9.0, fraction=1.0)}.items():
        model = Classifier(MLP((), features=4), (9,), num_classes=2, adversarial=adversarial)
        trained = fit(model, {"x": x, "label": label}, Settings(steps=150, batch_size=400, ema=0.0), progress=False,
                      optimizers={"classifier": optax.adam(0.03)})  # fmt: skip
        y = fgsm(trained.logits, x, 0.4, lower=-9.0, upper=9.0)
        errors[name] = [(np.asarray(trained.logits(v)).argmax(-1) != label).mean() for v in (x, y)]
    assert errors["plain"][0] < 0.05 and errors["plain"][1] > 0.8
    assert errors["adversarial"][1] < 0.3
