"""Bijectors at inputs and contexts that are malformed, and at well-formed ones of other types."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import Affine, Logit, Permute
from tests.bijectors.test_properties import CASES, SLOW, B
from tests.malformed import examples, outcome, refused

KEY = jax.random.key(0)
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")
# a third of them: tracing them all takes a minute
NAMES = sorted(set(CASES) - SLOW)[::3]

NEVER = {
    "a number": lambda x: np.float32(1),
    "numbers": lambda x: x.reshape(B, -1)[:, 0],
    "no features": lambda x: x[..., :0],
    "no rows": lambda x: x[:0],
    "complex": lambda x: x.astype(complex),
    "words": lambda x: np.full(x.shape, "a"),
    "none": lambda x: None,
    "ragged": lambda x: [[1.0], [1.0, 2.0], [3.0]],
    "keys": lambda x: jax.random.split(KEY, B),
}
OF_ANOTHER_EVENT = {
    "deeper": lambda x: x[..., None],
    "flat": lambda x: x.reshape(B, -1),
    "wider": lambda x: np.concatenate([x, x[..., :1]], -1),
    "higher": lambda x: np.concatenate([x, x[:, :1]], 1),
    "narrower": lambda x: x[..., :1],
}
CONTEXTS = {
    "a number a row": lambda c: c[:, 0].reshape(B, -1)[:, 0],
    "fewer rows": lambda c: c[:2],
    "no rows": lambda c: c[:0],
    "no features": lambda c: c[..., :0],
    "words": lambda c: np.full(c.shape, "a"),
    "more features": lambda c: np.concatenate([c, c], -1),
    "none": lambda c: None,
}
EQUIVALENTS = {
    "list": np.ndarray.tolist,
    "float64": np.float64,
    "int": np.int32,
    "uint8": np.uint8,
    "bool": lambda x: x > 0,
    "float16": np.float16,
    "bfloat16": lambda x: jnp.asarray(x, jnp.bfloat16),
}


@functools.cache
def shapes(name):
    """Abstract variables, an input for each direction, and the context."""
    case = CASES[name]
    x = np.ones((B, *case.event), np.float32)
    context = None if case.context is None else np.ones((B, *case.context), np.float32)
    variables = jax.eval_shape(case.bijector.init, KEY, x, context)
    z = jax.eval_shape(lambda v: case.bijector.apply(v, x, context, method="forward"), variables)
    return variables, {"forward_and_log_det": x, "inverse_and_log_det": np.ones(z.shape, np.float32)}, context


def run(name, direction, x, context):
    return jax.eval_shape(
        lambda variables: CASES[name].bijector.apply(variables, x, context, method=direction), shapes(name)[0]
    )


@examples(120)
@hypothesis.given(st.sampled_from(NAMES), st.sampled_from(DIRECTIONS), st.sampled_from(sorted(NEVER)))
def test_what_are_no_rows_of_numbers_is_refused(name, direction, kind):
    _, inputs, context = shapes(name)
    refused(lambda: run(name, direction, NEVER[kind](inputs[direction]), context), "x" if direction[0] == "f" else "z")


@examples(200)
@hypothesis.given(st.sampled_from(NAMES), st.sampled_from(DIRECTIONS), st.sampled_from(sorted(OF_ANOTHER_EVENT)))
def test_another_event_is_refused_or_mapped_as_itself(name, direction, kind):
    _, inputs, context = shapes(name)
    x = OF_ANOTHER_EVENT[kind](inputs[direction])
    found, _ = outcome(lambda: run(name, direction, x, context))
    if found is not None:
        value, log_det = found
        assert value.size == x.size and log_det.shape == (B,)


@examples(100)
@hypothesis.given(
    st.sampled_from([name for name in NAMES if CASES[name].context]),
    st.sampled_from(DIRECTIONS),
    st.sampled_from(sorted(CONTEXTS)),
)
def test_a_context_that_does_not_fit_is_refused(name, direction, kind):
    _, inputs, context = shapes(name)
    refused(lambda: run(name, direction, inputs[direction], CONTEXTS[kind](context)), "context")


@examples(60)
@hypothesis.given(st.sampled_from(NAMES), st.sampled_from(DIRECTIONS), st.sampled_from(sorted(EQUIVALENTS)))
def test_other_types_of_numbers_are_taken(name, direction, kind):
    _, inputs, context = shapes(name)
    x = inputs[direction]
    value, log_det = run(name, direction, EQUIVALENTS[kind](x), None if context is None else EQUIVALENTS[kind](context))
    assert value.size == x.size and log_det.shape == (B,) and log_det.dtype == jnp.float32


def test_a_drawn_order_is_of_its_own_axis():
    """It once gathered from an axis of another length, and answered with too many features."""
    variables = jax.jit(Permute().init)(KEY, np.ones((2, 7)))
    refused(lambda: Permute().apply(variables, np.ones((2, 8))), "8")
    refused(lambda: Permute().apply(variables, np.ones((2, 7, 1))), "1")


@pytest.mark.parametrize("alpha", [0.5, 0.7, -0.1, float("nan"), float("inf"), "0.1", None])
def test_a_margin_of_half_is_refused(alpha):
    refused(lambda: Logit(alpha), "alpha")


@pytest.mark.parametrize("constants", [{"shift": (1.0, 2.0)}, {"scale": ((1.0,), (2.0,))}, {"scale": 0.0}])
def test_constants_of_another_event_are_refused(constants):
    refused(lambda: Affine(**constants).apply({}, np.ones((2, 3))), "scale")
