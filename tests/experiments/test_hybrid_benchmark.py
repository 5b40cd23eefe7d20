"""The benchmark of hybrids: equal networks on both sides, the layers that are counted, and what moves."""

import math

import jax
import numpy as np
import pytest

from experiments.benchmarks import compare, hybrid_peers, hybrids, steps
from experiments.benchmarks.hybrid_peers import Row
from jaxgen.contracts import Clock

ROW = Row(2, 8, widths=(4, 8), features=6, codes=5, dimension=3, critic_widths=(4, 8))


def conv(m, n, size=3):
    return size**2 * m * n + n


def block(m, n):
    return 2 * m + conv(m, n) + 2 * n + conv(n, n) + (conv(m, n, 1) if m != n else 0)


MIDDLE = 2 * block(8, 8) + 2 * 8 + conv(8, 24, 1) + conv(8, 8, 1)
ENCODER = conv(3, 4) + block(4, 4) + conv(4, 4) + block(4, 8) + MIDDLE + 2 * 8 + conv(8, 6) + conv(6, 3, 1)
DECODER = conv(3, 6, 1) + conv(6, 8) + MIDDLE + 2 * block(8, 8) + conv(8, 8)
DECODER += block(8, 4) + block(4, 4) + 2 * 4 + conv(4, 3)
TRUNK = sum(conv(m, n) for m, n in ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)))
CRITIC = conv(3, 4, 4) + 16 * 4 * 8 + 2 * 8 + conv(8, 1, 4)
PARAMETERS = ENCODER + DECODER + 5 * 3 + TRUNK + CRITIC


def test_products_of_a_step_by_hand():
    # places of the outputs, of each of two examples, times weights
    def of(side, m, n, size=3):
        return side * side * size**2 * m * n

    entry, last = of(8, 3, 4), of(8, 4, 3)
    middle = 4 * of(4, 8, 8) + of(4, 8, 24, 1) + of(4, 8, 8, 1) + 2 * 16 * 16 * 8
    inner = 2 * of(8, 4, 4) + of(4, 4, 4) + of(4, 4, 8) + of(4, 8, 8) + of(4, 4, 8, 1) + middle + of(4, 8, 6)
    inner += of(4, 6, 3, 1) + of(4, 3, 6, 1) + of(4, 6, 8) + middle
    inner += 4 * of(4, 8, 8) + of(8, 8, 8) + of(8, 8, 4) + of(8, 4, 4) + of(8, 8, 4, 1) + 2 * of(8, 4, 4)
    trunk = of(8, 3, 64) + of(8, 64, 64) + of(4, 64, 128) + of(4, 128, 128) + of(2, 128, 256) + 2 * of(2, 256, 256)
    first, critic = of(4, 3, 4, 4), of(3, 4, 8, 4) + of(2, 8, 1, 4)
    total = sum(product.multiply_adds for product in ROW.products())
    assert total == 2 * (3 * inner + 2 * entry + 5 * last + 16 * 3 * 5 + 3 * trunk + 6 * first + 8 * critic)


def test_rows():
    row = hybrid_peers.ROWS["vqgan_16"]
    assert set(hybrid_peers.ROWS) == {"vqgan_1", "vqgan_16"} and (row.resolution, row.codes) == (32, 512)
    assert list(hybrids.ROWS) == ["vqgan_1", "vqgan_16", "style_gan"]
    with pytest.raises(ValueError, match=r"`rows` must be from .*, got \['alae'\]"):
        hybrids.Hybrids(rows=("alae",)).check()


def test_ours_are_the_networks_that_are_counted(monkeypatch):
    seen = {}
    monkeypatch.setattr(steps, "ours", lambda model, x, products: seen.update(model=model, batch={"x": x}))
    hybrid_peers.jaxgen(ROW)
    model, batch = seen["model"], seen["batch"]
    variables = jax.eval_shape(model.init, jax.random.key(0), batch)
    leaves = jax.tree.leaves({player: collections["params"] for player, collections in variables.items()})
    assert sum(math.prod(leaf.shape) for leaf in leaves) == PARAMETERS
    for play in model.plays().values():
        loss = jax.eval_shape(lambda v, play=play: play.loss(v, batch, jax.random.key(0), Clock()).value, variables)
        assert loss.shape == ()


@pytest.mark.slow
def test_our_step_is_timed():
    said = []
    hybrid_peers.serve("jaxgen", ROW, ['["product", 2]', '["train", 1]'], said.append)
    assert said[0]["parameters"] == PARAMETERS and np.min(said[1:]) > 0


def test_pytorchs_is_of_equal_size_and_moves_all_but_the_trunk(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(compare, "processors", lambda: 1)
    assert hybrid_peers.torch(ROW).parameters == PARAMETERS
    networks, step = hybrid_peers.torch_vqgan(ROW)
    before = [[p.detach().clone() for p in network.parameters()] for network in networks]
    assert np.isfinite([float(step()) for _ in range(3)]).all()
    moved = [
        any(not torch.equal(a, b) for a, b in zip(old, network.parameters(), strict=True))
        for old, network in zip(before, networks, strict=True)
    ]
    assert moved == [True, True, True, True, False, True]


def test_each_row_is_timed_by_its_peers(monkeypatch, tmp_path):
    modules = {}

    def compared(module, rows, libraries, rounds):
        modules.update(dict.fromkeys(rows, module))
        return {"rows": dict.fromkeys(rows, {}), "rounds": rounds}

    monkeypatch.setattr(compare, "compare", compared)
    monkeypatch.setattr(compare, "write", lambda result, out: None)
    monkeypatch.setattr(hybrids, "with_floor", lambda row, products: sum(p.multiply_adds for p in products))
    result = hybrids.main(hybrids.Hybrids(rows=("style_gan", "vqgan_16"), rounds=2, out=tmp_path))
    assert {name: module.rpartition(".")[2] for name, module in modules.items()} == {
        "vqgan_16": "hybrid_peers", "style_gan": "style_gan_peers"
    }  # fmt: skip
    assert list(result["rows"]) == ["vqgan_16", "style_gan"] and result["rounds"] == 2 and all(result["rows"].values())
