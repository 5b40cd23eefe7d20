"""The hybrid steps that `hybrids.py` times, ours and the same written by hand in PyTorch.

`python -m experiments.benchmarks.hybrid_peers LIBRARY ROW` (a row as JSON) is the process of one of them, see
`compare.py`.

The same on both sides: the networks, layer by layer, after the papers; the losses; one fixed batch; float32; Adam; all
players move in a step, the critic first; calls block until the losses are computed. In both, the reconstructions of a
VQGAN's step are computed once, for critic and autoencoder, and its backward pass runs once: the gradients in the
reconstructions give the adaptive weight and are passed back weighted. The authors' code runs the perceptual trunk's
and the critic's backward pass twice.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.benchmarks import compare, steps
from experiments.benchmarks.steps import Built, Product

LEVELS = 256
CHANNELS = 3
GROUPS = 32
TRUNK = ((64, 128, 256), (2, 2, 3))
"""Channels and number of convolutions of the perceptual trunk's blocks: VGG-16 up to relu3_3."""
COMPARED = ("relu1_2", "relu2_2", "relu3_3")
COMMITMENT, EPSILON = 0.25, 1e-6


@dataclass(frozen=True)
class Row:
    """A VQGAN and its sizes.

    Attributes:
        resolution: height and width of the images.
        widths: channels of each level of encoder and decoder.
        blocks: residual blocks of a level of the encoder; the decoder has one more.
        features: channels between the networks and the codes.
        codes, dimension: of the codebook.
        critic_widths: channels of the critic's layers, all of stride 2 but the last.
    """

    batch: int
    resolution: int = 32
    widths: tuple[int, ...] = (64, 128, 128)
    blocks: int = 1
    features: int = 64
    codes: int = 512
    dimension: int = 64
    critic_widths: tuple[int, ...] = (64, 128)

    def data(self) -> np.ndarray:
        """Images, uniform uint8, [batch, resolution, resolution, 3]."""
        shape = (self.batch, self.resolution, self.resolution, CHANNELS)
        return np.random.default_rng(0).integers(0, LEVELS, shape, dtype=np.uint8)

    @property
    def strides(self) -> tuple[int, ...]:
        return (2,) * (len(self.critic_widths) - 1) + (1,)

    def products(self) -> list[Product]:
        """The layers of a training step of both players.

        Encoder and decoder: forward and backward, without the gradient of the images, and twice more that of the last
        layer's weights, for the adaptive weight. The trunk: forward on the images, forward and backward to the
        reconstructions. The critic: forward and backward on both, without gradients of either; forward and backward to
        the reconstructions for the autoencoder. The distances from the codes: forward.
        """
        (entry, *inner), last = self._autoencoder(), self._layer(self.resolution, self.widths[0], CHANNELS)
        first, *critic = self._critic()
        lowest = self.resolution >> (len(self.widths) - 1)
        distances = Product(self.batch * lowest**2, self.dimension, self.codes, 1)
        times = (
            *((layer, 3) for layer in inner), (entry, 2), (last, 5), (distances, 1),
            *((layer, 3) for layer in self._trunk()), (first, 6), *((layer, 8) for layer in critic),
        )  # fmt: skip
        return [layer._replace(times=n) for layer, n in times]

    def _layer(self, side: int, inputs: int, outputs: int, size: int = 3) -> Product:
        """A convolution with an output of `side` x `side`, once."""
        return Product(self.batch * side * side, size**2 * inputs, outputs, 1)

    def _block(self, side: int, inputs: int, outputs: int) -> list[Product]:
        both = [self._layer(side, inputs, outputs), self._layer(side, outputs, outputs)]
        return both if inputs == outputs else [*both, self._layer(side, inputs, outputs, 1)]

    def _middle(self, side: int) -> list[Product]:
        """Two blocks, and attention between them: two projections, scores and weighted values."""
        width = self.widths[-1]
        attention = [self._layer(side, width, 3 * width, 1), self._layer(side, width, width, 1)]
        places = side**2
        attention += [Product(self.batch * places, *shape, 1) for shape in ((width, places), (places, width))]
        return [*self._block(side, width, width), *attention, *self._block(side, width, width)]

    def _autoencoder(self) -> list[Product]:
        """All layers but the decoder's last one, the encoder's first one first."""
        sides = [self.resolution >> level for level in range(len(self.widths))]
        layers, width = [self._layer(sides[0], CHANNELS, self.widths[0])], self.widths[0]
        for level, (side, wider) in enumerate(zip(sides, self.widths, strict=True)):
            layers += [self._layer(side, width, width)] * (level > 0)
            for _ in range(self.blocks):
                layers += self._block(side, width, wider)
                width = wider
        low = sides[-1]
        layers += [*self._middle(low), self._layer(low, width, self.features)]
        ends = (self.features, self.dimension)
        layers += [self._layer(low, m, n, 1) for m, n in (ends, ends[::-1])]
        layers += [self._layer(low, self.features, width), *self._middle(low)]
        for level, (side, narrower) in reversed(tuple(enumerate(zip(sides, self.widths, strict=True)))):
            for _ in range(self.blocks + 1):
                layers += self._block(side, width, narrower)
                width = narrower
            layers += [self._layer(2 * side, width, width)] * (level > 0)
        return layers

    def _trunk(self) -> list[Product]:
        layers, inputs = [], CHANNELS
        for block, (width, depth) in enumerate(zip(*TRUNK, strict=True)):
            for _ in range(depth):
                layers.append(self._layer(self.resolution >> block, inputs, width))
                inputs = width
        return layers

    def _critic(self) -> list[Product]:
        layers, side, inputs = [], self.resolution, CHANNELS
        for width, stride in zip(self.critic_widths, self.strides, strict=True):
            side = side // 2 if stride == 2 else side - 1
            layers.append(self._layer(side, inputs, width, 4))
            inputs = width
        return [*layers, self._layer(side - 1, inputs, 1, 4)]


