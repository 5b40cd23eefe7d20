"""What every bijector must do, checked on every bijector with all its variables randomised, in float64."""

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxgen.bijectors
from jaxgen.bijectors import (
    ActNorm, Additive, Affine, AffineInjector, Alternate, BatchNorm, Bijector, Chain, Checkerboard, ConditionalNormal,
    Coupling, Elementwise, FirstHalf, Halves, Invert, InvertibleLinear, LeakyReLU, LearnedTanhAffine,
    LogisticMixtureCDF, Logit,
    MaskedAutoregressive, Permute, Probit, RationalQuadraticSpline, Repeat, Reshape, Scale, SharedHead, Sigmoid,
    SigmoidAffine, Softplus, Squeeze, Tanh, TanhAffine, factor_out,
)
from jaxgen.convolution import Conv
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.nets.mlp import MLP
from tests.bijectors.tools import quick, random_variables

B = 3


@dataclasses.dataclass(frozen=True)
class Case:
    """A bijector, the event it is tried on, the shape of the context that it depends on, and where it is defined."""

    bijector: Bijector
    event: tuple[int, ...]
    context: tuple[int, ...] | None = None
    domain: str = "line"
    image: str = "line"
    scale: float = 0.3  # of its random parameters


def dense():
    return MLP((5,), nn.tanh)


def conv():
    return nn.Sequential((Conv(4), nn.tanh))


def affine(conditioner, **fields):
    return Coupling(TanhAffine(), conditioner, **fields)


def learned_bound(conditioner, **fields):
    return Coupling(LearnedTanhAffine(), conditioner, head=SharedHead, **fields)


def masked(widths=(7, 6), **fields):
    return MaskedAutoregressive(TanhAffine(), widths, nn.tanh, **fields)


def step():
    return Chain((ActNorm(), Permute(), affine(dense()), LeakyReLU(0.5)))


def image_step():
    return Chain((ActNorm(), affine(conv(), mask=Checkerboard()), Permute(), affine(conv(), flip=True)))


def multi_scale():
    """The image flow after its logit, beyond whose reach random latents would lead."""
    return real_nvp_image((4, 4, 1), depth=1, width=4, blocks=0).bijector.bijectors[1]


