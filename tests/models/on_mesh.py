"""Run by test_mesh.py in a process with four devices: prints what fails under explicit sharding axes and `shard_map`.

Types carry the sharding, so most is only traced: `jax.eval_shape` raises where a program would.
"""

import contextlib
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgen import bijectors as b
from jaxgen.models.flows.glow import glow
from jaxgen.models.flows.maf import iaf, maf, maf_image
from jaxgen.models.flows.neural_spline import neural_spline_autoregressive, neural_spline_coupling
from jaxgen.models.flows.nice import nice
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.models.gans import GAN
from jaxgen.models.hybrids import CodePrior, QuantizedAutoencoder
from jaxgen.models.vaes import (
    Codebook, QuantizedPosterior, SequenceVAE, UniformCodes, dense_vae, recurrent_vae, residual_vq_vae,
)  # fmt: skip
from jaxgen.nets import MLP, TokenTransformer, VQGANDecoder, VQGANEncoder
from jaxgen.nets.conditioning import FiLM, Projection
from jaxgen.nets.recurrent import CausalDecoder, RecurrentEncoder
from tests.bijectors.tools import random_variables

VECTOR, IMAGE, PIXELS = (3,), (4, 4, 2), (4, 4, 1)
ROWS, KEY = 8, jax.random.key(0)
MESH = jax.make_mesh((4,), ("batch",))


def coupling(transformer=b.TanhAffine(), **fields):
    return b.Coupling(transformer, MLP((4,)), **fields)


def layers():
    return b.Chain((b.ActNorm(), coupling(), b.Permute()))


BIJECTORS = {
    "Affine": (b.Affine(1.0, 2.0), VECTOR),
    "Logit": (b.Invert(b.Logit()), VECTOR),
    "Probit": (b.Invert(b.Probit()), VECTOR),
    "Softplus": (b.Softplus(), VECTOR),
    "Tanh": (b.Tanh(), VECTOR),
    "Sigmoid": (b.Sigmoid(), VECTOR),
    "LeakyReLU": (b.LeakyReLU(0.1), VECTOR),
    "ActNorm": (b.ActNorm(), VECTOR),
    "BatchNorm": (b.BatchNorm(), VECTOR),
    "Scale": (b.Scale(), VECTOR),
    "InvertibleLinear": (b.InvertibleLinear(), IMAGE),
    "InvertibleLinear, matrix": (b.InvertibleLinear("matrix"), VECTOR),
    "Permute": (b.Permute(), VECTOR),
    "Squeeze": (b.Chain((b.Squeeze(), b.Invert(b.Squeeze()))), IMAGE),
    "Reshape": (b.Chain((b.Reshape(IMAGE, (2, 16)), b.Reshape((2, 16), IMAGE))), IMAGE),
    "Coupling": (coupling(), VECTOR),
    "Coupling, mask": (coupling(mask=b.Alternate()), VECTOR),
    "Coupling, shared": (coupling(b.LearnedTanhAffine(), head=b.SharedHead), VECTOR),
    "Coupling, image": (b.Coupling(b.SigmoidAffine(), nn.Dense(4), b.Checkerboard()), IMAGE),
    "Coupling, spline": (coupling(b.RationalQuadraticSpline()), VECTOR),
    "Coupling, mixture": (coupling(b.LogisticMixtureCDF()), VECTOR),
    "MaskedAutoregressive": (b.MaskedAutoregressive(b.TanhAffine(), (8,), order="random"), VECTOR),
    "MaskedAutoregressive, spline": (b.MaskedAutoregressive(b.RationalQuadraticSpline(), (8,)), VECTOR),
    "MaskedAutoregressive, mixture": (b.MaskedAutoregressive(b.LogisticMixtureCDF(), (8,)), VECTOR),
    "Repeat": (b.Repeat(layers(), 2), VECTOR),
    "Repeat, rematerialize": (b.Repeat(layers(), 2, "rematerialize"), VECTOR),
    "Repeat, reverse": (b.Repeat(layers(), 2, "reverse"), VECTOR),
    "ConditionalNormal": (b.ConditionalNormal(True), IMAGE),
    "factor_out": (b.factor_out(b.ActNorm(), MLP((4,))), VECTOR),
}
FLOWS = {
    "real_nvp_vector": real_nvp_vector(2, depth=1, widths=(3,)),
    "real_nvp_image": real_nvp_image(PIXELS, num_levels=4, num_scales=1, depth=1, width=3, blocks=0),
    "glow": glow(PIXELS, num_levels=4, num_scales=2, depth=1, width=3),
    "nice": nice((2,), num_levels=None, couplings=2, widths=(3,)),
    "maf": maf(3, depth=2, widths=(4,)),
    "iaf": iaf(3, depth=2, widths=(4,)),
    "maf_image": maf_image(PIXELS, num_levels=4, depth=1, widths=(3,)),
    "neural_spline_coupling": neural_spline_coupling(2, depth=1, width=3),
    "neural_spline_autoregressive": neural_spline_autoregressive(2, depth=1, widths=(3,)),
}
BIJECTORS |= {name: (flow.bijector, flow.base.event_shape) for name, flow in FLOWS.items()}
CONVOLUTIONAL = ("Coupling, image", "real_nvp_image", "glow")
"""JAX asks for an output sharding in the gradient of a convolution with explicit axes."""


