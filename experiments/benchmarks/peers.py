"""The flows that `flows.py` times, in each library's best form.

`python -m experiments.benchmarks.peers LIBRARY ROW` (a row as JSON) is the process of one of them, see `compare.py`.

The same everywhere: couplings move one half of the coordinates, which are permuted or alternated between layers;
splines are those of Durkan et al. 2019, the identity outside of [-BOUND, BOUND], with slopes of 1 at both ends; no
normalisation between layers; Adam; one fixed batch; calls block until their results are computed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import compare
from experiments.benchmarks.compare import NotOffered
from jaxgen.heap import free_memory_early

BOUND = 5.0
"""Splines act on [-BOUND, BOUND]; the default of zuko and ours."""


@dataclass(frozen=True)
class Row:
    """A flow's structure and sizes.

    Attributes:
        structure: "coupling", "autoregressive" or "glow".
        transformer: "affine" or "spline".
        event_shape: [D], or [H, W, C] for a Glow.
        layers: number of layers; for a Glow in each scale.
        width: units of each of a network's two hidden layers; channels for a Glow.
        bins: bins of a spline.
        scales: scales of a Glow.
    """

    structure: str
    transformer: str
    event_shape: tuple[int, ...] = (43,)
    batch: int = 512
    layers: int = 8
    width: int = 128
    bins: int = 8
    scales: int = 3

    @property
    def features(self) -> int:
        return self.event_shape[-1]

    def data(self) -> np.ndarray:
        """[batch, *event_shape]: standard normal float32; uniform uint8 for a Glow."""
        rng, shape = np.random.default_rng(0), (self.batch, *self.event_shape)
        if self.structure == "glow":
            return rng.integers(0, 256, shape, dtype=np.uint8)
        return rng.normal(size=shape).astype(np.float32)


ROWS = {
    "affine-coupling": Row("coupling", "affine"),
    "spline-coupling": Row("coupling", "spline"),
    "affine-autoregressive": Row("autoregressive", "affine"),
    "spline-autoregressive": Row("autoregressive", "spline"),
    "glow": Row("glow", "affine", (32, 32, 3), batch=16, layers=16, width=64),
}


class Built(NamedTuple):
    """A library's flow.

    Attributes:
        parameters: number of effective parameters.
        train: one step of Adam; returns the loss.
        log_prob: log-density of the batch, [batch].
        sample: a batch of samples.
    """

    parameters: int
    train: Callable[[], Any]
    log_prob: Callable[[], Any]
    sample: Callable[[], Any]


def jaxgen(row: Row) -> Built:
    import jax
    import jax.numpy as jnp
    import optax

    from jaxgen import bijectors
    from jaxgen.distributions.normal import StandardNormal
    from jaxgen.models.flows.flow import Flow
    from jaxgen.nets import MLP
    from jaxgen.training import init_state, make_train_step

    free_memory_early()
    if row.structure == "glow":
        from jaxgen.models.flows.glow import glow

        model = glow(row.event_shape, num_scales=row.scales, depth=row.layers, width=row.width)
    else:
        if row.transformer == "affine":
            transformer = bijectors.TanhAffine()
        else:
            transformer = bijectors.RationalQuadraticSpline(bins=row.bins, bound=BOUND)
        widths = (row.width, row.width)
        if row.structure == "coupling":
            layer = bijectors.Coupling(transformer, MLP(widths))
        else:
            layer = bijectors.MaskedAutoregressive(transformer, widths=widths)
        step = bijectors.Chain((bijectors.Permute("reverse"), layer))
        model = Flow(bijectors.Repeat(step, row.layers), StandardNormal(row.event_shape))
    batch = {"x": jnp.asarray(row.data())}
    plays = {name: play._replace(optimizer=optax.adam(compare.LEARNING_RATE)) for name, play in model.plays().items()}
    state = init_state(model, plays, jax.random.key(0), batch)
    if row.structure != "glow":
        state = state.replace(params=_off_the_identity(state.params))
    step = jax.jit(make_train_step(plays, ema=0.0), donate_argnums=0)
    log_prob = jax.jit(model.log_prob)
    sample = jax.jit(model.sample, static_argnums=2)
    key = jax.random.key(1)

    def train():
        nonlocal state
        state, metrics = step(state, batch)
        return jax.block_until_ready(metrics["flow"]["loss"])

    return Built(
        sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        train,
        lambda: jax.block_until_ready(log_prob(state.variables, batch["x"], key)),
        lambda: jax.block_until_ready(sample(state.variables, key, row.batch)),
    )


def _off_the_identity(params: Any) -> Any:
    """Initialises the zero heads like PyTorch's linear layers, so that no inverse is timed on the identity."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if leaf.any() or "kernel" not in jax.tree_util.keystr(path):
            return leaf
        return jnp.asarray(rng.uniform(-1, 1, leaf.shape) / np.sqrt(leaf.shape[-2]), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, params)