CASES = {
    "affine": Case(Affine(0.5, -3.0), (3,)),
    "affine of tuples": Case(Affine((0.5, -1.0, 2.0), ((1.0,), (2.0,))), (2, 3)),
    "logit": Case(Logit(), (3,), domain="unit"),
    "logit with margin": Case(Logit(0.05), (2, 2, 1), domain="unit"),
    "sigmoid": Case(Sigmoid(), (3,), image="unit"),
    "probit": Case(Probit(), (3,), domain="unit"),
    "softplus": Case(Softplus(), (3,), image="positive"),
    "tanh": Case(Tanh(), (3,), image="ball"),
    "leaky relu": Case(LeakyReLU(0.1), (4,)),
    "permute at random": Case(Permute(), (7,)),
    "permute channels": Case(Permute(), (2, 3, 5)),
    "reverse": Case(Permute("reverse"), (5,)),
    "permute by parity": Case(Permute("parity"), (5,)),
    "permute as given": Case(Permute((2, 0, 3, 1)), (4,)),
    "autoregressive splines": Case(MaskedAutoregressive(RationalQuadraticSpline(4, 2.0), (7,)), (4,), (2,)),
    "repeat of autoregressive splines": Case(
        Repeat(Chain((InvertibleLinear(), MaskedAutoregressive(RationalQuadraticSpline(3), (5,)))), 2), (3,)
    ),
    "reshape": Case(Reshape((2, 3, 1), (6,)), (2, 3, 1)),
    "linear": Case(InvertibleLinear(), (5,)),
    "linear on images": Case(InvertibleLinear(), (2, 3, 4)),
    "linear of one feature": Case(InvertibleLinear(), (1,)),
    "linear, a matrix": Case(InvertibleLinear("matrix"), (2, 1, 3)),
    "repeat of linear": Case(Repeat(Chain((InvertibleLinear(), LeakyReLU(0.5))), 3), (4,)),
    "scale": Case(Scale(), (2, 3)),
    "squeeze": Case(Squeeze(), (4, 6, 2)),
    "squeeze by 3": Case(Squeeze(3), (3, 6, 1)),
    "un-squeeze": Case(Invert(Squeeze()), (1, 3, 8)),
    "act norm": Case(ActNorm(), (3,)),
    "act norm of images": Case(ActNorm(), (3, 2, 3)),
    "additive coupling": Case(Coupling(Additive(), dense()), (5,)),
    "affine coupling": Case(affine(dense()), (5,)),
    "affine coupling, flipped": Case(affine(dense(), flip=True), (5,)),
    "affine coupling, context": Case(affine(dense()), (5,), (2,)),
    "alternate": Case(affine(dense(), mask=Alternate()), (5,)),
    "alternate, flipped, context": Case(affine(dense(), mask=Alternate(), flip=True), (4,), (2,)),
    "alternate on channels": Case(affine(conv(), mask=Alternate()), (2, 3, 3)),
    "halves of channels": Case(affine(conv()), (3, 2, 3)),
    "halves of channels, vector context": Case(affine(conv(), flip=True), (3, 2, 3), (2,)),
    "halves of channels, masked": Case(affine(conv(), mask=Halves()), (2, 2, 3), (2,)),
    "halves of channels, dense network": Case(affine(dense()), (2, 2, 3)),
    "checkerboard": Case(affine(conv(), mask=Checkerboard()), (3, 5, 1)),
    "checkerboard, flipped": Case(affine(conv(), mask=Checkerboard(), flip=True), (3, 3, 2)),
    "checkerboard, dense network, context": Case(affine(dense(), mask=Checkerboard()), (3, 3, 1), (2,)),
    "checkerboard, spatial context": Case(affine(conv(), mask=Checkerboard()), (4, 2, 1), (4, 2, 2)),
    "checkerboard, coarse context": Case(affine(conv(), mask=Checkerboard()), (4, 2, 1), (2, 2, 1)),
    "mask as given": Case(affine(dense(), mask=(True, False, False, True, False)), (5,)),
    "mask as given, rows": Case(Coupling(Additive(), conv(), mask=(((True,),), ((False,),))), (2, 3, 2)),
    "sigmoid affine coupling": Case(Coupling(SigmoidAffine(), dense()), (5,)),
    "sigmoid affine coupling of images, context": Case(
        Coupling(SigmoidAffine(), conv(), mask=Checkerboard()), (2, 3, 2), (2,)
    ),
    "learned bound": Case(learned_bound(dense()), (5,)),
    "learned bound by the network, context": Case(
        Coupling(LearnedTanhAffine(), dense(), flip=True), (5,), (2,)
    ),
    "learned bound of images": Case(learned_bound(conv(), mask=Checkerboard()), (2, 3, 2)),
    "learned bound of images, dense network": Case(learned_bound(dense()), (2, 2, 3)),
    "affine injector": Case(AffineInjector(dense()), (3,), (2,)),
    "affine injector of images, coarse context": Case(AffineInjector(conv()), (4, 2, 2), (2, 1, 3)),
    "sigmoid affine injector of images, dense network": Case(
        AffineInjector(dense(), SigmoidAffine()), (2, 2, 1), (2,)
    ),
    "spline coupling": Case(Coupling(RationalQuadraticSpline(4), dense()), (5,), scale=1.0),
    "spline coupling of one bin": Case(Coupling(RationalQuadraticSpline(1), dense(), flip=True), (5,)),
    "spline coupling of two bins, context": Case(
        Coupling(RationalQuadraticSpline(2), dense(), Alternate()), (4,), (2,)
    ),
    "spline coupling of images": Case(Coupling(RationalQuadraticSpline(3, 1.5), conv(), Checkerboard()), (2, 3, 2)),
    "spline coupling of images, dense network": Case(Coupling(RationalQuadraticSpline(3), dense()), (2, 2, 3)),
    "mixture coupling": Case(Coupling(LogisticMixtureCDF(3), dense()), (5,), scale=1.0),
    "mixture coupling, context": Case(Coupling(LogisticMixtureCDF(2), dense(), Alternate()), (4,), (2,)),
    "mixture coupling of images": Case(
        Coupling(LogisticMixtureCDF(2), conv(), Checkerboard()), (2, 3, 2), (2,)
    ),
    "batch norm": Case(BatchNorm(), (3,)),
    "batch norm of images": Case(BatchNorm(), (3, 2, 3)),
    "repeat of batch norm, context": Case(Repeat(Chain((BatchNorm(), affine(dense()))), 2), (3,), (2,)),
    "autoregressive": Case(masked(), (5,)),
    "autoregressive, one coordinate": Case(masked(), (1,)),
    "autoregressive, one coordinate, context": Case(masked(), (1,), (2,)),
    "autoregressive, two coordinates": Case(MaskedAutoregressive(Additive(), (4,)), (2,)),
    "autoregressive, fewer units than coordinates": Case(masked((2, 3)), (6,), (2,)),
    "autoregressive, no hidden layer, context": Case(masked(()), (3,), (2,)),
    "autoregressive in reverse": Case(masked(order="reverse"), (4,)),
    "autoregressive as given, context": Case(masked(order=(2, 0, 3, 1)), (4,), (2,)),
    "autoregressive at random, images, spatial context": Case(masked(order="random"), (2, 3, 1), (2, 1, 2)),
    "inverse autoregressive": Case(Invert(masked()), (4,), (1,)),
    "repeat of autoregressive": Case(Repeat(Chain((ActNorm(), masked(order="random"))), 2), (3,), (2,)),
    "repeat of inverse autoregressive": Case(Repeat(Chain((Invert(masked()), Permute("reverse"))), 2), (3,)),
    "learned prior": Case(ConditionalNormal(), (2, 2, 3)),
    "learned prior, positions": Case(ConditionalNormal(per_position=True), (2, 2, 3)),
    "learned prior, context": Case(ConditionalNormal(), (2, 2, 3), (4,)),
    "learned prior, positions, context": Case(ConditionalNormal(per_position=True), (5,), (4,)),
    "learned prior, spatial context": Case(ConditionalNormal(), (4, 2, 2), (2, 2, 3)),
    "factor out": Case(factor_out(affine(conv()), conv()), (2, 2, 5), (2,)),
    "on half": Case(FirstHalf(affine(dense())), (7,)),
    "chain": Case(Chain((step(), Softplus(), Invert(Softplus()), Affine(0.0, 2.0))), (4,)),
    "repeat, context": Case(Repeat(step(), 3), (4,), (2,)),
    "repeat of repeat": Case(Repeat(Chain((Repeat(step(), 2), Permute("reverse"))), 2), (4,)),
    "repeat, rematerializing": Case(Repeat(step(), 3, "rematerialize"), (4,), (2,)),
    "repeat, reversing": Case(Repeat(step(), 3, "reverse"), (4,), (2,)),
    "repeat of images, reversing": Case(Repeat(image_step(), 2, "reverse"), (3, 2, 2), (3, 2, 1)),
    "repeat of images, spatial context": Case(Repeat(image_step(), 2), (3, 2, 2), (3, 2, 1)),
    "invert": Case(Invert(affine(dense())), (4,), (1,)),
    "invert of repeat": Case(Invert(Repeat(step(), 2)), (4,)),
    "repeat of invert": Case(Repeat(Invert(step()), 2), (4,)),
    "real nvp of vectors": Case(real_nvp_vector(3, depth=2, widths=(4,)).bijector, (3,), (2,)),
    "real nvp of images": Case(multi_scale(), (4, 4, 1), (2,), scale=0.1),
}
# Variants of what other cases try: compiling them all takes minutes.
SLOW = {
    "alternate on channels", "autoregressive as given, context", "autoregressive, no hidden layer, context",
    "autoregressive, one coordinate, context", "checkerboard, coarse context", "halves of channels, dense network",
    "learned bound by the network, context", "learned bound of images, dense network", "linear of one feature",
    "mixture coupling of images", "repeat of autoregressive splines", "repeat of batch norm, context",
    "repeat of images, spatial context", "repeat of inverse autoregressive", "repeat, rematerializing",
    "sigmoid affine coupling of images, context", "spline coupling of images, dense network",
    "spline coupling of two bins, context", "repeat of repeat", "mixture coupling, context",
    "autoregressive in reverse",
    "spline coupling of images", "real nvp of vectors", "repeat, reversing", "learned bound of images",
    "halves of channels, masked", "checkerboard, flipped", "affine injector of images, coarse context",
}


