"""The step of a small StyleGAN, ours and the same written by hand in PyTorch.

`python -m experiments.benchmarks.style_gan_peers LIBRARY ROW` (a row as JSON) is the process of one of them, see
`compare.py`.

The same on both sides: the networks of StyleGAN2, layer by layer; the losses with styles of two latents, R1 and path
lengths, these two lazily; one fixed batch; float32; Adam; the critic moves first; calls block until the losses are
computed. In PyTorch, as in the authors' code for training, styles scale the channels before and after a plain
convolution. There the critic's two batches are two calls, as ours are.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.benchmarks import compare, steps
from experiments.benchmarks.steps import Built, Product

LEVELS = 256
CHANNELS = 3
START = 4
"""Height and width of the constant."""
GAMMA, R1_EVERY, PATH_WEIGHT, PATH_EVERY, PATH_DECAY, SHRINK, MIXING = 0.1, 16, 2.0, 4, 0.99, 2, 0.9


@dataclass(frozen=True)
class Row:
    """The sizes of a StyleGAN.

    Attributes:
        widths: channels from the lowest resolution, `START`, to the highest.
        latents: dimension of the latents and of the styles.
        layers: of the mapping.
        group: examples whose standard deviation the critic sees.
    """

    model: str
    batch: int
    widths: tuple[int, ...] = (64, 64, 32, 16)
    latents: int = 64
    layers: int = 4
    group: int = 4

    @property
    def resolution(self) -> int:
        return START << (len(self.widths) - 1)

    def data(self) -> np.ndarray:
        """Images, uniform uint8, [batch, resolution, resolution, 3]."""
        shape = (self.batch, self.resolution, self.resolution, CHANNELS)
        return np.random.default_rng(0).integers(0, LEVELS, shape, dtype=np.uint8)

    def _layer(self, side: int, inputs: int, outputs: int, size: int = 3) -> Product:
        """A convolution with `side` x `side` outputs, or inputs if it is transposed, once."""
        return Product(self.batch * side * side, size**2 * inputs, outputs, 1)

    def generator(self) -> list[Product]:
        """The layers of the synthesis, each once; the mapping and the scales of the styles are below a hundredth."""
        first = self.widths[0]
        layers = [self._layer(START, first, first), self._layer(START, first, CHANNELS, 1)]
        for i, (m, n) in enumerate(pairwise(self.widths)):
            side = START << i
            layers += [self._layer(side, m, n), self._layer(2 * side, n, n), self._layer(2 * side, n, CHANNELS, 1)]
        return layers

    def critic(self) -> list[Product]:
        """The critic's layers, each once."""
        side, top, last = self.resolution, self.widths[-1], self.widths[0]
        layers = [self._layer(side, CHANNELS, top, 1)]
        for m, n in pairwise(self.widths[::-1]):
            side //= 2
            layers += [self._layer(2 * side, m, m), self._layer(side, m, n), self._layer(side, m, n, 1)]
        return [*layers, self._layer(START, last + 1, last), Product(self.batch, START**2 * last, last, 1)]

    def products(self) -> list[Product]:
        """The layers of a step without the lazy terms.

        The critic: forward and backward on data and on samples, without gradients of either, then forward and backward
        to the samples. The synthesis: forward twice, backward once.
        """
        first, *critic = self.critic()
        parts = [(first, 6), *((layer, 8) for layer in critic), *((layer, 4) for layer in self.generator())]
        return [layer._replace(times=times) for layer, times in parts]


ROWS = {"style_gan": Row("style_gan", 32)}
"""Images of 32x32 in batches of 32."""


def jaxgen(row: Row) -> Built:
    from jaxgen.models.gans import R1, Lazy
    from jaxgen.models.hybrids import PathLength, StyleGAN
    from jaxgen.nets import StyleCritic, StyleGenerator, StyleMapping, StyleSynthesis

    x = row.data()
    model = StyleGAN(
        StyleGenerator(
            StyleMapping(row.latents, row.layers), StyleSynthesis(CHANNELS, (START, START), row.widths)
        ),
        StyleCritic(row.widths[::-1], row.group),
        x.shape[1:],
        latent_dim=row.latents,
        levels=LEVELS,
        terms=(Lazy(R1(GAMMA), R1_EVERY),),
        path_length=PathLength(PATH_WEIGHT, PATH_DECAY, PATH_EVERY, SHRINK),
        mixing=MIXING,
    )
    return steps.ours(model, x, row.products())


