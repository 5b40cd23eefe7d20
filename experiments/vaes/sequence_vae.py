"""A VAE with an autoregressive decoder (Bowman et al. 2016, "Generating Sentences from a Continuous Space").

Time series with a Gaussian likelihood, `--data sines`; symbols with a categorical one, `--data chains` or the
characters of a text in windows of 64, `--data FILE.txt` or `.txt.gz`; images pixel by pixel.

The paper's networks read words with LSTMs, 191 units and 13 latents on the Penn Treebank, its KL weight rises from
zero, and words are dropped from the decoder's inputs: `--network lstm --width 191 --latents 13 --warmup 5000
--word-dropout 0.25`. The defaults have no remedy against posterior collapse; `experiments.studies.collapse` compares
`--word-dropout`, the remedies of `experiments.vaes.vae`, and discrete latents (`--groups`).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from flax import linen as nn

from experiments.config import Experiment
from experiments.run import main
from experiments.vaes.vae import VAEConfig, with_objective
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.data.text import TextSource
from jaxgen.distributions import Bernoulli, Categorical, Gaussian
from jaxgen.models.vaes import Codebook, QuantizedPosterior, SequenceVAE, UniformCodes
from jaxgen.nets import MLP, CausalDecoder, RecurrentDecoder, RecurrentEncoder
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Natural, Probability

TEXTS = 8
"""Texts of each kind in the plot."""


@dataclass(frozen=True, kw_only=True)
class SequenceVAEConfig(VAEConfig):
    data: str = "sines"
    """`sines`, `chains`, a text file, or images."""
    steps: Count = 3000
    batch_size: Count = 64
    network: Literal["gru", "lstm", "causal"] = "gru"
    """Decoder; the encoder has the same cells (GRU for `causal`), and dense layers on images."""
    likelihood: Literal["categorical", "gaussian", "bernoulli"] | None = None
    """By default categorical for symbols, Gaussian for real data, Bernoulli for images."""
    latents: Count = 16
    width: Count = 64
    """Units of a cell or of a causal layer."""
    dilations: tuple[Count, ...] = (1, 2, 4, 8)
    """Dilations of the causal decoder's layers; its receptive field is their sum plus one."""
    word_dropout: Probability = 0.0
    """Fraction of the decoder's inputs that are hidden in training."""
    groups: Natural = 0
    """Number of discrete latents with `codes` values each; 0: normal latents."""
    codes: Count = 8
    importance_samples: Count = 50


def build(config: SequenceVAEConfig, data: Splits) -> Experiment:
    event_shape, levels = data.train.event_shape, data.train.levels
    images = len(event_shape) == 3
    kind = config.likelihood or ("bernoulli" if images else "gaussian" if levels is None else "categorical")
    if kind == "categorical" and levels is None:
        raise ValueError(f"likelihood='categorical' expects symbols, got real-valued data={config.data!r}")
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
    plots = {"texts": lambda trained: texts(trained, data, config.seed)} if isinstance(data.train, TextSource) else {}
    return with_objective(config, data, model, plots=plots)


def texts(trained: TrainedModel, data: Splits, seed: int) -> Any:
    """Test texts, their reconstructions, interpolations between two of them, and samples."""
    source, head = data.test, data.test.head(TEXTS)
    z, context = trained.encode(head["x"], None, head.get("context")), head.get("context")
    along = np.linspace(0, 1, TEXTS, dtype=np.float32)[:, None]
    first = None if context is None else np.repeat(np.asarray(context)[:1], TEXTS, 0)
    rows = {
        "text": head["x"],
        "reconstructions": trained.decode(z, context),
        "interpolations between the first two": trained.decode((1 - along) * z[0] + along * z[1], first),
        "samples": trained.sample(jax.random.key(seed), TEXTS, context),
    }
    return plotting.texts({name: source.texts(np.asarray(numbers)) for name, numbers in rows.items()})


if __name__ == "__main__":
    main(SequenceVAEConfig, build)