ROWS = {f"vqgan_{batch}": Row(batch) for batch in (1, 16)}
"""Images of 32x32 in batches of 1 and 16, 8x8 codes."""


def jaxgen(row: Row) -> Built:
    from jaxgen.models.codebook import Codebook
    from jaxgen.models.hybrids import VQGAN
    from jaxgen.nets import VGG, PatchCritic, VQGANDecoder, VQGANEncoder

    fields = {"blocks": row.blocks, "attention": (), "features": row.features, "groups": GROUPS}
    model = VQGAN(
        (row.resolution, row.resolution, CHANNELS),
        encoder=VQGANEncoder(row.widths, **fields),
        decoder=VQGANDecoder(row.widths, **fields),
        codebook=Codebook(num_codes=row.codes, code_dim=row.dimension, commitment=COMMITMENT),
        levels=LEVELS,
        critic=PatchCritic(row.critic_widths, row.strides),
        features=VGG(COMPARED[-1], *TRUNK),
        layers=COMPARED,
        epsilon=EPSILON,
    )  # fmt: skip
    return steps.ours(model, row.data(), row.products())


def torch(row: Row) -> Built:
    compare.prepare_torch()
    networks, train = torch_vqgan(row)
    return Built(sum(p.numel() for network in networks for p in network.parameters()), train)


def torch_vqgan(row: Row) -> tuple[list[Any], Callable[[], Any]]:
    """Encoder, decoder, codebook, trunk and critic, and their step; it returns the autoencoder's loss."""
    import torch
    from torch import nn
    from torch.nn.functional import softplus

    encoder, (decoder, last) = torch_encoder(row), torch_decoder(row)
    codebook, trunk, critic = nn.Embedding(row.codes, row.dimension), TorchTrunk(), torch_critic(row)
    trunk.requires_grad_(False)
    seen = torch.from_numpy(row.data()).permute(0, 3, 1, 2).contiguous().float() * (2 / (LEVELS - 1)) - 1
    state = {}

    def critic_loss():
        critic.requires_grad_(True)
        z = encoder(seen)
        flat = z.permute(0, 2, 3, 1).reshape(-1, row.dimension)
        codes = codebook.weight
        nearest = ((codes**2).sum(1) / 2 - flat.detach() @ codes.detach().T).argmin(1)
        e = codebook(nearest).reshape(z.shape[0], *z.shape[2:], row.dimension).permute(0, 3, 1, 2)
        state["codebook"] = ((z.detach() - e) ** 2).mean() + COMMITMENT * ((z - e.detach()) ** 2).mean()
        h = decoder(z + (e - z).detach())
        state["h"], state["x"] = h.detach(), last(h)
        return softplus(-critic(seen)).mean() + softplus(critic(state["x"].detach())).mean()

    def autoencoder_loss():
        # without gradients of the critic's weights
        critic.requires_grad_(False)
        x = state["x"].detach().requires_grad_()
        reconstruction = (seen - x).abs().mean() + torch_perceptual(trunk, seen, x)
        adversarial = softplus(-critic(x)).mean()
        (of_reconstruction,), (of_adversarial,) = (torch.autograd.grad(v, x) for v in (reconstruction, adversarial))
        again = last(state["h"])
        norms = [
            torch.autograd.grad(again, last.weight, gradient, retain_graph=True)[0].norm()
            for gradient in (of_reconstruction, of_adversarial)
        ]
        weight = (norms[0] / (norms[1] + EPSILON)).clamp(0, 1e4)
        gradient, value = of_reconstruction + weight * of_adversarial, reconstruction + weight * adversarial
        # the gradient in the reconstructions is known
        passed = (gradient * (state["x"] - state["x"].detach())).sum()
        return value.detach() + passed + state["codebook"]

    autoencoder = [p for network in (encoder, decoder, last, codebook) for p in network.parameters()]
    moves = [
        compare.torch_step(list(critic.parameters()), critic_loss), compare.torch_step(autoencoder, autoencoder_loss)
    ]  # fmt: skip
    return [encoder, decoder, last, codebook, trunk, critic], lambda: [move() for move in moves][-1]