def torch(row: Row) -> Built:
    compare.prepare_torch()
    players, train = torch_style_gan(row)
    return Built(sum(p.numel() for player in players for p in player.parameters()), train)


def torch_style_gan(row: Row) -> tuple[list[Any], Callable[[], Any]]:
    """Critic and generator, and their step; it returns the generator's loss."""
    import torch
    from torch.nn.functional import softplus

    critic, (mapping, synthesis) = torch_critic(row), torch_generator(row)
    x = torch.from_numpy(row.data()).permute(0, 3, 1, 2).contiguous().float() * (2 / (LEVELS - 1)) - 1
    layers, moves, state = 2 * len(row.widths), {"critic": 0, "generator": 0}, {"length": torch.zeros(())}

    def styles(n):
        w, others = mapping(torch.randn(n, row.latents)), mapping(torch.randn(n, row.latents))
        first = torch.randint(1, layers, (n, 1))
        mixed = (torch.rand(n, 1) < MIXING) & (torch.arange(layers) >= first)
        return torch.where(mixed[..., None], others[:, None], w[:, None])

    def critic_loss():
        critic.requires_grad_(True)
        with torch.no_grad():
            fake = synthesis(styles(row.batch))
        value = softplus(-critic(x)).mean() + softplus(critic(fake)).mean()
        moves["critic"] += 1
        if moves["critic"] % R1_EVERY == 0:
            real = x.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
            value = value + R1_EVERY * GAMMA / 2 * gradient.square().sum((1, 2, 3)).mean()
        return value

    def generator_loss():
        # without gradients of the critic's weights
        critic.requires_grad_(False)
        value = softplus(-critic(synthesis(styles(row.batch)))).mean()
        moves["generator"] += 1
        if moves["generator"] % PATH_EVERY == 0:
            w = styles(max(1, row.batch // SHRINK))
            images = synthesis(w)
            y = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
            (gradient,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
            lengths = gradient.square().sum(2).mean(1).sqrt()
            state["length"] = PATH_DECAY * state["length"] + (1 - PATH_DECAY) * lengths.mean().detach()
            value = value + PATH_EVERY * PATH_WEIGHT * (lengths - state["length"]).square().mean()
        return value

    generator = torch.nn.ModuleList([mapping, synthesis])
    step = [
        compare.torch_step(list(player.parameters()), loss)
        for player, loss in ((critic, critic_loss), (generator, generator_loss))
    ]
    return [critic, generator], lambda: [move() for move in step][-1]


def torch_layers() -> dict[str, Any]:
    """Equalised layers, resampling and the activation, by name."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Dense(nn.Module):
        def __init__(self, m, n, rate=1.0, bias=0.0):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(n, m) / rate)
            self.bias = nn.Parameter(torch.full((n,), bias / rate))
            self.scale, self.rate = rate / math.sqrt(m), rate

        def forward(self, x):
            return functional.linear(x, self.scale * self.weight, self.rate * self.bias)

    class Convolution(nn.Module):
        def __init__(self, m, n, size=3, stride=1, padding=None, bias=True):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(n, m, size, size))
            self.bias = nn.Parameter(torch.zeros(n)) if bias else None
            self.scale, self.stride = 1 / (size * math.sqrt(m)), stride
            self.padding = size // 2 if padding is None else padding

        def forward(self, x):
            return functional.conv2d(x, self.scale * self.weight, self.bias, self.stride, self.padding)

    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    binomial = taps[:, None] * taps

    def smooth(x, padding, stride=1):
        channels = x.shape[1]
        kernel = binomial.expand(channels, 1, 4, 4)
        return functional.conv2d(functional.pad(x, (*padding, *padding)), kernel, stride=stride, groups=channels)

    def upsample(x):
        channels = x.shape[1]
        kernel = (4 * binomial).expand(channels, 1, 4, 4)
        return functional.conv_transpose2d(x, kernel, stride=2, padding=1, groups=channels)

    def activate(x):
        return math.sqrt(2) * functional.leaky_relu(x, 0.2)

    return {"Dense": Dense, "Convolution": Convolution, "smooth": smooth, "upsample": upsample, "activate": activate}


def torch_generator(row: Row) -> tuple[Any, Any]:
    """The mapping, [B, L] to [B, W], and the synthesis, [B, layers, W] to [B, C, H, W]."""
    import torch
    from torch import nn
    from torch.nn import functional

    layers = torch_layers()
    Dense, smooth, upsample, activate = (layers[name] for name in ("Dense", "smooth", "upsample", "activate"))

    class Mapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(Dense(row.latents, row.latents, 0.01) for _ in range(row.layers))

        def forward(self, z):
            h = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
            for layer in self.layers:
                h = activate(layer(h))
            return h

    class Modulated(nn.Module):
        def __init__(self, m, n, size=3, double=False):
            super().__init__()
            self.scales, self.weight = Dense(row.latents, m, bias=1.0), nn.Parameter(torch.randn(n, m, size, size))
            self.bias, self.scale, self.double = nn.Parameter(torch.zeros(n)), 1 / (size * math.sqrt(m)), double
            self.strength = nn.Parameter(torch.zeros(())) if size == 3 else None

        def forward(self, x, w):
            scales, weight = self.scales(w), self.scale * self.weight
            x = x * scales[:, :, None, None]
            if self.double:
                x = smooth(4 * functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1))
            else:
                x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
            if self.strength is None:
                return x + self.bias[:, None, None]
            x = x * (scales.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()[:, :, None, None]
            x = x + self.strength * torch.randn(x.shape[0], 1, *x.shape[2:])
            return activate(x + self.bias[:, None, None])

    class Synthesis(nn.Module):
        def __init__(self):
            super().__init__()
            first = row.widths[0]
            self.constant = nn.Parameter(torch.randn(first, START, START))
            self.first, self.image = Modulated(first, first), Modulated(first, CHANNELS, 1)
            self.stages = nn.ModuleList(
                nn.ModuleList([Modulated(m, n, double=True), Modulated(n, n), Modulated(n, CHANNELS, 1)])
                for m, n in pairwise(row.widths)
            )

        def forward(self, styles):
            x = self.constant.expand(len(styles), -1, -1, -1)
            x = self.first(x, styles[:, 0])
            image = self.image(x, styles[:, 1])
            for i, (double, layer, to_image) in enumerate(self.stages):
                x = layer(double(x, styles[:, 2 * i + 1]), styles[:, 2 * i + 2])
                image = upsample(image) + to_image(x, styles[:, 2 * i + 3])
            return image

    return Mapping(), Synthesis()


def torch_critic(row: Row) -> Any:
    """Images [B, C, H, W] to scores [B]."""
    import torch
    from torch import nn

    layers = torch_layers()
    Dense, Convolution, smooth, activate = (layers[name] for name in ("Dense", "Convolution", "smooth", "activate"))

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            last = row.widths[0]
            self.entry = Convolution(CHANNELS, row.widths[-1], 1)
            self.stages = nn.ModuleList(
                nn.ModuleList(
                    [Convolution(m, n, 1, bias=False), Convolution(m, m), Convolution(m, n, stride=2, padding=0)]
                )
                for m, n in pairwise(row.widths[::-1])
            )
            self.exit, self.dense = Convolution(last + 1, last), Dense(START**2 * last, last)
            self.score = Dense(last, 1)

        def forward(self, x):
            x = activate(self.entry(x))
            for skip, layer, halve in self.stages:
                h = activate(halve(smooth(activate(layer(x)), (2, 2))))
                x = (h + skip(smooth(x, (1, 1), 2))) / math.sqrt(2)
            groups = x.reshape(row.group, -1, *x.shape[1:])
            deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
            channel = deviation.repeat(row.group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
            x = activate(self.exit(torch.cat([x, channel], 1)))
            return self.score(activate(self.dense(x.flatten(1))))[:, 0]

    return Critic()


LIBRARIES: dict[str, Callable[[Row], Built]] = {"jaxgen": jaxgen, "torch": torch}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    steps.serve(lambda: LIBRARIES[library](row), row.products(), lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {"widths": tuple(fields["widths"])})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
