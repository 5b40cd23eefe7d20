"""The adversarial steps that `adversaries.py` times, ours and the same written by hand in PyTorch.

`python -m experiments.benchmarks.adversary_peers LIBRARY ROW` (a row as JSON) is the process of one of them, see
`compare.py`.

The same on both sides: the networks, layer by layer; the losses and the gradient penalty; one fixed batch, and new
noise for each player; float32; Adam; calls block until their results are computed. A generator doubles the resolution
by a 3x3 convolution to four times the channels and a pixel shuffle; in the row `dcgan_transposed` by a transposed
convolution of 4x4, except in our last layer. Differences: our step also reports how far the samples have collapsed, and
in PyTorch the second derivative of a rectifier is a tensor of zeros that goes back through the whole critic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from experiments.benchmarks import compare, steps
from experiments.benchmarks.steps import Built, Product

KERNEL = 4
"""Height and width of the critic's kernels and of transposed kernels."""
LEVELS = 256


@dataclass(frozen=True)
class Row:
    """A game and its sizes.

    Attributes:
        model: "wgan_gp" (times the critic's step) or "dcgan" (times both players' steps).
        event_shape: [D] for dense networks, or [H, W, C] for DCGAN's, which halve it once per width.
        widths: units, or channels, of the critic's layers; the generator's in reverse.
        latents: dimension of the noise.
        penalty: weight of the gradient penalty.
        transposed: the generators have transposed convolutions, with fewer weights.
    """

    model: str
    event_shape: tuple[int, ...]
    batch: int
    widths: tuple[int, ...]
    latents: int
    penalty: float = 10.0
    transposed: bool = False

    @property
    def start(self) -> tuple[int, int]:
        """Height and width of an image halved once per width."""
        height, width, _ = self.event_shape
        return height >> len(self.widths), width >> len(self.widths)

    def data(self) -> np.ndarray:
        """[batch, *event_shape]: standard normal float32; uniform uint8 for images."""
        rng, shape = np.random.default_rng(0), (self.batch, *self.event_shape)
        if len(self.event_shape) == 1:
            return rng.normal(size=shape).astype(np.float32)
        return rng.integers(0, LEVELS, shape, dtype=np.uint8)

    def critic(self) -> list[Product]:
        """The critic's layers, each once."""
        if len(self.event_shape) == 1:
            return [Product(self.batch, m, n, 1) for m, n in pairwise((*self.event_shape, *self.widths, 1))]
        height, width, channels = self.event_shape
        convolutions = [
            Product(self.batch * (height >> i) * (width >> i), KERNEL**2 * m, n, 1)
            for i, (m, n) in enumerate(pairwise((channels, *self.widths)), start=1)
        ]
        return [*convolutions, Product(self.batch, self.start[0] * self.start[1] * self.widths[-1], 1, 1)]

    def generator(self) -> list[Product]:
        """The generator's layers, each once."""
        widths = self.widths[::-1]
        if len(self.event_shape) == 1:
            return [Product(self.batch, m, n, 1) for m, n in pairwise((self.latents, *widths, *self.event_shape))]
        places = self.start[0] * self.start[1]
        channels, taps = list(pairwise((*widths, self.event_shape[-1]))), 4 if self.transposed else 9
        convolutions = [
            Product(self.batch * places * 4**i, (9 if i == len(channels) - 1 else taps) * m, 4 * n, 1)
            for i, (m, n) in enumerate(channels)
        ]
        return [Product(self.batch, self.latents, places * widths[0], 1), *convolutions]

    def products(self) -> list[Product]:
        """The layers of a training step.

        A DCGAN's critic: forward and backward on data and on samples, without gradients of either; forward and backward
        to the samples for the generator. A WGAN-GP's critic, beside the first two: forward and backward to points
        between data and samples, and from the penalty back through this backward pass, to weights and inputs. The
        second derivative of a rectifier is zero, so the penalty does not go back through the forward pass.
        """
        (first, *critic), (entry, *generator) = self.critic(), self.generator()
        if self.model == "dcgan":
            times, generated = (6, *[8] * len(critic)), (3, *[4] * len(generator))
        else:
            times, generated = (8, *[10] * (len(critic) - 1), 8), (1, *[1] * len(generator))
        layers = zip((first, *critic, entry, *generator), (*times, *generated), strict=True)
        return [layer._replace(times=n) for layer, n in layers]


IMAGES = {"event_shape": (32, 32, 3), "batch": 64, "widths": (64, 128, 256)}
ROWS = {
    "wgan_gp_points": Row("wgan_gp", (2,), 256, (512, 512, 512), latents=2, penalty=0.1),
    "wgan_gp_images": Row("wgan_gp", **IMAGES, latents=128),
    "dcgan": Row("dcgan", **IMAGES, latents=100),
    "dcgan_transposed": Row("dcgan", **IMAGES, latents=100, transposed=True),
}


