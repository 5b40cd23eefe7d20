"""What callers may hand to models: lists, one row of context for many, single events, symbolic batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export

from jaxgen.contracts import Clock
from jaxgen.bijectors import Affine, Chain, Coupling, MaskedAutoregressive, Permute, Repeat, Reshape
from jaxgen.bijectors.transformers import SigmoidAffine, TanhAffine
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.classifier import Classifier
from jaxgen.models.flows.flow import Flow
from jaxgen.models.flows.glow import glow
from jaxgen.models.flows.maf import iaf, maf
from jaxgen.models.flows.neural_spline import neural_spline_coupling
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.models.gans import GAN, ClassLoss
from jaxgen.models.vaes import Codebook, ContextPrior, FlowPrior, conv_vae, dense_vae, recurrent_vae, residual_vq_vae
from jaxgen.models.vaes.aae import AAE
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets import MLP
from jaxgen.nets.conditioning import Concatenate, FiLM, Projection
from jaxgen.training.trained import TrainedModel
from tests.bijectors.tools import randomise
from tests.malformed import refused

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, CONTEXT = RNG.normal(size=(8, 2)).astype(np.float32), RNG.normal(size=(8, 3)).astype(np.float32)


def ready(model, batch, seed=0):
    """Random variables of the shapes that `model.init` gives."""
    shapes = jax.eval_shape(model.init, KEY, batch)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    constants = {}
    for player, collections in shapes.items():
        if "constants" in collections:
            constants[player] = jax.jit(model.init)(KEY, batch)[player]["constants"]
    drawn = {player: randomise(collections, seed) for player, collections in zeros.items()}
    return {p: {**c, **({"constants": constants[p]} if p in constants else {})} for p, c in drawn.items()}


def gan(**fields):
    return GAN(MLP((3,)), MLP((3,)), (2,), latent_dim=2, **fields)


FLOWS = {
    "real NVP": lambda: real_nvp_vector(2, depth=1, widths=(3,)),
    "MAF": lambda: maf(2, depth=2, widths=(3,)),
    "IAF": lambda: iaf(2, depth=1, widths=(3,)),
    "spline": lambda: neural_spline_coupling(2, depth=1, width=3),
}


SYMBOLIC = export.symbolic_shape("b")


def rows_of(function, rows, shape, dtype=jnp.float32):
    """`function`, exported for `rows` rows."""
    return export.export(jax.jit(function))(jax.ShapeDtypeStruct((*rows, *shape), dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_exported_with_a_symbolic_batch_and_with_a_fixed_one(name):
    model = FLOWS[name]()
    variables = ready(model, {"x": X})
    for rows in SYMBOLIC, (8,):
        for method in model.log_prob, model.decode:
            made = rows_of(lambda x, method=method: method(variables, x), rows, (2,))
            assert made.out_avals[0].shape[:1] == rows
    sample = export.export(jax.jit(lambda key: model.sample(variables, key, 4)))(KEY)
    assert sample.out_avals[0].shape == (4, 2)
    if name == "MAF":
        direct = jax.jit(lambda x: model.log_prob(variables, x))
        made = rows_of(direct, SYMBOLIC, (2,))
        np.testing.assert_allclose(made.call(X), direct(X), rtol=1e-5)
        np.testing.assert_allclose(made.call(X[:3]), direct(X)[:3], rtol=1e-5)


IMAGE = (4, 4, 1)
EXPORTED = {
    "image flow": (
        lambda: real_nvp_image(IMAGE, num_levels=4, num_scales=1, depth=1, width=3, blocks=0), ("log_prob", "encode")
    ),
    "glow": (lambda: glow(IMAGE, num_levels=4, num_scales=1, depth=1, width=3), ("log_prob",)),
    "VAE": (lambda: dense_vae(IMAGE, latent_dim=2, widths=(3,), levels=4), ("log_prob", "encode", "reconstruct")),
    "convolutional VAE": (lambda: conv_vae(IMAGE, latent_dim=2, width=3, levels=256), ("log_prob", "reconstruct")),
    "VQ-VAE": (lambda: residual_vq_vae(
        (8, 8, 1), codebook=Codebook(num_codes=4, code_dim=2), width=4, blocks=1, hidden=2, prior_width=4,
        prior_blocks=1
    ), ("log_prob",)),
    "AAE": (lambda: AAE(MLP((3,)), MLP((3,)), MLP((3,)), IMAGE, latent_dim=2, levels=4), ("encode", "reconstruct")),
    "classifier": (lambda: Classifier(MLP((3,)), IMAGE, 3, 4), ("logits", "features")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_methods_of_rows_are_exported_with_a_symbolic_batch(name):
    build, methods = EXPORTED[name]
    model = build()
    event = model.base.event_shape if isinstance(model, Flow) else model.event_shape
    x = RNG.integers(0, 4, (3, *event)).astype(np.uint8)
    variables = ready(model, {"x": x, "label": np.zeros(3, int)})
    for method in methods:
        given = (KEY,) if method in ("log_prob", "encode") else ()
        call = getattr(model, method)
        made = rows_of(lambda x, call=call, given=given: call(variables, x, *given), SYMBOLIC, event, jnp.uint8)
        assert made.out_avals[0].shape[:1] == SYMBOLIC


def test_latents_are_decoded_with_a_symbolic_batch_and_samples_with_a_fixed_number():
    for model in dense_vae((2,), latent_dim=2, widths=(3,)), gan(), recurrent_vae((3, 1), latent_dim=2, width=3):
        x = X if model.event_shape == (2,) else X[:, :1, None].repeat(3, 1)
        variables = ready(model, {"x": x})
        made = rows_of(lambda z, m=model, v=variables: m.decode(v, z), SYMBOLIC, (2,))
        assert made.out_avals[0].shape == (*SYMBOLIC, *model.event_shape)
        made = export.export(jax.jit(lambda key, m=model, v=variables: m.sample(v, key, 4)))(KEY)
        assert made.out_avals[0].shape == (4, *model.event_shape)


# what is called of a trained model, with the names of its arguments
CALLS = {
    "flow": (lambda: real_nvp_vector(2, depth=1, widths=(3,)), {"log_prob": "x", "encode": "x", "decode": "z"}),
    "vae": (lambda: dense_vae((2,), latent_dim=2, widths=(3,)), {"encode": "x", "decode": "z", "reconstruct": "x"}),
    "gan": (gan, {"score": "x", "decode": "z"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_trained_model_takes_lists_as_arrays(name):
    build, methods = CALLS[name]
    model = build()
    trained = TrainedModel(model, ready(model, {"x": X, "context": CONTEXT}))
    for method, argument in methods.items():
        call = getattr(trained, method)
        expected = call(**{argument: X}, context=CONTEXT)
        np.testing.assert_array_equal(call(**{argument: X.tolist()}, context=CONTEXT.tolist()), expected)
    np.testing.assert_array_equal(
        trained.sample(KEY, np.int64(8), CONTEXT.tolist()), trained.sample(KEY, 8, CONTEXT)
    )
    metrics = trained.evaluate({"x": X.tolist(), "context": CONTEXT.tolist()}, KEY)
    jax.tree.map(np.testing.assert_array_equal, metrics, trained.evaluate({"x": X, "context": CONTEXT}, KEY))
    refused(lambda: call([[1.0, 2.0], [3.0]]), argument, "ragged")


def test_a_boolean_of_numpy_is_a_python_one():
    model = dense_vae((2,), latent_dim=2, widths=(3,))
    trained = TrainedModel(model, ready(model, {"x": X}))
    np.testing.assert_array_equal(trained.sample(KEY, 2, means=np.True_), trained.sample(KEY, 2, means=True))


CONDITIONAL = {
    "real NVP": FLOWS["real NVP"],
    "MAF": FLOWS["MAF"],
    "vae": lambda: dense_vae((2,), latent_dim=2, widths=(3,)),
    "vae with a conditional prior": lambda: VAE(
        MLP((3,)), MLP((3,)), (2,), latent_dim=2, prior=ContextPrior(MLP((3,)))
    ),
    "vae with a flow prior": lambda: VAE(
        MLP((3,)), MLP((3,)), (2,), latent_dim=2, prior=FlowPrior(maf(2, depth=1, widths=(3,)).bijector)
    ),
    "aae": lambda: AAE(MLP((3,)), MLP((3,)), MLP((3,)), (2,), latent_dim=2),
    "sequence vae": lambda: recurrent_vae((2, 1), latent_dim=2, width=3),
    "concatenation": gan,
    "embedding": lambda: gan(generator_condition=Concatenate(2), critic_condition=Concatenate(2)),
    "FiLM": lambda: gan(generator_condition=FiLM(), critic_condition=FiLM()),
    "projection": lambda: gan(critic_condition=Projection()),
    "packing": lambda: gan(packing=2),
    "ACGAN": lambda: gan(terms=(ClassLoss(3),)),
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_one_row_of_context_serves_all_and_other_numbers_are_refused(name):
    model = CONDITIONAL[name]()
    x = X if getattr(model, "event_shape", (2,)) == (2,) else X[..., None]
    one = np.float32([[0, 1, 0]])
    variables = ready(model, {"x": x, "context": np.repeat(one, 8, 0)})
    calls = {
        "sample": lambda c: model.sample(variables, KEY, 8, c),
        "decode": lambda c: model.decode(variables, X, c),
        "loss": lambda c: [
            p.loss(variables, {"x": x, "context": c}, KEY, Clock()).value for p in model.plays().values()
        ],
    }
    for method, rated in (("log_prob", (x, KEY)), ("encode", (x, KEY)), ("score", (x,))):
        if hasattr(model, method) and not (isinstance(model, AAE) and method == "encode"):
            calls[method] = lambda c, m=method, r=rated: getattr(model, m)(variables, *r, context=c)
    labels = RNG.integers(0, 3, 8)
    rows = one, np.repeat(one, 8, 0)
    once, repeated = jax.jit(lambda *rows: [[call(c) for call in calls.values()] for c in rows])(*rows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), once, repeated)
    for call in calls.values():
        for rows in 0, 4:
            few = np.zeros((rows, 3), np.float32)
            refused(lambda call=call, few=few: jax.eval_shape(call, few), "context", "one row or 8")
        refused(lambda call=call: jax.eval_shape(call, labels), "context", "jax.nn.one_hot")


@pytest.mark.slow
def test_one_row_of_context_serves_the_codes_of_a_grid():
    model = residual_vq_vae(
        (8, 8, 1), codebook=Codebook(num_codes=4, code_dim=2), width=4, blocks=1, hidden=2, prior_width=4,
        prior_blocks=1
    )
    x, one = RNG.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8), np.float32([[0, 1, 0]])
    variables = ready(model, {"x": x, "context": np.repeat(one, 4, 0)})
    sample = jax.jit(lambda c: model.sample(variables, KEY, 4, c))
    once, repeated = (sample(np.repeat(one, n, 0)) for n in (1, 4))
    np.testing.assert_array_equal(once, repeated)
    refused(lambda: model.sample(variables, KEY, 4, np.array([0, 1, 2, 0])), "jax.nn.one_hot")


ARRAYS = {
    "Permute": (lambda kind: Permute(kind([1, 0])), Permute((1, 0))),
    "Affine": (lambda kind: Affine(kind([1.0, 2.0]), kind([3.0, 4.0])), Affine((1.0, 2.0), (3.0, 4.0))),
    "Reshape": (lambda kind: Reshape(kind([2]), kind([2, 1])), Reshape((2,), (2, 1))),
    "Chain": (lambda kind: Chain([Permute(kind([1, 0]))]), Chain((Permute((1, 0)),))),
    "mask": (
        lambda kind: Coupling(TanhAffine(kind(2.0)), MLP((3,)), kind([True, False])),
        Coupling(TanhAffine(2.0), MLP((3,)), (True, False)),
    ),
    "order": (
        lambda kind: MaskedAutoregressive(SigmoidAffine(kind(1.0)), kind([3]), order=kind([1, 0])),
        MaskedAutoregressive(SigmoidAffine(1.0), (3,), order=(1, 0)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_in_fields_are_tuples(name):
    build, expected = ARRAYS[name]
    for kind in np.asarray, jnp.asarray:
        bijector = build(kind)
        assert bijector == expected and hash(bijector) == hash(expected)
        variables = jax.jit(bijector.init)(KEY, X)
        z, log_det = jax.jit(lambda v, x, b=bijector: b.apply(v, x))(variables, X)
        y, other = expected.apply(variables, X)
        np.testing.assert_allclose(z, y, rtol=1e-6), np.testing.assert_allclose(log_det, other, rtol=1e-6)


def test_event_shapes_of_models_are_tuples():
    for build in (
        StandardNormal,
        lambda e: dense_vae(e, latent_dim=2, widths=(3,)),
        lambda e: Classifier(MLP((3,)), e, 2),
    ):
        assert build([2, 3]) == build((2, 3)) and hash(build([2, 3])) == hash(build((2, 3)))
    image = [4, 4, 1]
    for event_shape in image, np.array(image), tuple(image):
        # the head is a convolution where features have the image's resolution: a list once was unlike any of them
        model = GAN(nn.Dense(3), MLP((3,)), event_shape)
        assert model.event_shape == (4, 4, 1)
    z = jax.ShapeDtypeStruct((2, 4, 4, 100), jnp.float32)
    head = jax.eval_shape(model._generator.init, KEY, (z, None))["params"]["head"]["out"]["kernel"]
    listed = GAN(nn.Dense(3), MLP((3,)), image)._generator
    assert jax.eval_shape(listed.init, KEY, (z, None))["params"]["head"]["out"]["kernel"].shape == head.shape


def test_a_traced_array_in_a_field_is_refused():
    refused(lambda: jax.eval_shape(lambda scale: Affine(0.0, scale).init(KEY, X), X[0]), "scale", "concrete")


SINGLE = {
    "flow": (FLOWS["real NVP"], "log_prob", ()),
    "vae": (lambda: dense_vae((2,), latent_dim=2, widths=(3,)), "log_prob", (KEY,)),
    "gan": (gan, "score", ()),
    "encoder": (lambda: dense_vae((2,), latent_dim=2, widths=(3,)), "encode", ()),
    "classifier": (lambda: Classifier(MLP((3,)), (2,), 3), "logits", ()),
    "aae": (lambda: AAE(MLP((3,)), MLP((3,)), MLP((3,)), (2,), latent_dim=2), "encode", ()),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_event_is_told_of_its_batch_axis(name):
    build, method, more = SINGLE[name]
    model = build()
    variables = ready(model, {"x": X, "label": np.zeros(8, int)})

    def rate(x):
        return getattr(model, method)(variables, x, *more)

    refused(lambda: rate(X[0]), "x[None]")
    refused(lambda: jax.vmap(rate)(X), "x[None]")
    if hasattr(model, "decode"):
        refused(lambda: model.decode(variables, X[0]), "z[None]")


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_flows_are_mapped_over_single_rows(name):
    model = FLOWS[name]()
    variables = ready(model, {"x": X})
    for method in model.log_prob, model.decode:
        single = jax.vmap(lambda x, method=method: method(variables, x[None])[0])
        mapped, together = jax.jit(lambda x, s=single, method=method: (s(x), method(variables, x)))(X)
        np.testing.assert_allclose(mapped, together, rtol=1e-4, atol=1e-5)
    refused(lambda: model.bijector.apply(variables["flow"], X[0]), "x[None]")


def test_a_bijector_takes_one_row_of_context_for_all():
    bijector = Repeat(Coupling(TanhAffine(), MLP((3,))), 2, "reverse")
    variables = {"flow": jax.jit(bijector.init)(KEY, X, CONTEXT)}
    variables = randomise(variables["flow"], 0)
    once, repeated = (bijector.apply(variables, X, np.repeat(CONTEXT[:1], n, 0)) for n in (1, 8))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), once, repeated)