def flowjax(row: Row) -> Built:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    free_memory_early()
    if row.structure == "glow":
        raise NotOffered("flowjax has no flows of images")
    transformer = None  # affine
    if row.transformer == "spline":
        # its own spline also learns the slopes at both ends
        def slopes(inner):
            end = jnp.ones_like(inner[..., :1])
            return jnp.concatenate([end, jax.nn.softplus(inner) + 1e-3, end], -1)

        transformer = RationalQuadraticSpline(knots=row.bins - 1, interval=BOUND)
        inner = paramax.Parameterize(slopes, jnp.full(row.bins - 1, 0.54))  # slopes of 1
        transformer = eqx.tree_at(lambda spline: spline.derivatives, transformer, inner)
    flow = {"coupling": coupling_flow, "autoregressive": masked_autoregressive_flow}[row.structure](
        jax.random.key(0), base_dist=Normal(jnp.zeros(row.event_shape)), transformer=transformer,
        flow_layers=row.layers, nn_width=row.width, nn_depth=2,
    )
    # the base's moments are parameters by default, unlike elsewhere
    flow = eqx.tree_at(lambda f: f.base_dist, flow, replace_fn=paramax.non_trainable)
    fixed = paramax.NonTrainable
    params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, fixed))
    return _from_jax(
        row, params, lambda params, x: eqx.combine(params, static).log_prob(x),
        lambda params, key: eqx.combine(params, static).sample(key, (row.batch,)), optax.adam(compare.LEARNING_RATE),
    )


def distrax(row: Row) -> Built:
    import distrax
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn

    free_memory_early()
    if row.structure != "coupling":
        raise NotOffered("distrax has couplings only")
    split = row.features // 2
    # 3 bins - 1 numbers for each coordinate of a spline; the slopes at both ends, which it ignores, are filled in
    n = 2 if row.transformer == "affine" else 3 * row.bins - 1

    def network(moved):
        head = nn.Dense(moved * n, kernel_init=nn.initializers.zeros)
        return nn.Sequential([nn.Dense(row.width), nn.relu, nn.Dense(row.width), nn.relu, head])

    def bijector(p):
        if row.transformer == "affine":
            return distrax.ScalarAffine(shift=p[..., 0], log_scale=p[..., 1])
        end = jnp.zeros_like(p[..., :1])
        p = jnp.concatenate([p[..., : 2 * row.bins], end, p[..., 2 * row.bins :], end], -1)
        return distrax.RationalQuadraticSpline(p, -BOUND, BOUND, boundary_slopes="identity")

    networks, params = [], []
    for i in range(row.layers):
        moved = row.features - split if i % 2 == 0 else split
        networks.append(network(moved))
        params.append(networks[i].init(jax.random.key(i), jnp.zeros((1, row.features - moved))))

    def flow(params):
        def layer(i):
            def conditioner(x):
                p = networks[i].apply(params[i], x)
                return p.reshape(*p.shape[:-1], -1, n)

            return distrax.SplitCoupling(split, 1, conditioner, bijector, swap=i % 2 == 1)

        base = distrax.MultivariateNormalDiag(jnp.zeros(row.features), jnp.ones(row.features))
        return distrax.Transformed(base, distrax.Inverse(distrax.Chain([layer(i) for i in range(row.layers)])))

    return _from_jax(
        row, params, lambda params, x: flow(params).log_prob(x),
        lambda params, key: flow(params).sample(seed=key, sample_shape=row.batch), optax.adam(compare.LEARNING_RATE),
    )


