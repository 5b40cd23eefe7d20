import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import (
    Additive, AffineInjector, Alternate, Checkerboard, ConditionalNormal, Coupling, LearnedTanhAffine, SharedHead,
    SigmoidAffine,
    TanhAffine,
)
from jaxgen.bijectors.coupling import ZeroHead, fit_context
from jaxgen.convolution import Conv
from jaxgen.nets.mlp import MLP
from tests.bijectors.tools import quick, random_variables

MASKS = {
    "halves": (None, (5,)),
    "alternate": (Alternate(), (5,)),
    "given": ((True, False, False, True, True), (5,)),
    "checkerboard": (Checkerboard(), (3, 3, 2)),
    "halves of channels": (None, (2, 3, 3)),
}


def network(event):
    return MLP((4,)) if len(event) == 1 else Conv(4)


def data(event, rows=4):
    return jnp.asarray(np.random.default_rng(0).normal(size=(rows, *event)), jnp.float32)


@pytest.mark.parametrize("transformer", [
    Additive(), TanhAffine(), LearnedTanhAffine(),
])
@pytest.mark.parametrize(("mask", "event"), MASKS.values(), ids=MASKS)
def test_a_fresh_coupling_is_the_identity(transformer, mask, event):
    x = data(event)
    (z, log_det), _ = quick(Coupling(transformer, network(event), mask).init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(z, x)
    np.testing.assert_array_equal(log_det, np.zeros(4))


def test_a_fresh_learned_prior_is_the_identity():
    x = data((2, 2, 3))
    for context in (None, data((5,)), data((2, 2, 5))):
        (z, _), _ = quick(ConditionalNormal().init_with_output)(jax.random.key(0), x, context)
        np.testing.assert_array_equal(z, x)


@pytest.mark.slow
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("mask", "event"), MASKS.values(), ids=MASKS)
def test_keeps_one_part_and_moves_the_other_by_what_it_sees_of_the_first(mask, event, flip):
    expected = np.broadcast_to(np.arange(event[-1]) < event[-1] // 2, event) if mask is None else np.broadcast_to(
        mask(event) if callable(mask) else np.asarray(mask), event
    )
    keep, coupling, x = expected != flip, Coupling(TanhAffine(), network(event), mask, flip=flip), data(event)
    variables = random_variables(coupling, 1, x)
    change = np.asarray(coupling.apply(variables, x)[0] - x)
    assert (change[:, keep] == 0).all() and (change[:, ~keep] != 0).all()
    # the moved half is not an input of the network: changing it does not change log-scales
    moved = jnp.where(keep, x, x + 1)
    np.testing.assert_array_equal(*(coupling.apply(variables, y, method="log_det") for y in (x, moved)))
    other = jnp.where(keep, x + 1, x)
    assert (coupling.apply(variables, other, method="log_det") != coupling.apply(variables, x, method="log_det")).all()


def test_checkerboard_and_alternate():
    np.testing.assert_array_equal(Checkerboard()((2, 3, 1))[..., 0], [[True, False, True], [False, True, False]])
    assert Checkerboard()((2, 3, 4)).shape == (2, 3, 4)
    np.testing.assert_array_equal(Alternate()((5,)), [True, False, True, False, True])


@dataclasses.dataclass(frozen=True)
class Reveal:
    """Puts out its parameters: the first one as value, the second as log-derivative."""

    num_params: ClassVar[int] = 2

    def initial_params(self):
        return (1.0, -2.0)

    def forward(self, x, parameters):
        return parameters[..., 0], parameters[..., 1]


@pytest.mark.parametrize("net", [Conv(4), MLP((4,))], ids=["each position", "one vector"])
def test_the_head_starts_at_the_transformers_values(net):
    x = data((2, 3, 4))
    (z, log_det), _ = Coupling(Reveal(), net).init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(z[..., 2:], 1.0)
    np.testing.assert_allclose(log_det, -2.0 * 2 * 3 * 2)


