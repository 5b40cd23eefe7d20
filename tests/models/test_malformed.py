"""Models of arguments out of range, and their methods at data, latents and contexts that do not fit."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Clock
from jaxgen.models.flows.glow import glow
from jaxgen.models.flows.maf import iaf, maf, maf_image
from jaxgen.models.flows.neural_spline import neural_spline_autoregressive, neural_spline_coupling
from jaxgen.models.flows.nice import nice
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.models.flows.sr_flow import sr_flow
from jaxgen.models.gans import GAN
from jaxgen.models.vaes import conv_vae, dense_vae, residual_vae
from jaxgen.nets import MLP
from jaxgen.training.trained import TrainedModel
from tests.malformed import examples, outcome, refused

KEY = jax.random.key(0)
IMAGE = (4, 4, 1)
SHAPES = ((), (0,), (-2,), (2.5,), ("2",), None, 2, "22")
COUNTS = (0, -1, 2.5, "3", None, True, float("nan"))


def gan(event_shape, width=3, **fields):
    return GAN(MLP((width,)), MLP((width,)), event_shape, **fields)


# What makes each model, and of its arguments the counts and the shapes.
BUILDERS = {
    real_nvp_vector: {"features": 2, "depth": 1, "widths": (3,)},
    real_nvp_image: {"event_shape": IMAGE, "num_levels": 4, "num_scales": 1, "depth": 1, "width": 3},
    glow: {"event_shape": IMAGE, "num_levels": 4, "num_scales": 1, "depth": 1, "width": 3},
    sr_flow: {"event_shape": IMAGE, "num_levels": 4, "num_scales": 1, "depth": 1, "width": 3},
    maf: {"features": 2, "depth": 1, "widths": (3,)},
    iaf: {"features": 2, "depth": 1, "widths": (3,)},
    maf_image: {"event_shape": IMAGE, "num_levels": 4, "depth": 1, "widths": (3,)},
    nice: {"event_shape": (2,), "couplings": 1, "widths": (3,)},
    neural_spline_coupling: {"features": 2, "depth": 1, "width": 3},
    neural_spline_autoregressive: {"features": 2, "depth": 1, "widths": (3,)},
    dense_vae: {"event_shape": (2,), "latent_dim": 2, "widths": (3,)},
    conv_vae: {"event_shape": IMAGE, "latent_dim": 2, "width": 3},
    residual_vae: {"event_shape": IMAGE, "latent_dim": 2, "width": 3},
    gan: {"event_shape": (2,), "latent_dim": 2, "packing": 1, "critic_steps": 1},
}
EACH = [(build, name) for build, given in BUILDERS.items() for name in given]


@examples(250)
@hypothesis.given(st.sampled_from(EACH), st.sampled_from(COUNTS), st.sampled_from(SHAPES[1:]))
def test_arguments_out_of_range_are_named(where, count, shape):
    build, name = where
    wrong = {"event_shape": shape, "widths": (4, count)}.get(name, count)
    refused(lambda: build(**{**BUILDERS[build], name: wrong}), name)


MODELS = {
    "flow": (lambda: real_nvp_vector(2, depth=1, widths=(3,)), (2,), np.float32),
    "image flow": (
        lambda: real_nvp_image(IMAGE, num_levels=4, num_scales=1, depth=1, width=3, blocks=0), IMAGE, np.uint8
    ),
    "vae": (lambda: dense_vae((2,), latent_dim=2, widths=(3,)), (2,), np.float32),
    "image vae": (lambda: conv_vae(IMAGE, latent_dim=2, width=3, levels=256), IMAGE, np.uint8),
    "gan": (lambda: gan((2,)), (2,), np.float32),
}


@functools.cache
def ready(name, conditional):
    build, shape, dtype = MODELS[name]
    model, batch = build(), {"x": np.ones((4, *shape), dtype)}
    if conditional:
        batch["context"] = np.ones((4, 3), np.float32)
    return model, jax.eval_shape(model.init, KEY, batch), batch


any_model = st.sampled_from(sorted(MODELS))


@examples(60)
@hypothesis.given(any_model, st.booleans(), st.one_of(st.sampled_from(COUNTS), st.integers(max_value=0)))
def test_samples_are_at_least_one(name, conditional, n):
    model, variables, batch = ready(name, conditional)
    hypothesis.assume(n is not True)
    refused(lambda: jax.eval_shape(lambda v: model.sample(v, KEY, n, batch.get("context")), variables), "`n` must be")


@examples(10)
@hypothesis.given(any_model)
def test_numbers_of_numpy_are_numbers(name):
    model, variables, _ = ready(name, False)
    found = jax.eval_shape(lambda v: TrainedModel(model, v).sample(KEY, np.int64(2)), variables)
    assert found.shape == (2, *MODELS[name][1])


CONTEXTS = {
    "a number a row": np.ones(4, np.float32),
    "a number": np.float32(1),
    "wide": np.ones((4, 5), np.float32),
    "deep": np.ones((4, 3, 1), np.float32),
    "few": np.ones((3, 3), np.float32),
    "no rows": np.ones((0, 3), np.float32),
    "words": np.full((4, 3), "a"),
    "labels": np.array([0, 1, 2, 0]),
    "objects": np.full((4, 3), None),
}


@examples(120)
@hypothesis.given(any_model, st.booleans(), st.sampled_from(sorted(CONTEXTS)), st.booleans())
def test_a_context_that_does_not_fit_is_refused(name, conditional, kind, in_a_batch):
    """A context of one axis once broadcast against the rows."""
    model, variables, batch = ready(name, conditional)
    context = CONTEXTS[kind]

    def losses(v):
        given = {**batch, "context": context}
        return [play.loss(v, given, KEY, Clock()).value for play in model.plays().values()]

    call = losses if in_a_batch else lambda v: model.sample(v, KEY, 4, context)
    refused(lambda: jax.eval_shape(call, variables), "context")


@examples(30)
@hypothesis.given(any_model)
def test_a_context_that_is_missing_is_missed(name):
    model, variables, batch = ready(name, True)
    refused(lambda: jax.eval_shape(lambda v: model.sample(v, KEY, 4), variables), "context")


DATA = {
    "deep": lambda x: x[..., None],
    "numbers": lambda x: x.reshape(4, -1)[:, 0],
    "no rows": lambda x: x[:0],
    "wide": lambda x: np.concatenate([x, x], -1),
    "complex": lambda x: x.astype(complex),
    "none": lambda x: None,
    "words": lambda x: np.full(x.shape, "a"),
    "a number": lambda x: x.flat[0],
    "ragged": lambda x: [[1.0], [1.0, 2.0]],
    "real for integers": lambda x: x.astype(np.float32) if x.dtype == np.uint8 else x.astype(complex),
}


@examples(100)
@hypothesis.given(any_model, st.booleans(), st.sampled_from(sorted(DATA)))
def test_data_that_do_not_fit_are_refused(name, conditional, kind):
    model, variables, batch = ready(name, conditional)
    x = DATA[kind](batch["x"])

    def rate(v):
        if hasattr(model, "log_prob"):
            return model.log_prob(v, x, KEY, batch.get("context"))
        return model.score(v, x, batch.get("context"))

    refused(lambda: jax.eval_shape(rate, variables))


LATENTS = {
    "numbers": np.ones(4, np.float32),
    "no rows": np.ones((0, 2), np.float32),
    "wide": np.ones((4, 9), np.float32),
    "words": np.full((4, 2), "a"),
    "ragged": [[1.0], [1.0, 2.0]],
    "none": None,
}


@examples(60)
@hypothesis.given(any_model, st.booleans(), st.sampled_from(sorted(LATENTS)))
def test_latents_that_do_not_fit_are_refused(name, conditional, kind):
    model, variables, batch = ready(name, conditional)
    refused(lambda: jax.eval_shape(lambda v: model.decode(v, LATENTS[kind], batch.get("context")), variables))


@examples(40)
@hypothesis.given(any_model, st.booleans())
def test_lists_are_arrays(name, conditional):
    model, variables, batch = ready(name, conditional)
    given = {key: value.tolist() for key, value in batch.items()}

    def rate(v, x, context):
        return (model.log_prob(v, x, KEY, context) if hasattr(model, "log_prob") else model.score(v, x, context)).shape

    assert jax.eval_shape(lambda v: jnp.zeros(rate(v, given["x"], given.get("context"))), variables).shape == (4,)


def test_a_flow_of_integers_takes_none_but_integers():
    """Reals in [0, 1) once were dequantized as if they were all zero."""
    _, said = outcome(lambda: ready("image flow", False)[0].init(KEY, {"x": np.ones((4, *IMAGE), np.float32)}))
    assert said is not None and "integers" in said