def torch_perceptual(trunk: Any, seen: Any, x: Any) -> Any:
    """The distance of the directions of features, a mean over positions and a sum over layers."""
    import torch

    with torch.no_grad():
        target = trunk((seen + 1) / 2)
    value = 0
    for a, b in zip(target, trunk((x + 1) / 2), strict=True):
        a, b = (f / ((f**2).sum(1, keepdim=True) + 1e-10).sqrt() for f in (a, b))
        value = value + ((a - b) ** 2).sum(1).mean()
    return value


def TorchTrunk() -> Any:
    """RGB images in [0, 1] to the features that are compared."""
    from torch import nn, tensor

    class Trunk(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks, inputs = nn.ModuleList(), CHANNELS
            for block, (width, depth) in enumerate(zip(*TRUNK, strict=True)):
                layers = [nn.MaxPool2d(2)] * (block > 0)
                for _ in range(depth):
                    layers += [nn.Conv2d(inputs, width, 3, 1, 1), nn.ReLU()]
                    inputs = width
                self.blocks.append(nn.Sequential(*layers))
            self.mean = tensor([103.939, 116.779, 123.68]).reshape(1, 3, 1, 1)

        def forward(self, x):
            x, features = 255 * x.flip(1) - self.mean, []
            for block in self.blocks:
                x = block(x)
                features.append(x)
            return features

    return Trunk()


def torch_norm(width: int) -> Any:
    from torch import nn

    return nn.GroupNorm(math.gcd(GROUPS, width), width, eps=1e-6)


def torch_block(inputs: int, width: int) -> Any:
    """A residual block."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                torch_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, width, 3, 1, 1),
                torch_norm(width), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1),
            )  # fmt: skip
            self.shortcut = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, 1)

        def forward(self, x):
            return self.layers(x) + self.shortcut(x)

    return Block()


def torch_attention(width: int) -> Any:
    """Attention between all positions."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch_norm(width)
            self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

        def forward(self, x):
            q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, 1)
            weights = torch.softmax((q / width**0.5).transpose(1, 2) @ k, -1)
            return x + self.out((v @ weights.transpose(1, 2)).reshape(x.shape))

    return Attention()


def torch_middle(width: int) -> list[Any]:
    return [torch_block(width, width), torch_attention(width), torch_block(width, width)]


def torch_encoder(row: Row) -> Any:
    """Images to vectors, [B, C, H, W] to [B, dimension, h, w]."""
    from torch import nn

    layers, width = [nn.Conv2d(CHANNELS, row.widths[0], 3, 1, 1)], row.widths[0]
    for level, wider in enumerate(row.widths):
        layers += [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(width, width, 3, 2)] * (level > 0)
        for _ in range(row.blocks):
            layers.append(torch_block(width, wider))
            width = wider
    layers += [*torch_middle(width), torch_norm(width), nn.SiLU(), nn.Conv2d(width, row.features, 3, 1, 1)]
    return nn.Sequential(*layers, nn.Conv2d(row.features, row.dimension, 1))


def torch_decoder(row: Row) -> tuple[Any, Any]:
    """Codes to the last layer's inputs, and the last layer."""
    from torch import nn

    width = row.widths[-1]
    layers = [nn.Conv2d(row.dimension, row.features, 1), nn.Conv2d(row.features, width, 3, 1, 1), *torch_middle(width)]
    for level, narrower in reversed(tuple(enumerate(row.widths))):
        for _ in range(row.blocks + 1):
            layers.append(torch_block(width, narrower))
            width = narrower
        if level:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, 1, 1)]
    return nn.Sequential(*layers, torch_norm(width), nn.SiLU()), nn.Conv2d(width, CHANNELS, 3, 1, 1)


def torch_critic(row: Row) -> Any:
    """Patches to scores, [B, C, H, W] to [B, 1, h, w]."""
    from torch import nn

    layers, inputs = [], CHANNELS
    for width, stride in zip(row.critic_widths, row.strides, strict=True):
        normalised = bool(layers)
        layers.append(nn.Conv2d(inputs, width, 4, stride, 1, bias=not normalised))
        layers += [nn.BatchNorm2d(width)] * normalised + [nn.LeakyReLU(0.2)]
        inputs = width
    return nn.Sequential(*layers, nn.Conv2d(inputs, 1, 4, 1, 1))


LIBRARIES: dict[str, Callable[[Row], Built]] = {"jaxgen": jaxgen, "torch": torch}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    steps.serve(lambda: LIBRARIES[library](row), row.products(), lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {name: tuple(fields[name]) for name in ("widths", "critic_widths")})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
