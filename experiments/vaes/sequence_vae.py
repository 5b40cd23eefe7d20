"""A VAE with an autoregressive decoder (Bowman et al. 2016, "Generating Sentences from a Continuous Space").

Time series by Gaussians, `--data sines`; symbols by their probabilities, `--data chains` or the characters of a text,
`--data FILE.txt` or `.txt.gz`, in windows of 64; images pixel by pixel, as they are or as rows of pixels that are on.

The paper's networks read words with LSTMs, 191 units and 13 latents on the Penn Treebank, its weight of the divergence
rises from zero, and words are dropped from the decoder's inputs: `--network lstm --width 191 --latents 13 --warmup 5000
--word-dropout 0.25`. The defaults are a first run without remedies against posterior collapse; beside `--word-dropout`
there are those of `experiments.vaes.vae`, and `--groups`, discrete latents. `experiments.vaes.collapse` compares them.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from flax import linen as nn

from experiments.shell import Experiment, main
from experiments.vaes.vae import VAEConfig, trained
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.data.text import TextSource
from jaxgen.distributions import Bernoulli, Categorical, Gaussian
from jaxgen.models.vaes import Codebook, QuantizedPosterior, SequenceVAE, UniformCodes
from jaxgen.nets import MLP, CausalDecoder, RecurrentDecoder, RecurrentEncoder
from jaxgen.training import TrainedModel

TEXTS = 8
"""Texts of a kind in a picture."""


@dataclass(frozen=True, kw_only=True)
class SequenceVAEConfig(VAEConfig):
    data: str = "sines"
    """`sines`, `chains`, a text file, or images."""
    steps: int = 3000
    batch_size: int = 64
    network: Literal["gru", "lstm", "causal"] = "gru"
    """The decoder; the encoder has the same cells, or gated ones beside `causal`, and on images dense layers."""
    likelihood: Literal["categorical", "gaussian", "bernoulli"] | None = None
    """By default of the data's kind: categorical for symbols, Gaussian for real data, Bernoulli for images."""
    latents: int = 16
    width: int = 64
    """Units of a cell or of a causal layer."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Of a causal decoder's layers: it sees as many places as their sum and one more."""
    word_dropout: float = 0.0
    """Share of the places that the decoder is not shown while it learns."""
    groups: int = 0
    """Discrete latents, each one of `codes` vectors; 0: normal latents."""
    codes: int = 8
    importance_samples: int = 50


def build(config: SequenceVAEConfig, data: Splits) -> Experiment:
    event_shape, levels = data.train.event_shape, data.train.levels
    images = len(event_shape) == 3
    kind = config.likelihood or ("bernoulli" if images else "gaussian" if levels is None else "categorical")
    if kind == "categorical" and levels is None:
        raise ValueError(f"likelihood='categorical' is of symbols; data={config.data!r} is real-valued")
    cell = "gru" if config.network == "causal" else config.network
    decoder = RecurrentDecoder(config.width, cell)
    if config.network == "causal":
        decoder = CausalDecoder(config.width, config.dilations)
    encoder = MLP((200,), nn.tanh) if images else RecurrentEncoder(config.width, cell)
    likelihood = {"categorical": lambda: Categorical(levels), "gaussian": Gaussian, "bernoulli": Bernoulli}[kind]()
    model = SequenceVAE(
        encoder, decoder, event_shape, latent_dim=config.latents, likelihood=likelihood, levels=levels,
        axes=2 if images else 1, word_dropout=config.word_dropout,
    )
    if config.groups:
        if config.latents % config.groups:
            raise ValueError(f"`latents` must be a multiple of groups={config.groups}, got {config.latents}")
        codebook = Codebook(num_codes=config.codes, code_dim=config.latents // config.groups)
        posterior, prior = QuantizedPosterior(codebook), UniformCodes(codebook)
        model = dataclasses.replace(model, posterior=posterior, prior=prior)
    experiment = trained(config, data, model)
    if not isinstance(data.train, TextSource):
        return experiment
    return experiment._replace(pictures={**experiment.pictures, "texts": lambda bound: texts(bound, data, config.seed)})


def texts(bound: TrainedModel, data: Splits, seed: int) -> Any:
    """Rows of the test text, what the latents keep of them, texts between two of them, and draws."""
    source, head = data.test, data.test.head(TEXTS)
    z, context = bound.encode(head["x"], None, head.get("context")), head.get("context")
    along = np.linspace(0, 1, TEXTS, dtype=np.float32)[:, None]
    first = None if context is None else np.repeat(np.asarray(context)[:1], TEXTS, 0)
    rows = {
        "text": head["x"],
        "the likeliest, by its latents": bound.decode(z, context),
        "between the first and the second": bound.decode((1 - along) * z[0] + along * z[1], first),
        "draws": bound.sample(jax.random.key(seed), TEXTS, context),
    }
    return plotting.texts({name: source.texts(np.asarray(numbers)) for name, numbers in rows.items()})


if __name__ == "__main__":
    main(SequenceVAEConfig, build)
