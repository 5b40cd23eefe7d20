"""The autoencoders that `autoencoders.py` times, ours and pythae's.

`python -m experiments.benchmarks.autoencoder_peers LIBRARY ROW` (a row as JSON) is the process of one of them, see
`compare.py`.

The same on both sides: the networks, layer by layer; one fixed batch; float32; Adam; calls block until their results
are computed. Losses differ, so only times are compared: pythae's decoders end in a sigmoid, and its loss takes
probabilities, ours logits. The value of its importance-weighted loss is a weighted mean of the log-weights, which has
the bound's gradient but not its value. Its squared error lacks the factor 1/2 of a Gaussian with unit variance, and its
codebook terms are means over all numbers, ours sums over the grid as in the paper.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.benchmarks import compare, steps
from experiments.benchmarks.steps import Built, Product


@dataclass(frozen=True)
class Row:
    """An autoencoder and its sizes.

    Attributes:
        model: "vae", "iwae" or "vq_vae".
        event_shape: [D], or [H, W, C] for "vq_vae", which halves it twice.
        width: units of each of two dense layers on either side; channels at the lowest resolution.
        latents: dimension of the latents, or of a code.
        samples: latent samples per example.
        codes: size of the codebook.
        blocks, hidden: residual blocks on either side, and the channels within one.
    """

    model: str
    event_shape: tuple[int, ...] = (784,)
    batch: int = 100
    width: int = 200
    latents: int = 50
    samples: int = 1
    codes: int = 512
    blocks: int = 2
    hidden: int = 32

    def data(self) -> np.ndarray:
        """[batch, *event_shape], float32: zeros and ones; uniform on [0, 1] for "vq_vae"."""
        x = np.random.default_rng(0).random((self.batch, *self.event_shape), np.float32)
        return x if self.model == "vq_vae" else (x < 0.5).astype(np.float32)

    def products(self) -> list[Product]:
        """The layers of a training step."""
        b, w = self.batch, self.width
        if self.model != "vq_vae":
            decoded, n = b * self.samples, self.event_shape[0]
            encoder = [Product(b, n, w, times=2), Product(b, w, w), Product(b, w, 2 * self.latents)]
            return [*encoder, Product(decoded, self.latents, w), Product(decoded, w, w), Product(decoded, w, n)]
        height, width, channels = self.event_shape
        full, half, low = (b * height * width // 4**i for i in range(3))
        residual = [Product(low, 9 * w, self.hidden), Product(low, self.hidden, w)] * self.blocks
        return [
            Product(half, 16 * channels, w // 2, times=2), Product(low, 16 * w // 2, w), Product(low, 9 * w, w),
            *residual, Product(low, w, self.latents),
            # the distances to the codes, without gradient
            Product(low, self.latents, self.codes, times=1),
            Product(low, 9 * self.latents, w), *residual,
            Product(low, 9 * w, 4 * w // 2), Product(half, 9 * w // 2, 4 * w // 4), Product(full, 9 * w // 4, channels),
        ]  # fmt: skip


ROWS = {
    "vae": Row("vae"),
    "iwae": Row("iwae", samples=50),
    "vq_vae": Row("vq_vae", (32, 32, 3), batch=64, width=128, latents=64),
}


def jaxgen(row: Row) -> Built:
    from jaxgen.distributions.likelihoods import Gaussian
    from jaxgen.models.vaes import ELBO, Codebook, ImportanceWeighted, dense_vae, residual_vq_vae

    if row.model == "vq_vae":
        model = residual_vq_vae(
            row.event_shape, codebook=Codebook(num_codes=row.codes, code_dim=row.latents),
            width=row.width, blocks=row.blocks, hidden=row.hidden, likelihood=Gaussian(std=1.0), levels=None,
            prior_width=None,
        )  # fmt: skip
    else:
        objective = ImportanceWeighted(row.samples) if row.model == "iwae" else ELBO()
        model = dense_vae(
            row.event_shape, latent_dim=row.latents, widths=(row.width, row.width), binarize=False, objective=objective
        )
    return steps.ours(model, row.data(), row.products())


def pythae(row: Row) -> Built:
    import torch
    from pythae.models import IWAE, VAE, VQVAE, IWAEConfig, VAEConfig, VQVAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    compare.prepare_torch()

    class Encoder(BaseEncoder):
        def __init__(self, features, mean, log_variance=None):
            super().__init__()
            self.features, self.mean, self.log_variance = features, mean, log_variance

        def forward(self, x):
            h = self.features(x)
            if self.log_variance is None:
                return ModelOutput(embedding=self.mean(h))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, z):
            return ModelOutput(reconstruction=self.network(z))

    x = torch.from_numpy(row.data())
    if row.model == "vq_vae":
        x = x.permute(0, 3, 1, 2).contiguous()
        encoder, decoder = _torch_residual(row)
        config = VQVAEConfig(input_dim=tuple(x.shape[1:]), latent_dim=row.latents, num_embeddings=row.codes)
        model = VQVAE(config, Encoder(*encoder), Decoder(decoder))
    else:
        encoder, decoder = _torch_dense(row)
        fields = {"input_dim": row.event_shape, "latent_dim": row.latents, "reconstruction_loss": "bce"}
        kind, config = VAE, VAEConfig(**fields)
        if row.model == "iwae":
            kind, config = IWAE, IWAEConfig(**fields, number_samples=row.samples)
        model = kind(config, Encoder(*encoder), Decoder(decoder))
    model.train()
    parameters = list(model.parameters())
    train = compare.torch_step(parameters, lambda: model({"data": x}).loss)
    return Built(sum(p.numel() for p in parameters), train)


def _torch_dense(row: Row) -> tuple[tuple[Any, ...], Any]:
    """The encoder's features, mean and log-variance; the decoder."""
    from torch import nn

    (n,), w, latents = row.event_shape, row.width, row.latents
    features = nn.Sequential(nn.Linear(n, w), nn.Tanh(), nn.Linear(w, w), nn.Tanh())
    decoder = nn.Sequential(
        nn.Linear(latents, w), nn.Tanh(), nn.Linear(w, w), nn.Tanh(), nn.Linear(w, n), nn.Sigmoid()
    )
    return (features, nn.Linear(w, latents), nn.Linear(w, latents)), decoder


def _torch_residual(row: Row) -> tuple[tuple[Any, ...], Any]:
    """The encoder's features and vectors; the decoder."""
    import torch
    from torch import nn

    w, channels = row.width, row.event_shape[-1]

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.back = nn.Conv2d(w, row.hidden, 3, padding=1), nn.Conv2d(row.hidden, w, 1)

        def forward(self, x):
            return x + self.back(torch.relu(self.wide(torch.relu(x))))

    def stack():
        return [*(Residual() for _ in range(row.blocks)), nn.ReLU()]

    def halved(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU()]

    def doubled(inputs, outputs):
        return [nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()]

    features = nn.Sequential(*halved(channels, w // 2), *halved(w // 2, w), nn.Conv2d(w, w, 3, padding=1), *stack())
    decoder = nn.Sequential(
        nn.Conv2d(row.latents, w, 3, padding=1), *stack(), *doubled(w, w // 2), *doubled(w // 2, w // 4),
        nn.Conv2d(w // 4, channels, 3, padding=1),
    )  # fmt: skip
    return (features, nn.Conv2d(w, row.latents, 1)), decoder


LIBRARIES: dict[str, Callable[[Row], Built]] = {"jaxgen": jaxgen, "pythae": pythae}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    steps.serve(lambda: LIBRARIES[library](row), row.products(), lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {"event_shape": tuple(fields["event_shape"])})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
