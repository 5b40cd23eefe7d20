"""Networks in bfloat16: what they compute in, how far their likelihoods go from float32's, and what stays as it was."""

from dataclasses import replace

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import ActNorm, Chain, Coupling, InvertibleLinear, Repeat, TanhAffine
from jaxgen.data import ArraySource
from jaxgen.distributions import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.models.flows.maf import maf
from jaxgen.models.flows.real_nvp import real_nvp_image
from jaxgen.models.gans import dense_wgan_gp
from jaxgen.models.vaes import dense_vae
from jaxgen.nets import MLP
from jaxgen.nets.pixel_cnn import PixelCNN
from jaxgen.nets.spectral import SpectralConv
from jaxgen.precision import networks_in
from jaxgen.training import Settings, fit, init_state, make_train_step
from tests.models.parameters import drawn
from tests.training.runs import images, points

KEY = jax.random.key(1)
FLOW = real_nvp_image((4, 4, 1), num_levels=17, num_scales=1, depth=1, width=4)
VAE = dense_vae((4, 4, 1), latent_dim=3, widths=(16,), levels=17)
GAN = replace(dense_wgan_gp((2,), width=16, depth=2), critic_steps=1)


def products(jaxpr):
    """The operands' dtypes of every matrix product and convolution in a program, those in its parts too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield tuple(str(v.aval.dtype) for v in equation.invars[:2])
        for part in jax.extend.core.jaxprs_in_params(equation.params):
            yield from products(part)


def precision_of(function, *arguments):
    with networks_in(jnp.bfloat16):
        return list(products(jax.make_jaxpr(function)(*arguments).jaxpr))


@pytest.mark.slow
@pytest.mark.parametrize("model", [FLOW, VAE], ids=["flow", "vae"])
def test_a_likelihood_is_near_that_of_float32_and_float32_itself(model):
    batch = {name: jnp.asarray(rows) for name, rows in images(64, 0).items()}
    variables = drawn(model, batch)
    exact = model.log_prob(variables, batch["x"], KEY)
    with networks_in(jnp.bfloat16):
        near = model.log_prob(variables, batch["x"], KEY)
    with networks_in(None):
        assert (model.log_prob(variables, batch["x"], KEY) == exact).all()
    assert near.dtype == jnp.float32
    assert (near != exact).any()
    np.testing.assert_allclose(near, exact, rtol=0.02)
    # eight bits of a network's activations, in nats a dimension
    assert abs(float((near - exact).mean())) / 16 < 0.01


@pytest.mark.slow
def test_what_is_no_network_is_exact():
    x = np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype(np.float32)
    steps = Chain((ActNorm(), InvertibleLinear()))
    variables = steps.init(KEY, x, method="forward")
    plain = steps.apply(variables, x, method="forward_and_log_det")
    with networks_in(jnp.bfloat16):
        again = steps.apply(variables, x, method="forward_and_log_det")
    assert all((a == b).all() for a, b in zip(plain, again, strict=True))
    model = maf(3, depth=2, widths=(8,))
    rows = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    variables = drawn(model, {"x": rows})
    with networks_in(jnp.bfloat16):
        z, log_det = model.bijector.apply(variables["flow"], rows, method="forward_and_log_det")
        back, _ = model.bijector.apply(variables["flow"], z, method="inverse_and_log_det")
    np.testing.assert_allclose(back, rows, atol=1e-4)


@pytest.mark.parametrize("module, shape", [
    (nn.Sequential([nn.Dense(3), nn.tanh, nn.BatchNorm(use_running_average=True), nn.Dense(2)]), (4, 3)),
    (SpectralConv(3), (2, 4, 4, 2)),
    (nn.RNN(nn.GRUCell(3)), (2, 4, 2)),
    (MLP((4,), features=2), (4, 3)),
])  # fmt: skip
def test_networks_multiply_in_bfloat16_and_give_back_float32(module, shape):
    x = jnp.ones(shape)
    variables = module.init(KEY, x)
    seen = precision_of(module.apply, variables, x)
    assert seen.count(("bfloat16", "bfloat16")) >= 1
    # the power iteration of a spectral norm stays
    assert {pair for pair in seen if pair != ("float32", "float32")} == {("bfloat16", "bfloat16")}
    with networks_in(jnp.bfloat16):
        assert module.apply(variables, x).dtype == jnp.float32
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(module.init(KEY, x)))
    assert all(pair == ("float32", "float32") for pair in products(jax.make_jaxpr(module.apply)(variables, x).jaxpr))


def test_last_layers_are_float32():
    h = PixelCNN(5, 4, blocks=1)
    codes = jnp.zeros((1, 3, 3), jnp.int32)
    assert precision_of(h.apply, h.init(KEY, codes), codes)[-1] == ("float32", "float32")
    flow = Flow(Coupling(TanhAffine(), MLP((4,))), base=StandardNormal((2,)))
    x = jnp.ones((2, 2))
    seen = precision_of(flow.log_prob, flow.init(KEY, {"x": x}), x, KEY)
    assert seen == [("bfloat16", "bfloat16"), ("float32", "float32")]


@pytest.mark.parametrize("model, rows", [
    (VAE, images), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((FLOW, images), (GAN, points)))
], ids=["vae", "flow", "gan"])  # fmt: skip
def test_a_step_in_bfloat16_moves_float32_parameters_as_one_in_float32_does(model, rows):
    batch, plays = {name: jnp.asarray(a) for name, a in rows(32, 0).items()}, model.plays()
    state = init_state(model, plays, KEY, batch)
    exact, metrics = jax.jit(make_train_step(plays))(state, batch)
    step = make_train_step(plays, precision=jnp.bfloat16)
    near, figures = jax.jit(step)(state, batch)
    assert jax.tree.map(lambda a: a.dtype, near) == jax.tree.map(lambda a: a.dtype, exact)
    for play, values in metrics.items():
        assert figures[play]["loss"].dtype == jnp.float32
        np.testing.assert_allclose(figures[play]["loss"], values["loss"], rtol=0.05, atol=0.05)
        np.testing.assert_allclose(figures[play]["grad_norm"], values["grad_norm"], rtol=0.1)
    seen = set(products(jax.make_jaxpr(step)(state, batch).jaxpr))
    assert ("bfloat16", "bfloat16") in seen
    # and nothing of it is left when the step is traced
    assert set(products(jax.make_jaxpr(make_train_step(plays))(state, batch).jaxpr)) == {("float32", "float32")}


def test_the_backward_pass_rebuilds_what_the_forward_pass_saw():
    x = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)

    def gradient(way):
        flow = Repeat(Coupling(TanhAffine(), MLP((8,))), 3, gradient=way)
        variables = drawn(Flow(flow, base=StandardNormal((4,))), {"x": x})["flow"]

        def loss(variables):
            z, log_det = flow.apply(variables, x, method="forward_and_log_det")
            return (z**2).mean() - log_det.mean()

        with networks_in(jnp.bfloat16):
            return jax.grad(loss)(variables)

    stored, rebuilt = gradient("store"), gradient("reverse")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.05, atol=0.01), stored, rebuilt)


@pytest.mark.slow
def test_a_run_in_bfloat16_learns_what_one_in_float32_does():
    settings = Settings(steps=60, batch_size=32, log_every=10, ema=0)
    data = ArraySource(images(256, 0), levels=17)
    x = images(64, 1)["x"]
    start, exact, near = (
        float(fit(VAE, data, replace(settings, **changes), progress=False).log_prob(x, KEY).mean())
        for changes in ({"steps": 1}, {}, {"precision": "bfloat16"})
    )
    assert near != exact
    np.testing.assert_allclose(near - start, exact - start, rtol=0.2)
