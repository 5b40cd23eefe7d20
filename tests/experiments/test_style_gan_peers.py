"""The step of StyleGAN that is timed: equal networks on both sides, and what is counted."""

import math

import jax
import numpy as np
import pytest

from experiments.benchmarks import compare, steps, style_gan_peers
from experiments.benchmarks.style_gan_peers import Row
from jaxgen.models.hybrids import StyleGAN
from jaxgen.nets import StyleCritic, StyleGenerator, StyleMapping, StyleSynthesis

ROW = Row("style_gan", 4, (6, 5), latents=7, layers=2, group=2)
MAPPING = 2 * (7 * 7 + 7)
# kernels, biases and noise; scales of the inputs' channels
SYNTHESIS = 16 * 6 + (9 * 36 + 7 + 9 * 30 + 6 + 9 * 25 + 6) + (6 * 3 + 3 + 5 * 3 + 3) + 8 * (6 + 6 + 5 + 6 + 5)
CRITIC = (3 * 5 + 5) + 5 * 6 + (9 * 25 + 5) + (9 * 30 + 6) + (9 * 7 * 6 + 6) + (16 * 6 * 6 + 6) + 7


def test_products_of_a_step_by_hand():
    synthesis = [16 * 9 * 36, 16 * 6 * 3, 16 * 9 * 30, 64 * 9 * 25, 64 * 5 * 3]
    critic = [64 * 3 * 5, 64 * 9 * 25, 16 * 9 * 30, 16 * 30, 16 * 9 * 7 * 6, 16 * 6 * 6]
    total = sum(product.multiply_adds for product in ROW.products())
    assert total == 4 * (4 * sum(synthesis) + 8 * sum(critic) - 2 * critic[0])
    assert style_gan_peers.ROWS["style_gan"].resolution == 32


def test_ours_is_the_network_that_is_counted(monkeypatch):
    seen = {}
    monkeypatch.setattr(steps, "ours", lambda model, x, products: seen.update(model=model, x=x))
    style_gan_peers.jaxgen(ROW)
    variables = jax.eval_shape(seen["model"].init, jax.random.key(0), {"x": seen["x"]})
    leaves = jax.tree.leaves({player: collections["params"] for player, collections in variables.items()})
    assert sum(math.prod(leaf.shape) for leaf in leaves) == MAPPING + SYNTHESIS + CRITIC


def test_pytorchs_networks_are_ours(monkeypatch):
    """The same weights make the same images and scores."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(compare, "processors", lambda: 1)
    (critic, generator), step = style_gan_peers.torch_style_gan(ROW)
    assert sum(p.numel() for p in generator.parameters()) == MAPPING + SYNTHESIS
    assert sum(p.numel() for p in critic.parameters()) == CRITIC
    mapping, synthesis = generator

    def layer(module, scales=True):
        weight = module.weight.detach().numpy()
        weight = weight.T if weight.ndim == 2 else weight.transpose(2, 3, 1, 0)
        params = {"kernel": weight}
        if module.bias is not None:
            params["bias"] = module.bias.detach().numpy()
        if hasattr(module, "scales"):
            params["scales"] = layer(module.scales)
            if module.strength is not None:
                params["strength"] = module.strength.detach().numpy()
        return params

    double, second, image = synthesis.stages[0]
    params = {
        "mapping": {f"EqualizedDense_{i}": layer(dense) for i, dense in enumerate(mapping.layers)},
        "synthesis": {
            "constant": synthesis.constant.detach().numpy().transpose(1, 2, 0),
            "StyleLayer_0": layer(synthesis.first), "StyleLayer_1": layer(double), "StyleLayer_2": layer(second),
            "ToImage_0": layer(synthesis.image), "ToImage_1": layer(image),
        },
    }  # fmt: skip
    model = StyleGAN(
        StyleGenerator(StyleMapping(7, 2), StyleSynthesis(3, (4, 4), (6, 5))), StyleCritic((5, 6), 2), (8, 8, 3),
        latent_dim=7,
    )  # fmt: skip
    z = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    variables = model.init(jax.random.key(0), {"x": np.zeros((4, 8, 8, 3), np.float32)})
    variables = {**variables, "generator": {**variables["generator"], "params": params}}
    ours = model.decode(variables, z)
    theirs = synthesis(mapping(torch.from_numpy(z))[:, None].expand(-1, 4, -1)).detach()
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-4)
    skip, first, halve = critic.stages[0]
    params = {
        "network": {
            "EqualizedConv_0": layer(critic.entry), "EqualizedConv_1": layer(skip), "EqualizedConv_2": layer(first),
            "EqualizedConv_3": layer(halve), "EqualizedConv_4": layer(critic.exit),
            # channels are last in our flattened features
            "EqualizedDense_0": {
                "kernel": critic.dense.weight.detach().numpy().reshape(6, 6, 16).transpose(2, 1, 0).reshape(96, 6),
                "bias": critic.dense.bias.detach().numpy(),
            },
        },
        "head": {"out": layer(critic.score)},
    }  # fmt: skip
    variables = {**variables, "critic": {"params": params}}
    np.testing.assert_allclose(model.score(variables, ours), critic(theirs).detach().numpy(), rtol=1e-3, atol=1e-4)

    before = [p.detach().clone() for p in (*critic.parameters(), *generator.parameters())]
    assert np.isfinite([float(step()) for _ in range(4)]).all()
    after = (*critic.parameters(), *generator.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_our_step_is_timed():
    said = []
    style_gan_peers.serve("jaxgen", ROW, ['["product", 2]', '["train", 1]'], said.append)
    assert said[0]["parameters"] > 1000 and np.min(said[1:]) > 0
