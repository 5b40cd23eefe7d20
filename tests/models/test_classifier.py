import jax
import numpy as np
import pytest
from scipy.special import log_softmax

from jaxgen.contracts import Clock
from jaxgen.models.classifier import Classifier
from jaxgen.nets import MLP, BatchNorm
from jaxgen.nets.features import ConvFeatures
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
    moved = model.loss(variables, batch, KEY, Clock()).statistics["classifier"]["batch_stats"]["network"]["BatchNorm_0"]["mean"]
    before = variables["classifier"]["batch_stats"]["network"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(moved, 0.9 * before + 0.1 * batch["x"].mean(0), rtol=1e-4, atol=1e-5)
    statistics = variables["classifier"]["batch_stats"]["network"]["BatchNorm_0"]
    weights = variables["classifier"]["params"]["network"]["BatchNorm_0"]
    scaled = (batch["x"] - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5) * weights["scale"] + weights["bias"]
    np.testing.assert_allclose(model.features(variables, batch["x"]), scaled, rtol=1e-4, atol=1e-5)


def test_rows_without_labels_are_refused():
    with pytest.raises(ValueError, match="'label'.*'x'"):
        DENSE.init(KEY, batch_for(DENSE))
