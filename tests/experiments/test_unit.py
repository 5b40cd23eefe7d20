"""The experiment of UNIT: presets, the authors' optimizer, digits at one size."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.translation.adaptation import resized
from experiments.translation.unit import UNITConfig, build, optimizer
from jaxgen.data import ArraySource, DataError, Splits, Zipped
from jaxgen.models.gans import LeastSquares
from jaxgen.models.translation import RELEASED_WEIGHTS
from jaxgen.nets.multi_scale import MultiScale

RNG = np.random.default_rng(0)


def domains(size=(28, 16), labels=True):
    def source(side):
        arrays = {"x": RNG.integers(0, 256, (6, side, side, 1)).astype(np.uint8)}
        arrays |= {"label": np.arange(6)} if labels else {}
        return ArraySource(arrays, levels=256, num_classes=10 if labels else None, name=f"{side} pixels")

    part = Zipped(dict(zip("ab", map(source, size), strict=True)))
    return Splits(part, part, part)


def preset(name, **fields):
    return dataclasses.replace(UNITConfig(), **{**UNITConfig.PRESETS[name], **fields})


def test_digits_are_resized_without_a_change_of_mean():
    data = domains()
    small = resized(data, 16)
    a, b = small.train.sources["a"], small.train.sources["b"]
    assert a.event_shape == (16, 16, 1) and a.arrays["x"].dtype == np.uint8 and a.num_classes == 10
    assert b is data.train.sources["b"]
    np.testing.assert_array_equal(a.arrays["label"], np.arange(6))
    assert a.arrays["x"].mean() == pytest.approx(data.train.sources["a"].arrays["x"].mean(), abs=1.5)
    constant = ArraySource({"x": np.full((1, 28, 28, 1), 200, np.uint8)}, levels=256)
    assert (resized(Splits(*[Zipped({"a": constant})] * 3), 16).train.sources["a"].arrays["x"] == 200).all()
    floats = ArraySource({"x": np.zeros((1, 28, 28, 1), np.float32)})
    with pytest.raises(DataError, match="must hold images"):
        resized(Splits(*[Zipped({"a": floats})] * 3), 16)


@pytest.mark.slow
def test_the_released_preset_has_the_authors_losses_and_shares_nothing():
    model = build(preset("released"), domains((64, 64))).model
    assert model.weights == RELEASED_WEIGHTS and not model.shared
    assert isinstance(model.adversarial_loss, LeastSquares) and model.critic.num_scales == 3
    paper = build(UNITConfig(), domains((64, 64))).model
    assert paper.shared and not isinstance(paper.critic, MultiScale)
    images = {d: {"x": jnp.zeros((1, 64, 64, 1), jnp.uint8)} for d in "ab"}
    for model in (model, paper):
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        code = jax.eval_shape(model.encode, variables, images["a"]["x"])
        assert code.shape == (1, 16, 16, 256)


def test_the_classifiers_critics_share_all_but_their_first_layers():
    model = build(preset("digits", classifier=True), domains((16, 16))).model
    images = {d: {"x": jnp.zeros((2, 16, 16, 1), jnp.uint8)} for d in "ab"}
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    assert "latent_critic" in variables and "latent_critic_a" not in variables
    assert jax.eval_shape(model.classify, variables, images["b"]["x"]).shape == (2, 10)
    assert (model.critic.widths, model.latent_critic.widths) == ((32,), (64, 128))
    # the adversary's weight is 10, relative to which these are
    fields = {"class_weight": 2.0, "feature_weight": 5.0, "dropout": 0.5}
    weighed = build(preset("digits", classifier=True, **fields), domains((16, 16))).model
    assert weighed.weights.adversarial == 10 and {name: getattr(weighed, name) for name in fields} == fields
    with pytest.raises(ValueError, match="`classifier` requires labelled data in domain a"):
        build(preset("digits", classifier=True), domains((16, 16), labels=False))


def test_weight_decay_is_part_of_the_gradient_and_the_rate_is_halved():
    adam = optimizer(preset("released", learning_rate=0.1, halve_every=2))
    params = {"w": jnp.array([3.0, -0.5])}
    state, moves = adam.init(params), []
    for _ in range(4):
        updates, state = adam.update({"w": jnp.zeros(2)}, state, params)
        moves.append(np.asarray(updates["w"]))
    # Adam turns the decay, however small, into steps of the learning rate
    np.testing.assert_allclose(moves, np.array([-1, 1]) * np.array([0.1, 0.1, 0.05, 0.05])[:, None], rtol=0.02)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`adaptation` requires labelled data in both domains"):
        build(preset("small", adaptation=True), domains((16, 16), labels=False))
    with pytest.raises(ValueError, match="`adaptation` requires domains of one shape"):
        build(preset("small", adaptation=True), domains())
    with pytest.raises(ValueError, match="`classifier` requires a critic of one scale, got scales=3"):
        build(preset("released", classifier=True), domains((16, 16)))
    with pytest.raises(ValueError, match="`shared_halvings` must be at most halvings=2, got 3"):
        build(preset("small", shared_halvings=3), domains((16, 16)))