@pytest.mark.parametrize("net", [MLP((4,)), nn.Sequential((nn.Dense(3), nn.relu)), nn.Dense(7)])
def test_any_network_conditions_with_a_context_or_without(net):
    x, context = data((5,)), data((2,))
    coupling = Coupling(TanhAffine(), net)
    for inputs in ((x,), (x, context)):
        (z, _), _ = jax.eval_shape(coupling.init_with_output, jax.random.key(0), *inputs)
        assert z.shape == x.shape


def test_affine_log_scales_are_bounded_on_both_sides():
    transformer = TanhAffine(bound=1.5)
    parameters = jnp.asarray([[1e6, 0.0], [-1e6, 0.0], [1e-3, 0.0]])
    np.testing.assert_allclose(transformer.forward(jnp.ones(3), parameters)[1], [1.5, -1.5, 1e-3], rtol=1e-5)


def test_affine_shifts_before_it_scales():
    z, _ = TanhAffine().forward(jnp.asarray([3.0]), jnp.asarray([[0.5, 2.0]]))
    np.testing.assert_allclose(z, 5.0 * np.exp(2 * np.tanh(0.25)), rtol=1e-6)


def test_sigmoid_affine_scales_stay_between_floor_and_one_and_start_at_the_sigmoid_of_the_shift():
    transformer = SigmoidAffine(shift=1.5, floor=0.1)
    parameters = jnp.asarray([[1e3, 2.0], [-1e3, 2.0], [0.0, 2.0], transformer.initial_params()])
    z, log_scale = transformer.forward(jnp.full(4, 3.0), parameters)
    scale = np.asarray([1.0, 0.1, 0.55, 0.1 + 0.9 / (1 + np.exp(-1.5))])
    np.testing.assert_allclose(log_scale, np.log(scale), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(z, [5.0, 0.5, 2.75, 3 * scale[3]], rtol=1e-6)
    for floor in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"`floor` must be in \(0, 1\)"):
            SigmoidAffine(floor=floor)


def test_a_learned_bound_bounds_by_its_exponential_within_limits():
    transformer = LearnedTanhAffine(limit=1.0)
    parameters = jnp.asarray([[1e6, 0.0, 0.5], [-1e6, 0.0, -0.5], [0.7, 2.0, 0.3], [1e6, 0.0, 9.0], [1e6, 0.0, -1e3]])
    z, log_scale = transformer.forward(jnp.full(5, 3.0), parameters)
    within = np.exp(0.3) * np.tanh(0.7 / np.exp(0.3))
    np.testing.assert_allclose(log_scale, [np.exp(0.5), -np.exp(-0.5), within, np.e, 1 / np.e], rtol=1e-6)
    np.testing.assert_allclose(z[2], 5 * np.exp(within), rtol=1e-6)


@pytest.mark.parametrize(("event", "mask", "net", "channels"), [
    ((2, 3, 1), Checkerboard(), Conv(4), 1),
    ((2, 3, 5), Checkerboard(), Conv(4), 5),
    ((2, 3, 5), None, Conv(4), 3),
    ((5,), Alternate(), MLP((4,)), 5),
    ((2, 3, 1), Checkerboard(), MLP((4,)), 6),  # one vector for all positions
])
def test_a_shared_head_adds_one_free_parameter_a_channel(event, mask, net, channels):
    x = data(event)

    def count(transformer, head):
        coupling = Coupling(transformer, net, mask, head=head)
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(coupling.init, jax.random.key(0), x)))

    added = count(LearnedTanhAffine(), SharedHead) - count(TanhAffine(), ZeroHead)
    assert added == channels


def test_shared_parameters_come_last_and_are_the_same_in_all_rows_and_positions():
    head, h = SharedHead(12, (1.0, 2.0, 3.0, 4.0), shared=2), data((2, 3, 5))
    variables = random_variables(head, 0, h)
    p = np.asarray(head.apply(variables, h))
    np.testing.assert_array_equal(p[..., 6:], np.broadcast_to(variables["params"]["free"], (4, 2, 3, 6)))
    assert (p[..., :6].std((0, 1, 2)) > 1e-3).all()
    fresh = head.init_with_output(jax.random.key(0), h)[0]
    np.testing.assert_array_equal(fresh, np.broadcast_to(np.repeat([1.0, 2.0, 3.0, 4.0], 3), (4, 2, 3, 12)))
    for shared in (0, 4):
        with pytest.raises(ValueError, match="`shared` must be between 1 and 3"):
            SharedHead(12, (1.0, 2.0, 3.0, 4.0), shared).init(jax.random.key(0), h)


