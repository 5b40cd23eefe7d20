"""The benchmark of translations: equal networks on both sides, the layers that are counted, and what moves."""

import math

import jax
import numpy as np
import pytest

from experiments.benchmarks import compare, steps, translation, translation_peers
from experiments.benchmarks.translation_peers import Row
from jaxgen.contracts import Clock

PIX2PIX = Row("pix2pix", 2, 16, width=4, levels=3, critic_widths=(4, 8))
CYCLE_GAN = Row("cycle_gan", 2, 16, width=4, levels=1, blocks=1, critic_widths=(4, 8))
ROWS = {"pix2pix": PIX2PIX, "cycle_gan": CYCLE_GAN}
# kernels; gains and biases of normalisations; biases of the layers without one
U_NET = 16 * (3 * 4 + 4 * 8 + 8 * 16) + 2 * 8 + 4 + 16, 16 * (16 * 8 + 16 * 4) + 2 * (8 + 4)
CRITIC = 16 * (4 * 8 + 8) + 2 * 8 + 4 + 1
RESIDUAL = 49 * 3 * 4 + 9 * 4 * 8 + 2 * 9 * 8 * 8 + 16 * 8 * 4 + 49 * 4 * 3 + 2 * (4 + 8 + 2 * 8 + 4) + 3
PARAMETERS = {
    "pix2pix": sum(U_NET) + 16 * 8 * 3 + 3 + CRITIC + 16 * 6 * 4,
    "cycle_gan": 2 * (RESIDUAL + CRITIC + 16 * 3 * 4),
}


def test_products_of_a_step_by_hand():
    # places of the outputs, of each of two examples, times weights: the critic, then the generator
    critic = [8 * 8 * 16 * 6 * 4, 7 * 7 * 16 * 4 * 8, 6 * 6 * 16 * 8]
    encoder = [8 * 8 * 16 * 3 * 4, 4 * 4 * 16 * 4 * 8, 2 * 2 * 16 * 8 * 16]
    decoder = [4 * 4 * 4 * 16 * 8, 8 * 8 * 4 * 16 * 4, 8 * 8 * 9 * 8 * 12]
    total = sum(product.multiply_adds for product in PIX2PIX.products())
    # twice forward and twice backward; on data, on translations and back to them
    generator = 4 * sum(encoder + decoder) - encoder[0]
    assert total == 2 * (8 * sum(critic) - 2 * critic[0] + generator)

    critic[0] //= 2
    generator = [256 * 49 * 3 * 4, 64 * 9 * 4 * 8, *[64 * 9 * 8 * 8] * 2, 256 * 4 * 8 * 4, 256 * 49 * 4 * 3]
    total = sum(product.multiply_adds for product in CYCLE_GAN.products())
    assert total == 2 * 2 * (8 * sum(critic) - 2 * critic[0] + 9 * sum(generator) - 2 * generator[0])


def test_rows_are_those_of_the_papers_networks():
    assert set(translation_peers.ROWS) == {"pix2pix_1", "pix2pix_16", "cycle_gan_1", "cycle_gan_16"}
    row = translation_peers.ROWS["cycle_gan_1"]
    assert (row.resolution, row.blocks, row.critic_widths, row.strides) == (64, 6, (64, 128, 256), (2, 2, 1))
    with pytest.raises(ValueError, match=r"`rows` must be from .*, got \['unit'\]"):
        translation.Translations(rows=("unit",)).check()


@pytest.mark.parametrize("name", ROWS)
def test_ours_are_the_networks_that_are_counted(name, monkeypatch):
    seen = {}
    monkeypatch.setattr(steps, "ours", lambda model, x, products: seen.update(model=model, x=x))
    row = ROWS[name]
    translation_peers.jaxgen(row)
    variables = jax.eval_shape(seen["model"].init, jax.random.key(0), seen["x"])
    leaves = jax.tree.leaves({player: collections["params"] for player, collections in variables.items()})
    # the last layer of our U-Net has a 3x3 kernel to 12 channels
    other_head = (9 * 8 * 12 + 12) - (16 * 8 * 3 + 3) if name == "pix2pix" else 0
    assert sum(math.prod(leaf.shape) for leaf in leaves) == PARAMETERS[name] + other_head
    # and what each side sees are two domains
    for play in seen["model"].plays().values():
        loss = jax.eval_shape(lambda v, play=play: play.loss(v, seen["x"], jax.random.key(0), Clock()).value, variables)
        assert loss.shape == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_our_steps_are_timed(name):
    said = []
    translation_peers.serve("jaxgen", ROWS[name], ['["product", 2]', '["train", 1]'], said.append)
    assert said[0]["parameters"] > 1000 and np.min(said[1:]) > 0


@pytest.mark.parametrize("name", ROWS)
def test_pytorchs_are_of_equal_size_and_move(name, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(compare, "processors", lambda: 1)
    row = ROWS[name]
    assert translation_peers.torch(row).parameters == PARAMETERS[name]
    players, step = {"pix2pix": translation_peers.torch_pix2pix, "cycle_gan": translation_peers.torch_cycle_gan}[name](
        row
    )
    before = [[p.detach().clone() for p in player.parameters()] for player in players]
    assert np.isfinite([float(step()) for _ in range(3)]).all()
    for old, player in zip(before, players, strict=True):
        assert all(not torch.equal(a, b) for a, b in zip(old, player.parameters(), strict=True))


def test_pytorchs_pool_shows_earlier_images(monkeypatch):
    torch = pytest.importorskip("torch")
    pool = translation_peers.TorchPool(2)
    first = torch.arange(2.0).reshape(2, 1)
    assert torch.equal(pool.replay(first), first)
    shown = torch.cat([pool.replay(torch.full((1, 1), float(i))) for i in range(2, 40)])
    # nothing is shown twice, and what is not stored has been shown
    assert len(set(shown.flatten().tolist())) == 38
    assert (shown.flatten() != torch.arange(2.0, 40.0)).float().mean() > 0.2