def of(names):
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


every_name = pytest.mark.parametrize("name", of(CASES))
everything = pytest.mark.parametrize(
    "case", [pytest.param(CASES[p.values[0]], id=p.values[0], marks=p.marks) for p in of(CASES)]
)


def draw(where, rng, shape):
    if where == "line":
        return rng.normal(size=shape)
    low, high = {"unit": (0.02, 0.98), "positive": (0.02, 4.0), "ball": (-0.98, 0.98)}[where]
    return rng.uniform(low, high, shape)


def extremes(where, shape):
    """Each row full of one of the worst values."""
    far = {"line": (-1e3, 0.0, 1e3), "unit": (0.0, 0.5, 1.0), "positive": (0.0, 1e-30, 1e3), "ball": (-1.0, 0.0, 1.0)}
    return np.broadcast_to(np.reshape(far[where], (B, *(1 for _ in shape[1:]))), shape)


class Results(NamedTuple):
    """What one direction of a bijector gives at one input."""

    value: np.ndarray
    log_det: np.ndarray
    jacobian: np.ndarray
    gradients: Any


def study(bijector, direction):
    """One compiled function for everything that is asked of a direction."""

    @quick
    def at(variables, x, context):
        def apply(parameters, x):
            return bijector.apply({**variables, "params": parameters}, x, context, method=f"{direction}_and_log_det")

        (value, log_det), pull_back = jax.vjp(apply, variables.get("params", {}), x)
        size = value[0].size
        # Rows do not see each other, so a basis vector in all rows at once asks for a line of each row's Jacobian.
        # After the basis vectors, one more line asks for the gradient of the sum of everything.
        pulled = jnp.concatenate([jnp.eye(size), jnp.ones((1, size))])
        pulled = jnp.broadcast_to(pulled[:, None], (size + 1, B, size)).reshape(size + 1, *value.shape)
        log_det_pulled = jnp.zeros((size + 1, B)).at[-1].set(1)
        by_parameters, by_x = jax.vmap(pull_back)((pulled, log_det_pulled))
        jacobian = jnp.moveaxis(by_x[:-1], 0, 1).reshape(B, size, size)
        return Results(value, log_det, jacobian, jax.tree.map(lambda a: a[-1], (by_parameters, by_x)))

    return lambda *inputs: jax.device_get(at(*inputs))