def test_context_is_fitted_to_the_resolution():
    vector, image = data((2,)), data((4, 6, 2))
    repeated = np.broadcast_to(vector[:, None, None], (4, 3, 5, 2))
    np.testing.assert_array_equal(fit_context(vector, (4, 3, 5, 1)), repeated)
    np.testing.assert_array_equal(fit_context(vector, (4, 7)), vector)
    np.testing.assert_array_equal(fit_context(image, (4, 4, 6, 1)), image)
    np.testing.assert_allclose(fit_context(jnp.ones((4, 8, 3, 2)), (4, 4, 6, 1)), 1.0, rtol=1e-6)
    # a gradient from left to right stays one, the same way round
    ramp = jnp.broadcast_to(jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
    assert (np.diff(fit_context(ramp, (1, 4, 4, 3))[0, 0, :, 0]) > 1).all()


@pytest.mark.parametrize(("context", "shape"), [
    ((4, 3, 3, 1), (4, 5)), ((3, 2), (4, 5)), ((4,), (4, 5)), ((4, 2, 1), (4, 2, 2, 1)), ((4, 3, 2), (4, 2, 2)),
])
def test_a_context_that_does_not_fit_is_named(context, shape):
    with pytest.raises(ValueError, match="fit an input of shape") as error:
        fit_context(jnp.zeros(context), shape)
    assert str(context) in str(error.value) and str(shape) in str(error.value)


def test_refuses_empty_parts_and_networks_that_lose_positions():
    affine = TanhAffine()
    with pytest.raises(ValueError, match="two features"):
        Coupling(affine, MLP((4,))).init(jax.random.key(0), data((1,)))
    with pytest.raises(ValueError, match="empty"):
        Coupling(affine, MLP((4,)), mask=(True, True)).init(jax.random.key(0), data((2,)))
    with pytest.raises(ValueError, match="empty"):
        Coupling(affine, MLP((4,)), mask=Alternate(), flip=True).init(jax.random.key(0), data((1,)))
    with pytest.raises(ValueError, match="Checkerboard requires"):
        Coupling(affine, MLP((4,)), mask=Checkerboard()).init(jax.random.key(0), data((4,)))
    with pytest.raises(ValueError, match=r"conditioner must return .* got shape \(4, 2, 2, 4\)"):
        Coupling(affine, Conv(4, strides=2)).init(jax.random.key(0), data((4, 4, 2)))


def test_networks_may_compute_in_half_precision():
    x = data((5,))
    half = Coupling(TanhAffine(), nn.Sequential((nn.Dense(8, dtype=jnp.bfloat16), nn.relu)))
    variables = random_variables(half, 0, x)
    z, log_det = half.apply(variables, x)
    assert z.dtype == log_det.dtype == jnp.float32
    np.testing.assert_allclose(half.apply(variables, z, method="inverse"), x, atol=1e-5)


def test_an_injector_transforms_every_coordinate_by_the_context_alone():
    """`z = (x + t(u)) exp(s(u))`, s = 2 tanh(a / 2), with the network and the head computed by NumPy."""
    injector, x, context = AffineInjector(nn.Sequential((nn.Dense(4), nn.tanh))), data((5,)), data((2,))
    variables = random_variables(injector, 1, x, context)
    z, log_det = injector.apply(variables, x, context)
    (dense,), head = variables["params"]["conditioner"].values(), variables["params"]["head"]["layer"]
    h = np.tanh(np.asarray(context) @ dense["kernel"] + dense["bias"])
    a, t = np.split(h @ head["kernel"] + head["bias"], 2, -1)
    s = 2 * np.tanh(a / 2)
    np.testing.assert_allclose(z, (x + t) * np.exp(s), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_det, s.sum(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(injector.apply(variables, x + 1, context, method="log_det"), log_det)
    with pytest.raises(ValueError, match="`context` must be given"):
        injector.apply(variables, x)