def _from_jax(row: Row, params: Any, log_prob: Callable, sample: Callable, optimizer: Any) -> Built:
    """A peer in JAX, from its `log_prob(params, x)` and `sample(params, key)`."""
    import jax
    import jax.numpy as jnp
    import optax

    x, key, opt_state = jnp.asarray(row.data()), jax.random.key(1), optimizer.init(params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, opt_state, x):
        loss, grads = jax.value_and_grad(lambda params: -log_prob(params, x).mean())(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    density, draw = jax.jit(log_prob), jax.jit(sample)

    def train():
        nonlocal params, opt_state
        params, opt_state, loss = step(params, opt_state, x)
        return jax.block_until_ready(loss)

    return Built(
        parameters, train,
        lambda: jax.block_until_ready(density(params, x)), lambda: jax.block_until_ready(draw(params, key)),
    )


def zuko(row: Row) -> Built:
    import torch
    import zuko

    compare.prepare_torch()
    if row.structure == "glow":
        raise NotOffered("zuko has no flows of images")
    spline = {}
    if row.transformer == "spline":
        spline["univariate"] = partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND)
        spline["shapes"] = [(row.bins,), (row.bins,), (row.bins - 1,)]
    kind = {"coupling": zuko.flows.NICE, "autoregressive": zuko.flows.MAF}[row.structure]
    flow = kind(row.features, transforms=row.layers, hidden_features=(row.width, row.width), **spline)
    x = torch.from_numpy(row.data())
    return _from_torch(flow, x, lambda x: flow().log_prob(x), lambda: flow().sample((row.batch,)))


def nflows(row: Row) -> Built:
    import torch
    from nflows import transforms
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import MLP

    compare.prepare_torch()
    if row.structure == "glow":
        raise NotOffered("nflows has the layers of a Glow, but no Glow")
    spline = {"num_bins": row.bins, "tails": "linear", "tail_bound": BOUND} if row.transformer == "spline" else {}

    class Network(MLP):
        """The library's MLP, with the signature that its couplings call."""

        def forward(self, x, context=None):
            return super().forward(x)

    def layer():
        if row.structure == "autoregressive":
            kind = "MaskedPiecewiseRationalQuadraticAutoregressive" if spline else "MaskedAffineAutoregressive"
            kind = getattr(transforms, f"{kind}Transform")
            # one block beside the first layer: two hidden layers
            return kind(row.features, row.width, num_blocks=1, use_residual_blocks=False, **spline)
        kind = transforms.PiecewiseRationalQuadraticCouplingTransform if spline else transforms.AffineCouplingTransform
        return kind(_second_half(row), lambda i, o: Network((i,), (o,), (row.width, row.width)), **spline)

    layers = [each for _ in range(row.layers) for each in (transforms.ReversePermutation(row.features), layer())]
    flow = Flow(transforms.CompositeTransform(layers), StandardNormal(row.event_shape))
    return _from_torch(flow, torch.from_numpy(row.data()), flow.log_prob, lambda: flow.sample(row.batch))


