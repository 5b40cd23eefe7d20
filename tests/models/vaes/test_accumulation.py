"""Which losses are means over examples: `fit(..., accumulate=2)` takes these and refuses the others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock
from jaxgen.data import ArraySource
from jaxgen.distributions import DiscretizedLogistic, Gaussian, OptimalGaussian
from jaxgen.losses.elbo import mean_log_weight
from jaxgen.models.vaes import (
    AAE,
    AVB,
    ELBO,
    M2,
    BoundTerms,
    Capacity,
    Codebook,
    ImplicitPosterior,
    ImportanceWeighted,
    QuantizedPosterior,
    TotalCorrelation,
    UniformCodes,
    dense_vae,
    residual_vq_vae,
)
from jaxgen.nets import MLP, Joint
from jaxgen.training import Settings, fit
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn

HIDDEN = MLP((5,))
VAE = dense_vae((2,), latent_dim=2, widths=(5,), likelihood=Gaussian())
DOUBLE = ImportanceWeighted(4, chunk=2)
IMPLICIT = ImplicitPosterior(num_functions=2, noise_dim=2, widths=(4,))


def quantized(**fields):
    codebook = Codebook(num_codes=3, code_dim=1, **fields)
    return dataclasses.replace(VAE, posterior=QuantizedPosterior(codebook), prior=UniformCodes(codebook))


def vq_vae(**fields):
    codebook = Codebook(num_codes=6, code_dim=3, **fields)
    return residual_vq_vae(
        (8, 8, 1), codebook=codebook, width=4, blocks=1, hidden=2, prior_width=None, likelihood=DiscretizedLogistic(9),
        levels=9,
    )  # fmt: skip


def batch_max(log_weights):
    return log_weights.mean(0) - log_weights.max()


ACCEPTED = {
    "VAE": VAE,
    "weighted": dataclasses.replace(VAE, objective=ELBO(4.0)),
    "IWAE": dataclasses.replace(VAE, objective=DOUBLE),
    "ELBO by samples": dataclasses.replace(VAE, objective=ImportanceWeighted(4, aggregate=mean_log_weight)),
    "VQ-VAE": vq_vae(),
    "discrete latents": quantized(),
}
REFUSED = {
    "optimal Gaussian": dataclasses.replace(VAE, likelihood=OptimalGaussian()),
    "IWAE, optimal Gaussian": dataclasses.replace(VAE, likelihood=OptimalGaussian(), objective=DOUBLE),
    "IWAE, another aggregate": dataclasses.replace(VAE, objective=ImportanceWeighted(4, aggregate=batch_max)),
    "free bits": dataclasses.replace(VAE, objective=ELBO(free_bits=2.0)),
    "capacity": dataclasses.replace(VAE, objective=Capacity(0.5, 10.0, 1)),
    "total correlation": dataclasses.replace(VAE, objective=TotalCorrelation(50)),
    "VQ-VAE, averaged codes": vq_vae(decay=0.9),
    "VQ-VAE, optimal Gaussian": dataclasses.replace(vq_vae(), likelihood=OptimalGaussian()),
    "discrete latents, averaged codes": quantized(decay=0.9),
    "AAE": AAE(HIDDEN, HIDDEN, HIDDEN, (2,), latent_dim=2, likelihood=Gaussian()),
    "AVB, capacity": AVB(
        HIDDEN, HIDDEN, (2,), latent_dim=2, likelihood=Gaussian(), adversary=Joint(HIDDEN), posterior=IMPLICIT,
        objective=Capacity(0.5, 10.0, 1),
    ),
}  # fmt: skip


def gradients(model, play):
    """One step of gradient descent on a whole batch, and accumulated over two parts."""
    batch = jax.tree.map(jnp.asarray, batch_for(model, 8))
    plays = {"play": play._replace(optimizer=optax.sgd(1.0))}
    variables = drawn(model, batch)
    if "codebook" not in variables:
        # samples within 1e-3 of their means: the parts have noise of their own
        head = variables["encoder"]["params"]["head"]["log_variance"]
        head.update(kernel=0 * head["kernel"], bias=0 * head["bias"] - 70)
    state = jax.jit(lambda v: init_state(model, plays, KEY, batch, start=v))(variables)

    def step(parts):
        after = jax.jit(make_train_step(plays, accumulate=parts))(state, batch)[0]
        return jax.tree.map(lambda a, b: np.asarray(a - b), state.params, after.params)

    whole, accumulated = step(1), step(2)
    pairs = list(zip(*map(jax.tree.leaves, (whole, accumulated)), strict=True))
    scale = max(np.abs(a).max() for a, _ in pairs)
    return max(np.abs(a - b).max() for a, b in pairs) / scale


@pytest.mark.slow
@pytest.mark.parametrize("model", ACCEPTED.values(), ids=ACCEPTED)
def test_accumulated_gradients_are_those_of_the_whole_batch(model):
    assert gradients(model, next(iter(model.plays().values()))) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", ["optimal Gaussian", "IWAE, optimal Gaussian", "total correlation"])
def test_they_would_be_others_where_accumulation_is_refused(name):
    (play,) = REFUSED[name].plays().values()
    assert gradients(REFUSED[name], play._replace(accumulates=True)) > 0.02


@pytest.mark.parametrize(
    ("objective", "equal"),
    [(ELBO(3.0), True), (ELBO(free_bits=2.5), False), (Capacity(3.0, 10.0, 1), False), (DOUBLE, True)],
    ids=["ELBO", "free bits", "capacity", "IWAE"],
)
def test_an_objective_is_a_mean_over_examples_or_says_that_it_is_not(objective, equal):
    # two examples on both sides of three nats
    log_likelihood = jnp.array([[-10.0, -20.0], [-9.0, -25.0], [-8.0, -21.0], [-9.0, -23.0]])
    kl = jnp.array([[1.0], [5.0]])
    terms = BoundTerms(log_likelihood, jnp.zeros((4, 2)), jnp.zeros((4, 2)), kl, jnp.zeros((4, 2, 1)), None)

    def value(i):
        fields = {name: getattr(terms, name)[:, i] for name in ("log_likelihood", "log_prior", "log_posterior", "z")}
        return float(objective(terms._replace(kl_per_dimension=kl[i], **fields), Clock(phase_step=1)))

    whole, parts = value(slice(0, 2)), [value(slice(i, i + 1)) for i in range(2)]
    assert (whole == pytest.approx(sum(parts) / 2, rel=1e-6)) == equal == objective.accumulates


@pytest.mark.parametrize("model", REFUSED.values(), ids=REFUSED)
def test_other_losses_are_refused(model):
    source = ArraySource(batch_for(model, 8), levels=model.levels)
    with pytest.raises(ValueError, match="not a mean over examples"):
        fit(model, source, Settings(steps=1, batch_size=8, accumulate=2))


def test_m2_is_refused():
    x = np.zeros((4, 2), np.float32)
    batch = {"labelled": {"x": x, "label": np.arange(4) % 2}, "unlabelled": {"x": x}}
    model = M2(VAE, HIDDEN, num_classes=2)
    state = jax.eval_shape(lambda: init_state(model, model.plays(), KEY, batch))
    with pytest.raises(ValueError, match="not a mean over examples"):
        jax.eval_shape(make_train_step(model.plays(), accumulate=2), state, batch)