def jaxgen(row: Row) -> Built:
    from jaxgen.models.gans import GAN, WGANGP, dense_wgan_gp
    from jaxgen.nets import DCGANCritic, DCGANGenerator, TransposedConv, UpConv
    from jaxgen.nets.normalization import BatchNorm

    if len(row.event_shape) == 1:
        model = dense_wgan_gp(
            row.event_shape, width=row.widths[0], depth=len(row.widths), latent_dim=row.latents
        )  # fmt: skip
    else:
        norm = BatchNorm if row.model == "dcgan" else None
        generator = DCGANGenerator(
            row.start, row.widths[::-1], upsampling=TransposedConv if row.transposed else UpConv
        )  # fmt: skip
        networks = generator, DCGANCritic(row.widths, KERNEL, norm)
        game = GAN if row.model == "dcgan" else WGANGP
        model = game(*networks, row.event_shape, latent_dim=row.latents, levels=LEVELS)
    plays = ("critic", "generator") if row.model == "dcgan" else ("critic",)
    return steps.ours(model, row.data(), row.products(), plays)


def torch(row: Row) -> Built:
    compare.prepare_torch()
    generator, critic = torch_networks(row)
    parameters = sum(p.numel() for network in (generator, critic) for p in network.parameters())
    return Built(parameters, torch_step(row, generator, critic))


def torch_step(row: Row, generator: Any, critic: Any) -> Callable[[], Any]:
    """One step of the critic, then for a DCGAN one of the generator; returns the last loss."""
    import torch
    from torch.nn.functional import softplus

    x = torch.from_numpy(row.data())
    if images := len(row.event_shape) == 3:
        x = x.permute(0, 3, 1, 2).contiguous()

    def players():
        real = x.float() * (2 / (LEVELS - 1)) - 1 if images else x
        return real, generator(torch.randn(row.batch, row.latents))

    def penalty(real, fake):
        e = torch.rand(row.batch, *[1] * (real.ndim - 1))
        between = (e * real + (1 - e) * fake).requires_grad_()
        (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return row.penalty * ((slopes.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def critic_loss():
        critic.requires_grad_(True)
        with torch.no_grad():
            real, fake = players()
        on_real, on_fake = critic(real), critic(fake)
        if row.model == "dcgan":
            return softplus(-on_real).mean() + softplus(on_fake).mean()
        return on_fake.mean() - on_real.mean() + penalty(real, fake)

    def generator_loss():
        # without gradients of the critic's weights
        critic.requires_grad_(False)
        return softplus(-critic(generator(torch.randn(row.batch, row.latents)))).mean()

    move_critic = compare.torch_step(list(critic.parameters()), critic_loss)
    if row.model != "dcgan":
        return move_critic
    move_generator = compare.torch_step(list(generator.parameters()), generator_loss)

    def train():
        move_critic()
        return move_generator()

    return train


def torch_networks(row: Row) -> tuple[Any, Any]:
    """Generator and critic, [B, latents] to [B, *event] to [B, 1]; images are [B, C, H, W]."""
    from torch import nn

    if len(row.event_shape) == 1:

        def dense(inputs, outputs):
            hidden = [layer for m, n in pairwise((inputs, *row.widths)) for layer in (nn.Linear(m, n), nn.ReLU())]
            return nn.Sequential(*hidden, nn.Linear(row.widths[-1], outputs))

        return dense(row.latents, *row.event_shape), dense(*row.event_shape, 1)
    height, width = row.start
    channels, widths = row.event_shape[-1], row.widths[::-1]

    def doubled(inputs, outputs, bias):
        if row.transposed:
            border = {"padding": (KERNEL - 1) // 2, "output_padding": KERNEL % 2}
            return [nn.ConvTranspose2d(inputs, outputs, KERNEL, 2, bias=bias, **border)]
        return [nn.Conv2d(inputs, 4 * outputs, 3, padding=1, bias=bias), nn.PixelShuffle(2)]

    def normal(features):
        return [nn.BatchNorm2d(features), nn.ReLU()]

    stages = [layer for m, n in pairwise(widths) for layer in (*doubled(m, n, False), *normal(n))]
    generator = nn.Sequential(
        nn.Linear(row.latents, height * width * widths[0], bias=False), nn.Unflatten(1, (widths[0], height, width)),
        *normal(widths[0]), *stages, *doubled(widths[-1], channels, True), nn.Tanh(),
    )  # fmt: skip
    critic = []
    for m, n in pairwise((channels, *row.widths)):
        normalised = row.model == "dcgan" and bool(critic)
        critic.append(nn.Conv2d(m, n, KERNEL, 2, (KERNEL - 1) // 2, bias=not normalised))
        critic += [nn.BatchNorm2d(n)] * normalised + [nn.LeakyReLU(0.2)]
    return generator, nn.Sequential(*critic, nn.Flatten(), nn.Linear(height * width * row.widths[-1], 1))


LIBRARIES: dict[str, Callable[[Row], Built]] = {"jaxgen": jaxgen, "torch": torch}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    steps.serve(lambda: LIBRARIES[library](row), row.products(), lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {name: tuple(fields[name]) for name in ("event_shape", "widths")})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