class Studied(NamedTuple):
    variables: Any
    context: Any
    x: Any
    forward: Results
    forward_back: Results
    forward_extremes: Results
    z: Any
    inverse: Results
    inverse_back: Results
    inverse_extremes: Results
    other_context: tuple[Results, Results] | None


@functools.cache
def studied(name):
    case = CASES[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(list(name.encode()))
        x = draw(case.domain, rng, (B, *case.event))
        context = None if case.context is None else rng.normal(size=(B, *case.context))
        variables = random_variables(case.bijector, rng, x, context, scale=case.scale)
        forward, inverse = (functools.partial(study(case.bijector, d), variables) for d in ("forward", "inverse"))
        there = forward(x, context)
        z = draw(case.image, rng, there.value.shape)
        back = inverse(z, context)
        other = None if context is None else (forward(x, context + 1), inverse(z, context + 1))
        return Studied(
            variables, context,
            x, there, inverse(there.value, context), forward(extremes(case.domain, x.shape), context),
            z, back, forward(back.value, context), inverse(extremes(case.image, z.shape), context),
            other,
        )


@every_name
def test_round_trips_both_ways(name):
    s = studied(name)
    for start, there, back in ((s.x, s.forward, s.forward_back), (s.z, s.inverse, s.inverse_back)):
        np.testing.assert_allclose(back.value, start, rtol=0, atol=1e-9)
        np.testing.assert_allclose(back.log_det, -there.log_det, rtol=0, atol=1e-9)


@every_name
def test_log_det_is_that_of_the_jacobian(name):
    s = studied(name)
    for there in (s.forward, s.inverse):
        assert there.log_det.shape == (B,)
        assert there.log_det.dtype == there.value.dtype == np.float64
        np.testing.assert_allclose(there.log_det, np.linalg.slogdet(there.jacobian)[1], rtol=0, atol=1e-8)


@every_name
def test_values_and_gradients_are_finite_at_the_edges_and_far_out(name):
    s = studied(name)
    for leaf in jax.tree.leaves((s.forward_extremes, s.inverse_extremes)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("name", [
    "affine of tuples", "permute at random", "act norm", "alternate, flipped, context", "learned prior, context",
    "repeat, context",
])
def test_is_the_same_map_outside_jit(name):
    s = studied(name)
    with jax.enable_x64(True):
        x, context = jax.tree.map(jnp.asarray, (s.x, s.context))
        z, log_det = CASES[name].bijector.apply(s.variables, x, context)
    np.testing.assert_allclose(z, s.forward.value, rtol=0, atol=1e-12)
    np.testing.assert_allclose(log_det, s.forward.log_det, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", of(name for name, case in CASES.items() if case.context is not None))
def test_context_changes_the_map_of_every_row(name):
    s = studied(name)
    for there, other in zip((s.forward, s.inverse), s.other_context, strict=True):
        assert np.abs(other.value - there.value).reshape(B, -1).max(-1).min() > 1e-3


@pytest.mark.slow
@everything
def test_takes_half_precision_and_a_context_it_may_not_need(case):
    x = jax.ShapeDtypeStruct((B, *case.event), jnp.bfloat16)
    context = jax.ShapeDtypeStruct((B, *(case.context or (2,))), jnp.float32)
    variables = jax.eval_shape(case.bijector.init, jax.random.key(0), x, context)
    for direction in ("forward_and_log_det", "inverse_and_log_det"):
        apply = functools.partial(case.bijector.apply, method=direction)
        y, log_det = jax.eval_shape(apply, variables, x, context)
        assert log_det.shape == (B,) and log_det.dtype == jnp.float32
        x = y


@pytest.mark.slow
@everything
def test_either_direction_of_init_gives_the_same_variables(case):
    x = jax.ShapeDtypeStruct((B, *case.event), jnp.float32)
    context = None if case.context is None else jax.ShapeDtypeStruct((B, *case.context), jnp.float32)
    forward = jax.eval_shape(case.bijector.init, jax.random.key(0), x, context)
    z = jax.eval_shape(case.bijector.apply, forward, x, context)[0]
    inverse = jax.eval_shape(
        functools.partial(case.bijector.init, method="inverse_and_log_det"), jax.random.key(0), z, context
    )
    assert jax.tree.map(lambda a: (a.shape, a.dtype), forward) == jax.tree.map(lambda a: (a.shape, a.dtype), inverse)


@everything
def test_is_a_value(case):
    assert hash(case.bijector) == hash(case.bijector.clone())
    assert case.bijector == case.bijector.clone()


def test_every_bijector_is_tested():
    def inside(value):
        if isinstance(value, Bijector):
            yield type(value)
            for field in dataclasses.fields(value):
                if field.name != "parent":
                    yield from inside(getattr(value, field.name))
        elif isinstance(value, tuple):
            for item in value:
                yield from inside(item)

    assert SLOW < set(CASES)
    tested = {kind for name, case in CASES.items() if name not in SLOW for kind in inside(case.bijector)}
    folder = jaxgen.bijectors
    modules = [importlib.import_module(f"{folder.__name__}.{m.name}") for m in pkgutil.iter_modules(folder.__path__)]
    written = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    written = {kind for kind in written if issubclass(kind, Bijector) and not kind.__name__.startswith("_")}
    assert written - tested == {Bijector, Elementwise}


def test_float64_stays_in_these_tests():
    studied("act norm")
    assert jnp.zeros(()).dtype == jnp.float32