def normflows(row: Row) -> Built:
    import torch

    compare.prepare_torch()
    if row.structure == "glow":
        return _normflows_glow(row)
    from normflows import NormalizingFlow, nets
    from normflows.distributions import DiagGaussian
    from normflows.flows import AffineCouplingBlock, MaskedAffineAutoregressive, Permute, Reverse
    from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    spline = {"num_bins": row.bins, "tails": "linear", "tail_bound": BOUND} if row.transformer == "spline" else {}

    widths = (row.width, row.width)

    class Network(nets.MLP):
        """The library's MLP, with the signature that its couplings call."""

        def forward(self, x, context=None):
            return super().forward(x)

    def layer():
        # `Reverse`: density in one pass; its spline wrappers allow residual networks only
        if row.structure == "autoregressive":
            kind = MaskedPiecewiseRationalQuadraticAutoregressive if spline else MaskedAffineAutoregressive
            return Reverse(kind(row.features, row.width, num_blocks=1, use_residual_blocks=False, **spline))
        if spline:
            mask = torch.tensor(_second_half(row))
            return Reverse(PiecewiseRationalQuadraticCoupling(mask, lambda i, o: Network([i, *widths, o]), **spline))
        moved = row.features // 2
        return AffineCouplingBlock(Network([row.features - moved, *widths, 2 * moved]))

    layers = [each for _ in range(row.layers) for each in (layer(), Permute(row.features, mode="swap"))]
    flow = NormalizingFlow(DiagGaussian(row.features, trainable=False), layers)
    return _from_torch(flow, torch.from_numpy(row.data()), flow.log_prob, lambda: flow.sample(row.batch)[0])


def _normflows_glow(row: Row) -> Built:
    import torch
    from normflows import MultiscaleFlow
    from normflows.distributions import DiagGaussian
    from normflows.flows import GlowBlock, Merge, Squeeze

    height, width, channels = row.event_shape
    bases, flows, merges = [], [], []
    for i in range(row.scales):  # from the latents to the image
        remaining = row.scales - i
        flows.append([GlowBlock(channels * 2 ** (remaining + 1), row.width) for _ in range(row.layers)] + [Squeeze()])
        shape = (channels * 2 ** (remaining + (i == 0)), height // 2**remaining, width // 2**remaining)
        bases.append(DiagGaussian(shape, trainable=False))
        if i > 0:
            merges.append(Merge())
    flow = MultiscaleFlow(bases, flows, merges, class_cond=False)
    x = torch.from_numpy(row.data()).permute(0, 3, 1, 2).contiguous()
    x = (x + torch.rand(x.shape)) / 256 - 0.5
    built = _from_torch(flow, x, lambda x: flow.log_prob(x, None), lambda: flow.sample(row.batch)[0])
    # the triangles of L and U that a mask removes
    squares = sum(p.numel() + len(p) for name, p in flow.named_parameters() if name.endswith((".L", ".U"))) // 2
    return built._replace(parameters=built.parameters - squares)


def _second_half(row: Row) -> list[int]:
    """The mask of the coordinates that a coupling moves."""
    return [int(i >= row.features // 2) for i in range(row.features)]


def _from_torch(flow: Any, x: Any, log_prob: Callable, sample: Callable) -> Built:
    """A peer in PyTorch, from its `log_prob(x)` and `sample()`."""
    import torch

    parameters = list(flow.parameters())
    train = compare.torch_step(parameters, lambda: -log_prob(x).mean())
    no_grad = torch.no_grad()
    return Built(sum(p.numel() for p in parameters), train, no_grad(lambda: log_prob(x)), no_grad(sample))


LIBRARIES: dict[str, Callable[[Row], Built]] = {
    "jaxgen": jaxgen, "flowjax": flowjax, "distrax": distrax, "zuko": zuko, "nflows": nflows, "normflows": normflows,
}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    """Builds, warms up, and answers the lines."""
    sizes = {"train": 1, "log_prob": row.batch, "sample": row.batch * math.prod(row.event_shape)}
    compare.serve(lambda: LIBRARIES[library](row), sizes, lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {"event_shape": tuple(fields["event_shape"])})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
