import dataclasses

import jax
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.models.translation import Domain, Segmenter
from jaxgen.nets import InstanceNorm, UNet
from tests.models.parameters import drawn

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PALETTE = ((0, 0, 255), (0, 170, 0), (200, 0, 9))
LABELS = RNG.integers(0, 3, (4, 8, 8))
BATCH = {
    "a": {"x": np.uint8(PALETTE)[LABELS]},
    "b": {"x": RNG.integers(0, 256, (4, 8, 8, 2)).astype(np.uint8)},
}
MODEL = Segmenter(
    a=Domain((8, 8, 3)), b=Domain((8, 8, 2)), palette=PALETTE, network=UNet(2, levels=2, norm=InstanceNorm, dropout=0.0)
)


@pytest.fixture(scope="module")
def variables():
    return drawn(MODEL, BATCH)


def test_the_loss_is_the_cross_entropy_of_the_pixels(variables):
    assert isinstance(MODEL, Model)
    np.testing.assert_array_equal(MODEL.labels(BATCH["a"]["x"]), LABELS)
    logits = jax.jit(lambda: MODEL.logits(variables, BATCH["b"]["x"]))()
    assert logits.shape == (4, 8, 8, 3)
    rows = zip(np.float64(logits).reshape(-1, 3), LABELS.ravel(), strict=True)
    expected = np.mean([-np.log(np.exp(row[label]) / np.exp(row).sum()) for row, label in rows])
    still = dataclasses.replace(MODEL, jitter=None)
    assert jax.jit(lambda: still.loss(variables, BATCH, KEY, Clock()))().value == pytest.approx(expected, rel=1e-4)
    metrics = jax.jit(lambda: MODEL.evaluate(variables, BATCH, KEY))()
    found = logits.argmax(-1)
    assert metrics["cross_entropy"] == pytest.approx(expected, rel=1e-4)
    assert metrics["pixel_accuracy"] == pytest.approx((found == LABELS).mean())
    maps = jax.jit(lambda: MODEL.translate(variables, BATCH["b"]["x"]))()
    np.testing.assert_array_equal(maps, np.uint8(PALETTE)[found])


@pytest.mark.slow
def test_labels_are_mirrored_with_their_pictures():
    """A network that is trained on pictures that show their classes learns them, only if both are mirrored alike."""
    picture = np.uint8([[0, 1, 2, 0], [2, 0, 1, 1], [1, 1, 0, 2], [0, 2, 2, 1]]).repeat(2, 0).repeat(2, 1)[None]
    batch = {"a": {"x": np.uint8(PALETTE)[picture]}, "b": {"x": np.stack([100 * picture] * 2, -1)}}
    model = dataclasses.replace(MODEL, network=UNet(8, levels=1, norm=None, dropout=0.0))
    variables, adam = jax.jit(model.init)(KEY, batch), optax.adam(2e-2)

    @jax.jit
    def step(carry, i):
        (variables, state), key = carry, jax.random.fold_in(KEY, i)
        grads = jax.grad(lambda v: model.loss(v, batch, key, Clock()).value)(variables)
        updates, state = adam.update(grads, state, variables)
        return (optax.apply_updates(variables, updates), state), None

    carry = (variables, adam.init(variables))
    for i in range(120):
        carry, _ = step(carry, i)
    assert model.evaluate(carry[0], batch, KEY)["pixel_accuracy"] > 0.98


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`palette` must be at least two colours of 3 channels"):
        dataclasses.replace(MODEL, palette=((0, 1), (2, 3)))
    with pytest.raises(ValueError, match="same resolution"):
        dataclasses.replace(MODEL, b=Domain((8, 4, 2)))
    with pytest.raises(ValueError, match="`to` must be 'a'"):
        MODEL.translate({}, BATCH["b"]["x"], to="b")
