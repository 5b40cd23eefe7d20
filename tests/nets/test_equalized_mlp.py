"""Layers with an equalised learning rate: what they compute, how they start, and how fast they move."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.nets import EqualizedDense, EqualizedMLP

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(400, 50)).astype(np.float32)


@pytest.mark.parametrize("multiplier", [1.0, 0.1])
def test_outputs_start_with_the_scale_of_inputs_and_adam_moves_them_by_the_multiplier(multiplier):
    layer = EqualizedDense(64, multiplier)
    variables = layer.init(KEY, X)
    y = layer.apply(variables, X)
    np.testing.assert_allclose(y.std(), 1, rtol=0.05)
    np.testing.assert_allclose(np.std(variables["params"]["kernel"]), 1 / multiplier, rtol=0.05)
    params = jax.tree.map(lambda a: a + 1, variables["params"])  # as a step of Adam would, in all directions
    moved = layer.apply({"params": params}, X) - y
    np.testing.assert_allclose(moved, multiplier * (np.repeat(X.sum(1, keepdims=True), 64, 1) / 50**0.5 + 1), atol=1e-4)


def test_a_stack_keeps_the_scale_and_its_output_does_not_depend_on_the_input_s_if_normalised():
    network = EqualizedMLP((256,) * 4, 30, lr_multiplier=0.1, normalize=True)
    variables = network.init(KEY, X)
    y = network.apply(variables, X)
    # a LeakyReLU of slope 0.2 keeps (1 + 0.04) / 2 of the second moment, and sqrt(2) gives back 2
    np.testing.assert_allclose((y**2).mean() / 2, 1.04**4, rtol=0.2)
    np.testing.assert_allclose(network.apply(variables, 9 * X), y, rtol=1e-3, atol=1e-4)
    linear = EqualizedMLP((6, 5), 2, slope=1.0)
    variables = linear.init(KEY, X)
    kernels = [variables["params"][f"EqualizedDense_{i}"]["kernel"] / n**0.5 for i, n in enumerate((50, 6, 5))]
    np.testing.assert_allclose(linear.apply(variables, X), 2**1.5 * X @ kernels[0] @ kernels[1] @ kernels[2], atol=1e-4)


def test_the_kernel_of_the_paper_would_move_at_other_rates_for_other_widths():
    """Which is what the equalisation is for: one Adam step changes outputs of wide and narrow layers alike."""
    changes = []
    for width in (16, 1024):
        layer, x = EqualizedDense(8), jnp.ones((1, width))
        variables = layer.init(KEY, x)
        gradient = jax.grad(lambda v, layer=layer, x=x: layer.apply(v, x).sum())(variables)
        optimizer = optax.adam(1e-2)
        updates, _ = optimizer.update(gradient, optimizer.init(variables))
        kernel = updates["params"]["kernel"] / width**0.5
        changes.append(float(jnp.linalg.norm(kernel) / jnp.linalg.norm(variables["params"]["kernel"] / width**0.5)))
    np.testing.assert_allclose(changes, 1e-2, rtol=0.1)
