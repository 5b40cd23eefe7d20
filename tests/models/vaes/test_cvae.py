import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock
from jaxgen.data import attributes
from jaxgen.distributions import DiscretizedLogistic, Gaussian
from jaxgen.losses.elbo import kl_between_normals, kl_to_standard_normal
from jaxgen.models.vaes import conditional_vae, conv_vae, dense_vae
from tests.models.parameters import KEY, batch_for, drawn

PLAIN = {
    "dense": dense_vae((2,), latent_dim=2, widths=(5,), likelihood=Gaussian()),
    "convolutions": conv_vae((8, 8, 1), latent_dim=2, width=3, likelihood=DiscretizedLogistic(9), levels=9),
}
# a class of three and a real number
CONTEXT = attributes({"label": np.arange(6) % 3, "age": np.linspace(-1, 1, 6)}, {"label": 3, "age": None})


@functools.cache
def case(name, conditional):
    model = conditional_vae(PLAIN[name], (4,) if conditional else None)
    batch = {**batch_for(model), "context": CONTEXT}
    return model, batch, drawn(model, batch)


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_the_divergence_is_to_the_prior_with_or_without_the_condition(name, conditional):
    model, batch, variables = case(name, conditional)
    assert set(variables) == {"encoder", "decoder", *(["prior"] if conditional else [])} == set(model.players)
    figures = jax.jit(model.evaluate)(variables, batch, KEY)
    draw = jax.jit(model.sample_prior, static_argnums=2)
    if name == "dense":
        mean, log_variance = jax.jit(model.posterior_moments)(variables, batch["x"], CONTEXT)
        z = [np.asarray(draw(variables, KEY, 20_000, CONTEXT[[row]])) for row in range(6)]
        m, v = (np.stack([getattr(row, how)(0) for row in z]) for how in ("mean", "var"))
        to_prior = kl_between_normals(mean, log_variance, m, np.log(v)).mean()
        assert float(figures["kl"]) == pytest.approx(float(to_prior), rel=0.05)
        standard = kl_to_standard_normal(mean, log_variance).mean()
        assert (float(figures["kl"]) == pytest.approx(float(standard), rel=1e-5)) == (not conditional)
    draws = [draw(variables, KEY, 6, context) for context in (CONTEXT, CONTEXT[::-1])]
    assert (np.abs(draws[0] - draws[1]).max() > 1e-3) == conditional


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("name", PLAIN)
def test_each_attribute_reaches_each_network(name, conditional):
    model, batch, variables = case(name, conditional)

    @jax.jit
    def results(context):
        z = model.sample_prior(variables, KEY, 6, context)
        found = {
            "encode": model.encode(variables, batch["x"], context=context),
            "decode": model.decode(variables, jnp.ones((6, 2)), context).astype(jnp.float32),
            "log_prob": model.log_prob(variables, batch["x"], KEY, context, samples=2),
        }
        return found | ({"prior": z} if conditional else {})

    ours = results(CONTEXT)
    for column in (slice(0, 3), slice(3, 4)):
        context = CONTEXT.copy()
        context[:, column] = np.roll(context[:, column], 1, axis=0)
        others = results(context)
        for what, found in ours.items():
            assert np.abs(found - others[what]).max() > 0, what


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_all_players_learn(name):
    model, batch, variables = case(name, True)
    grads = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))(variables)
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


@pytest.mark.slow
def test_a_conditional_prior_wants_its_condition():
    model, _, variables = case("dense", True)
    with pytest.raises(ValueError, match="`context` must be given"):
        model.sample(variables, KEY, 3)