def shaped(shape, *axes, dtype=jnp.float32):
    spec = P(*axes, *(None,) * (len(shape) - len(axes)))
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(MESH, spec))


def replicated(tree):
    return jax.tree.map(lambda leaf: shaped(leaf.shape, dtype=leaf.dtype), tree)


def mapped(function, *specs, out="batch"):
    return jax.shard_map(function, mesh=MESH, in_specs=specs, out_specs=P(out))


def bijectors():
    """In both directions, with a context and without, values and gradients."""
    for name, (bijector, event) in BIJECTORS.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        x = shaped((ROWS, *event), "batch")
        for context in (None, shaped((ROWS, 2), "batch")):
            plain = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (x, context) if a is not None)
            variables = replicated(jax.eval_shape(bijector.init, KEY, *plain))
            for direction in ("forward_and_log_det", "inverse_and_log_det"):

                def both(variables, x, context, bijector=bijector, direction=direction):
                    return bijector.apply(variables, x, context, method=direction)

                def slope(x, variables, context, both=both):
                    return jax.grad(lambda x: sum(jnp.sum(a**2) for a in both(variables, x, context)))(x)

                def sharded(name=name, variables=variables, x=x, context=context, both=both, slope=slope):
                    out = jax.eval_shape(both, variables, x, context)
                    if name not in CONVOLUTIONAL:
                        out = *out, jax.eval_shape(slope, x, variables, context)
                    assert all(a.sharding.spec[0] == "batch" for a in out), [a.sharding.spec for a in out]

                def per_device(variables=variables, x=x, context=context, both=both, slope=slope):
                    rows = P("batch")
                    jax.eval_shape(mapped(both, P(), rows, rows), variables, x, context)
                    jax.eval_shape(mapped(slope, rows, P(), rows), x, variables, context)

                def by_context(variables=variables, x=x, context=context, both=both):
                    alike = shaped((ROWS // 4, *x.shape[1:]))
                    jax.eval_shape(mapped(both, P(), P(), P("batch")), variables, alike, context)

                case = f"{name}, {direction}{', context' if context is not None else ''}"
                yield f"{case}, explicit", sharded
                yield f"{case}, shard_map", per_device
                if context is not None:
                    yield f"{case}, a context of each device", by_context


def gan(**fields):
    return GAN(MLP((3,)), MLP((3,)), (2,), latent_dim=2, **fields)


def models():
    """Methods of models, on divided rows and with a key of each device."""
    points, codes = shaped((ROWS, 2), "batch"), shaped((ROWS, 3), "batch")
    series, image = shaped((ROWS, 3, 1), "batch"), shaped((ROWS, 8, 8, 1), "batch", dtype=jnp.uint8)
    causal, likelihood = CausalDecoder(3, (1, 2)), recurrent_vae((3, 1)).likelihood
    codebook = Codebook(num_codes=4, code_dim=2)
    quantized = SequenceVAE(
        RecurrentEncoder(3), causal, (3, 1), latent_dim=2, likelihood=likelihood, prior=UniformCodes(codebook),
        posterior=QuantizedPosterior(codebook),
    )  # fmt: skip
    vq_vae = residual_vq_vae(
        (8, 8, 1), codebook=Codebook(num_codes=4, code_dim=2), width=4, blocks=1, hidden=2, prior_width=4,
        prior_blocks=1
    )
    small = {"widths": (2, 4), "blocks": 1, "attention": (), "features": 2, "groups": 2}
    coded = QuantizedAutoencoder(
        (8, 8, 1), encoder=VQGANEncoder(**small), decoder=VQGANDecoder(**small), features=None, layers=(),
        codebook=Codebook(num_codes=4, code_dim=2), prior=CodePrior(TokenTransformer(4, 16, 4, 2, 2)),
    )  # fmt: skip
    film = gan(generator_condition=FiLM(), critic_condition=Projection())
    given = {
        "flow": (FLOWS["real_nvp_vector"], points, ("log_prob", "encode", "decode", "sample")),
        "integer flow": (FLOWS["maf_image"], shaped((ROWS, *PIXELS), "batch", dtype=jnp.uint8), ("log_prob", "sample")),
        "vae": (
            dense_vae((2,), latent_dim=2, widths=(3,)),
            points,
            ("log_prob", "encode", "decode", "reconstruct", "sample"),
        ),
        "sequence vae": (recurrent_vae((3, 1), latent_dim=2, width=3), series, ("log_prob", "reconstruct", "sample")),
        "quantized sequence vae": (quantized, series, ("log_prob", "reconstruct", "sample")),
        "vq-vae": (vq_vae, image, ("log_prob", "sample")),
        "vqgan": (coded, image, ("reconstruct", "sample")),
        "gan": (gan(), points, ("score", "decode", "sample")),
        "FiLM": (film, points, ("score", "decode", "sample")),
    }
    for name, (model, x, methods) in given.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        for context in (None, codes, shaped((1, 3))):
            batch = {"x": x} if context is None else {"x": x, "context": shaped((ROWS, 3))}
            batch = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), batch)
            variables = replicated(jax.eval_shape(model.init, KEY, batch))
            for method in methods:

                def call(variables, x, context, key=KEY, n=ROWS, model=model, method=method):
                    if method == "sample":
                        return model.sample(variables, key, n, context)
                    more = {"key": key} if method == "log_prob" else {}
                    return getattr(model, method)(variables, x, context=context, **more)

                def each(variables, x, context, call=call):
                    key = jax.random.fold_in(KEY, jax.lax.axis_index("batch"))
                    return call(variables, x, context, key, ROWS // 4)

                def sharded(variables=variables, x=x, context=context, call=call, method=method):
                    y = jax.eval_shape(call, variables, x, context)
                    assert method == "sample" or y.sharding.spec[0] == "batch", y.sharding.spec

                def per_device(variables=variables, x=x, context=context, each=each):
                    rows = P("batch") if context is not None and context.shape[0] > 1 else P()
                    jax.eval_shape(mapped(each, P(), P("batch"), rows), variables, x, context)

                inputs = x if method != "decode" else points
                kind = "" if context is None else f", context of {context.shape[0]}"
                # JAX asks for an output sharding: of latents that are not divided beside a context that is, of look-ups
                unresolved = name in ("vq-vae", "vqgan", "quantized sequence vae")
                unresolved = unresolved or (method == "sample" and kind == ", context of 8")
                if not unresolved:
                    yield f"{name}, {method}{kind}, explicit", lambda s=sharded, x=inputs: s(x=x)
                yield f"{name}, {method}{kind}, shard_map", lambda d=per_device, x=inputs: d(x=x)


def numbers():
    """What is computed on four devices is what one device computes."""
    rng = np.random.default_rng(0)
    bijector = b.Repeat(b.Chain((coupling(), b.MaskedAutoregressive(b.LogisticMixtureCDF(2), (4,)))), 2)
    x, context = rng.normal(size=(ROWS, 3)).astype(np.float32), rng.normal(size=(ROWS, 2)).astype(np.float32)
    variables = random_variables(bijector, 0, x, context)

    def inverse(variables, x, context):
        return bijector.apply(variables, x, context, method="inverse_and_log_det")

    rows, all_same = NamedSharding(MESH, P("batch")), NamedSharding(MESH, P())
    given = jax.device_put(variables, all_same), jax.device_put(x, rows), jax.device_put(context, rows)

    def compare(function, mesh):
        expected = jax.jit(inverse)(variables, x, context)
        with jax.set_mesh(mesh):
            y = jax.jit(function)(*given)
        assert all(a.sharding.spec[0] == "batch" for a in y)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), y, expected)

    yield "explicit", lambda: compare(inverse, MESH)
    yield "shard_map", lambda: compare(mapped(inverse, P(), P("batch"), P("batch")), MESH)


if __name__ == "__main__":
    assert jax.device_count() == 4
    failures, checked = {}, 0
    part = sys.argv[1]
    with jax.set_mesh(MESH) if part != "numbers" else contextlib.nullcontext():
        for name, check in {"bijectors": bijectors, "models": models, "numbers": numbers}[part]():
            checked += 1
            try:
                check()
            except Exception as error:  # every failure is reported, not the first alone
                failures[name] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps([checked, failures]))
