import jax
import jax.numpy as jnp
import pytest

from jaxgen.contracts import Clock
from jaxgen.distributions import DiagonalNormal
from jaxgen.models.vaes import BoundTerms, Capacity, dense_vae
from jaxgen.training.description import build, describe
from tests.models.parameters import KEY, batch_for, drawn

# rows on both sides of three nats
TERMS = BoundTerms(
    jnp.array([[-10.0, -20.0]]), jnp.array([[-0.5, -3.0]]), jnp.array([[0.5, 2.0]]), None, jnp.zeros((1, 2, 4)),
    DiagonalNormal(jnp.zeros((2, 4)), jnp.zeros((2, 4))),
)  # fmt: skip


def test_the_capacity_grows_and_holds_the_divergence_from_both_sides():
    objective = Capacity(8.0, 100.0, steps=20)
    for step, target in ((0, 0.0), (5, 2.0), (10, 4.0), (20, 8.0), (1000, 8.0)):
        assert float(objective(TERMS, Clock(phase_step=step))) == pytest.approx(15 + 100 * abs(3 - target), rel=1e-6)


def test_the_defaults_are_the_papers():
    for step, target in ((0, 0.0), (50_000, 12.5), (100_000, 25.0)):
        assert float(Capacity()(TERMS, Clock(phase_step=step))) == pytest.approx(15 + 1000 * abs(3 - target), rel=1e-6)


@pytest.mark.slow
def test_a_model_with_a_capacity_learns_and_is_written_down():
    model = dense_vae((3, 3, 1), latent_dim=2, widths=(5,), levels=9, objective=Capacity(2.0, 10.0, 4))
    batch = batch_for(model)
    variables = drawn(model, batch)
    out = jax.jit(model.loss)(variables, batch, KEY, Clock(phase_step=3))
    m = {name: float(value) for name, value in out.metrics.items()}
    assert float(out.value) == pytest.approx(10 * abs(m["kl"] - 1.5) - m["reconstruction"], rel=1e-5)
    assert build(describe(model)) == model
    # with a capacity that grows the bound itself falls in the end
    assert model.monitor == ("reconstruction", "max") and dense_vae((4,)).monitor == ("elbo", "max")
    assert model.monitor[0] in jax.jit(model.evaluate)(variables, batch, KEY)


def test_a_capacity_that_grows_in_no_time_is_refused():
    with pytest.raises(ValueError, match="`steps` must be integers of at least 1, got 0"):
        Capacity(steps=0)
