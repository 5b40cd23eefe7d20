"""The translation steps that `translation.py` times, ours and the same written by hand in PyTorch.

`python -m experiments.benchmarks.translation_peers LIBRARY ROW` (a row as JSON) is the process of one of them, see
`compare.py`.

The same on both sides: the networks, layer by layer, after the papers; the losses; one fixed batch; float32; Adam; all
players move in a step, critics first; calls block until the losses are computed. In PyTorch, as in the authors' code,
the translations of a step are computed once, for critics and generators. Ours computes those of Pix2Pix twice, each
with a dropout of its own. Our U-Net's last layer is a 3x3 convolution with a pixel shuffle, PyTorch's a transposed one
of 4x4.
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

LEVELS = 256
CHANNELS = 3
L1_WEIGHT, CYCLE_WEIGHT, IDENTITY_WEIGHT, POOL = 100.0, 10.0, 5.0, 50


@dataclass(frozen=True)
class Row:
    """A system and its sizes.

    Attributes:
        model: "pix2pix" or "cycle_gan".
        resolution: height and width of the images.
        width: channels of the generators' first layer.
        levels: halvings in a generator.
        blocks: residual blocks of a CycleGAN's generators.
        critic_widths: channels of a critic's layers, all of stride 2 but the last.
    """

    model: str
    batch: int
    resolution: int = 64
    width: int = 64
    levels: int = 2
    blocks: int = 6
    critic_widths: tuple[int, ...] = (64, 128, 256)

    def data(self) -> dict[str, dict[str, np.ndarray]]:
        """Images of the two domains, uniform uint8, [batch, resolution, resolution, 3]."""
        rng, shape = np.random.default_rng(0), (self.batch, self.resolution, self.resolution, CHANNELS)
        return {domain: {"x": rng.integers(0, LEVELS, shape, dtype=np.uint8)} for domain in ("a", "b")}

    @property
    def strides(self) -> tuple[int, ...]:
        return (2,) * (len(self.critic_widths) - 1) + (1,)

    def _layer(self, side: int, inputs: int, outputs: int, size: int) -> Product:
        """A convolution with an output of `side` x `side`, once."""
        return Product(self.batch * side * side, size**2 * inputs, outputs, 1)

    def critic(self) -> list[Product]:
        """The critic's layers, each once."""
        side, inputs = self.resolution, 2 * CHANNELS if self.model == "pix2pix" else CHANNELS
        layers = []
        for (m, n), stride in zip(pairwise((inputs, *self.critic_widths)), self.strides, strict=True):
            side = side // 2 if stride == 2 else side - 1
            layers.append(self._layer(side, m, n, 4))
        return [*layers, self._layer(side - 1, self.critic_widths[-1], 1, 4)]

    def generator(self) -> list[Product]:
        """A generator's layers, each once."""
        if self.model == "cycle_gan":
            top = self.width << self.levels
            halved = range(1, self.levels + 1)
            halvings = [(self.resolution >> i, self.width << (i - 1), self.width << i) for i in halved]
            down = [self._layer(side, m, n, 3) for side, m, n in halvings]
            # each output of a transposed convolution sees 2x2 inputs
            up = [self._layer(2 * side, n, m, 2) for side, m, n in reversed(halvings)]
            blocks = [self._layer(self.resolution >> self.levels, top, top, 3)] * (2 * self.blocks)
            ends = ((CHANNELS, self.width), (self.width, CHANNELS))
            first, last = (self._layer(self.resolution, m, n, 7) for m, n in ends)
            return [first, *down, *blocks, *up, last]
        widths = unet_widths(self)
        down = [
            self._layer(self.resolution >> i, m, n, 4)
            for i, (m, n) in enumerate(pairwise((CHANNELS, *widths)), start=1)
        ]
        # the lowest level has nothing below it to be concatenated with
        up = [
            self._layer(self.resolution >> (i + 1), (1 if i == self.levels - 2 else 2) * widths[i + 1], widths[i], 2)
            for i in reversed(range(self.levels - 1))
        ]
        last = self._layer(self.resolution // 2, 2 * self.width, 4 * CHANNELS, 3)
        return [*down, *up, last]

    def products(self) -> list[Product]:
        """The layers of a training step of all players.

        A critic: forward and backward on data and on translations, without gradients of either; forward and backward to
        the translations for the generator. The generator of Pix2Pix: forward twice, backward once. Those of a CycleGAN:
        forward and backward on both domains and, with the gradient of the input, on the other's translations.
        """
        (first, *critic), (entry, *generator) = self.critic(), self.generator()
        players, (applied, of_inputs) = (1, (4, 3)) if self.model == "pix2pix" else (2, (9, 7))
        times = (6, *[8] * len(critic), of_inputs, *[applied] * len(generator))
        layers = zip((first, *critic, entry, *generator), times, strict=True)
        return [layer._replace(times=players * n) for layer, n in layers]


def unet_widths(row: Row) -> list[int]:
    """Channels of the levels of a U-Net's encoder."""
    return [row.width * min(2**i, 8) for i in range(row.levels)]


ROWS = {
    f"{model}_{batch}": Row(model, batch, levels=levels)
    for model, levels in (("pix2pix", 6), ("cycle_gan", 2))
    for batch in (1, 16)
}
"""Images of 64x64 in batches of 1 and 16."""


def jaxgen(row: Row) -> Built:
    from jaxgen.models.translation import CycleGAN, Domain, ImagePool, Pix2Pix
    from jaxgen.nets import BatchNorm, InstanceNorm, PatchCritic, ResNetTranslator, UNet

    domain = Domain((row.resolution, row.resolution, CHANNELS), LEVELS)
    norm = BatchNorm if row.model == "pix2pix" else InstanceNorm
    critic = PatchCritic(row.critic_widths, row.strides, norm=norm)
    if row.model == "pix2pix":
        model = Pix2Pix(
            a=domain, b=domain, generator=UNet(row.width, row.levels), critic=critic, jitter=None, l1_weight=L1_WEIGHT
        )  # fmt: skip
    else:
        generator = ResNetTranslator(row.width, row.levels, row.blocks)
        weights = {"cycle_weight": CYCLE_WEIGHT, "identity_weight": IDENTITY_WEIGHT}
        model = CycleGAN(generator, critic, domain, domain, pool=ImagePool(POOL), **weights)
    return steps.ours(model, row.data(), row.products())


def torch(row: Row) -> Built:
    compare.prepare_torch()
    build = {"pix2pix": torch_pix2pix, "cycle_gan": torch_cycle_gan}[row.model]
    players, train = build(row)
    return Built(sum(p.numel() for player in players for p in player.parameters()), train)


def torch_images(row: Row) -> list[Any]:
    """Images of a and b in [-1, 1], [B, C, H, W]."""
    import torch

    images = (torch.from_numpy(part["x"]).permute(0, 3, 1, 2).contiguous() for part in row.data().values())
    return [x.float() * (2 / (LEVELS - 1)) - 1 for x in images]


def torch_pix2pix(row: Row) -> tuple[list[Any], Callable[[], Any]]:
    """Critic and generator, and their step; it returns the generator's loss."""
    import torch
    from torch.nn.functional import softplus

    critic, generator = torch_critic(row), torch_unet(row)
    x, y = torch_images(row)
    state = {}

    def critic_loss():
        critic.requires_grad_(True)
        state["fake"] = generator(x)
        on_real, on_fake = critic(torch.cat([y, x], 1)), critic(torch.cat([state["fake"].detach(), x], 1))
        return (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2

    def generator_loss():
        # without gradients of the critic's weights
        critic.requires_grad_(False)
        on_fake = critic(torch.cat([state["fake"], x], 1))
        return softplus(-on_fake).mean() + L1_WEIGHT * (y - state["fake"]).abs().mean()

    moves = [
        compare.torch_step(list(player.parameters()), loss)
        for player, loss in ((critic, critic_loss), (generator, generator_loss))
    ]
    return [critic, generator], lambda: [move() for move in moves][-1]


class TorchPool:
    """Earlier translations, as in the authors' code: each new one is shown itself or exchanged for a stored one."""

    def __init__(self, size: int):
        self.size, self.stored, self.rng = size, [], np.random.default_rng(0)

    def replay(self, new: Any) -> Any:
        import torch

        shown = []
        for image in new:
            if len(self.stored) < self.size:
                self.stored.append(image)
            elif self.rng.random() < 0.5:
                i = self.rng.integers(self.size)
                image, self.stored[i] = self.stored[i], image
            shown.append(image)
        return torch.stack(shown)


def torch_cycle_gan(row: Row) -> tuple[list[Any], Callable[[], Any]]:
    """Critics and generators, and their step; it returns the generators' loss."""
    critics = {domain: torch_critic(row) for domain in "ab"}
    generators = {domain: torch_resnet(row) for domain in "ab"}
    pools = {domain: TorchPool(POOL) for domain in "ab"}
    x, fake = dict(zip("ab", torch_images(row), strict=True)), {}

    def critics_loss():
        value = 0
        for domain, critic in critics.items():
            critic.requires_grad_(True)
            fake[domain] = generators[domain](x["ba"["ab".index(domain)]])
            on_real, on_fake = critic(x[domain]), critic(pools[domain].replay(fake[domain].detach()))
            value = value + ((on_real - 1) ** 2).mean() / 2 + (on_fake**2).mean() / 2
        return value

    def generators_loss():
        value = 0
        for domain, critic in critics.items():
            # without gradients of the critics' weights
            critic.requires_grad_(False)
            back = generators[domain](fake["ba"["ab".index(domain)]])
            same = generators[domain](x[domain])
            value = value + ((critic(fake[domain]) - 1) ** 2).mean() + CYCLE_WEIGHT * (back - x[domain]).abs().mean()
            value = value + IDENTITY_WEIGHT * (same - x[domain]).abs().mean()
        return value

    players = [[*critics.values()], [*generators.values()]]
    moves = [
        compare.torch_step([p for network in networks for p in network.parameters()], loss)
        for networks, loss in zip(players, (critics_loss, generators_loss), strict=True)
    ]
    return [network for networks in players for network in networks], lambda: [move() for move in moves][-1]


def torch_critic(row: Row) -> Any:
    """Patches to scores, [B, C, H, W] to [B, 1, h, w]."""
    from torch import nn

    def norm(features):
        if row.model == "pix2pix":
            return nn.BatchNorm2d(features)
        return nn.InstanceNorm2d(features, affine=True)

    layers, inputs = [], 2 * CHANNELS if row.model == "pix2pix" else CHANNELS
    for (m, n), stride in zip(pairwise((inputs, *row.critic_widths)), row.strides, strict=True):
        normalised = bool(layers)
        layers.append(nn.Conv2d(m, n, 4, stride, 1, bias=not normalised))
        layers += [norm(n)] * normalised + [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(row.critic_widths[-1], 1, 4, 1, 1))


def torch_unet(row: Row) -> Any:
    """The generator of Isola et al. 2017, section 6.1.1."""
    import torch
    from torch import nn

    class Level(nn.Module):
        """x concatenated with what the lower levels make of it; the outermost level is without x."""

        def __init__(self, inputs, width, lower, outermost=False, dropout=False):
            super().__init__()
            innermost, self.outermost = lower is None, outermost
            plain = outermost or innermost
            down = [nn.LeakyReLU(0.2)] * (not outermost) + [nn.Conv2d(inputs, width, 4, 2, 1, bias=plain)]
            down += [nn.BatchNorm2d(width)] * (not plain)
            up = [nn.ReLU(), nn.ConvTranspose2d(width * (1 if innermost else 2), inputs, 4, 2, 1, bias=outermost)]
            up += [nn.Tanh()] if outermost else [nn.BatchNorm2d(inputs)]
            up += [nn.Dropout(0.5)] * dropout
            self.layers = nn.Sequential(*down, *([] if innermost else [lower]), *up)

        def forward(self, x):
            return self.layers(x) if self.outermost else torch.cat([self.layers(x), x], 1)

    widths, lower = unet_widths(row), None
    for i in reversed(range(1, row.levels)):
        lower = Level(widths[i - 1], widths[i], lower, dropout=row.levels - 1 - i < 3)
    return Level(CHANNELS, widths[0], lower, outermost=True)


def torch_resnet(row: Row) -> Any:
    """The generator of Zhu et al. 2017, appendix 7.2, with transposed convolutions of 4x4."""
    from torch import nn

    def convolution(m, n, size, *after):
        layers = [nn.ReflectionPad2d(size // 2), nn.Conv2d(m, n, size, bias=False), nn.InstanceNorm2d(n, affine=True)]
        return [*layers, *after]

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.layers = nn.Sequential(*convolution(width, width, 3, nn.ReLU()), *convolution(width, width, 3))

        def forward(self, x):
            return x + self.layers(x)

    widths = [row.width << i for i in range(row.levels + 1)]
    layers = convolution(CHANNELS, row.width, 7, nn.ReLU())
    for m, n in pairwise(widths):
        layers += [nn.Conv2d(m, n, 3, 2, 1, bias=False), nn.InstanceNorm2d(n, affine=True), nn.ReLU()]
    layers += [Block(widths[-1]) for _ in range(row.blocks)]
    for m, n in pairwise(widths[::-1]):
        layers += [nn.ConvTranspose2d(m, n, 4, 2, 1, bias=False), nn.InstanceNorm2d(n, affine=True), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(row.width, CHANNELS, 7), nn.Tanh())


LIBRARIES: dict[str, Callable[[Row], Built]] = {"jaxgen": jaxgen, "torch": torch}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    steps.serve(lambda: LIBRARIES[library](row), row.products(), lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {"critic_widths": tuple(fields["critic_widths"])})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
