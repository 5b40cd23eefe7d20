import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from jaxgen.bijectors import ConditionalNormal, Invert, MaskedAutoregressive, TanhAffine
from jaxgen.contracts import Clock
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.models.vaes import ELBO, ContextPrior, FlowPosterior, FlowPrior, StandardPrior, TotalCorrelation, dense_vae
from jaxgen.nets.mlp import MLP
from jaxgen.training.description import build, describe
from tests.models.parameters import KEY, batch_for, drawn

MODEL = dense_vae((4,), latent_dim=3, widths=(5,), likelihood=Gaussian())


def terms_of(model, batch):
    return jax.jit(model.terms)(drawn(model, batch), batch, KEY)[0]


@pytest.mark.parametrize("prior", [StandardPrior(), ContextPrior(MLP((4,)))], ids=["standard", "of the context"])
@pytest.mark.parametrize("stratified", [False, True])
def test_with_weights_of_one_it_is_the_bound(stratified, prior):
    model = dataclasses.replace(MODEL, prior=prior)
    batch = {**batch_for(model), "context": np.eye(6, 2, dtype=np.float32)}
    terms = terms_of(model, batch)
    same = TotalCorrelation(50, 1.0, 1.0, 1.0, stratified)
    assert float(same(terms, Clock())) == pytest.approx(float(ELBO()(terms, Clock())), rel=1e-5)
    assert abs(float(dataclasses.replace(same, beta=2.0)(terms, Clock()) - same(terms, Clock()))) > 0.01


@pytest.mark.parametrize("stratified", [False, True])
def test_weights_are_of_the_parts_at_the_data_sets_size(stratified):
    batch, n = batch_for(MODEL), 50
    terms = terms_of(MODEL, batch)
    z, mean, log_variance = (np.asarray(a, np.float64) for a in (terms.z[0], *terms.q))
    log_density = stats.norm(mean, np.exp(log_variance / 2)).logpdf(z[:, None])
    weights = np.full((6, 6), 1 / (6 * n))
    if stratified:
        weights = np.full((6, 6), 1 / 5)
        for i in range(6):
            weights[i, i], weights[i, (i + 1) % 6] = 1 / n, (n - 5) / (5 * n)
    q = logsumexp(log_density.sum(-1), axis=1, b=weights)
    q_j = logsumexp(log_density, axis=1, b=weights[..., None]).sum(-1)
    posterior = stats.norm(mean, np.exp(log_variance / 2)).logpdf(z).sum(-1)
    information, correlation = posterior - q, q - q_j
    rest = np.asarray(terms.kl) - information - correlation
    value = TotalCorrelation(n, 2.0, 3.0, 5.0, stratified)(terms, Clock())
    expected = (2 * information + 3 * correlation + 5 * rest - np.asarray(terms.log_likelihood)[0]).mean()
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_all_gradients_flow_and_the_model_is_written_down():
    model = dataclasses.replace(MODEL, objective=TotalCorrelation(50, stratified=True))
    batch = batch_for(model)
    variables = drawn(model, batch)
    grads = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))(variables)
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    assert build(describe(model)) == model


@pytest.mark.parametrize("part", ["posterior", "prior"])
def test_flows_are_refused(part):
    flow = FlowPosterior(Invert(MaskedAutoregressive(TanhAffine(), (8,))))
    flow = flow if part == "posterior" else FlowPrior(ConditionalNormal())
    model = dataclasses.replace(MODEL, objective=TotalCorrelation(50), **{part: flow})
    batch = {"x": jnp.zeros((6, 4))}
    with pytest.raises(ValueError, match="must be diagonal normals"):
        jax.eval_shape(model.loss, jax.eval_shape(model.init, KEY, batch), batch, KEY, Clock())


def test_a_data_set_smaller_than_its_batch_is_refused():
    with pytest.raises(ValueError, match="`dataset_size` must be at least the batch size 6, got 5"):
        TotalCorrelation(5)(terms_of(MODEL, batch_for(MODEL)), 0)
