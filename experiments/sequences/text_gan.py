"""SeqGAN and MaliGAN on texts (Yu et al. 2017, arXiv:1609.05473; Che et al. 2017, arXiv:1702.07983).

`--data FILES` are texts with a sentence in each line, as `captions_{train,test}.txt`, or `--level characters` for
Chinese poems; `numerals` needs no file. `--objective` is SeqGAN's reward by completions, MaliGAN's weights of whole
sentences or of their words, or a constant reward. Without rounds (`--steps` equal to `--mle-steps`) it is maximum
likelihood.

BLEU-2 to BLEU-5 of samples have all test sentences as references, as in Texygen (Zhu et al. 2018); self-BLEU has the
other samples: BLEU alone can be had by few sentences, repeated. With captions, published in Texygen with other splits:

                  BLEU-2   -3     -4     -5     self-BLEU-2   -3     -4     -5
    MLE            .731   .497   .305   .189       .916      .769   .583   .408
    SeqGAN         .745   .498   .294   .180       .950      .840   .670   .489
    MaliGAN        .673   .432   .257   .159

Result of maximum likelihood on the same captions, tokenised here, `--preset small --mle-steps 2340 --steps 2340`: BLEU
.766, .548, .351, .222 and self-BLEU .800, .596, .403, .270. `experiments.studies.text_gan` has this and objectives that
start from it, at several temperatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import numpy as np

from experiments.config import Experiment
from experiments.run import main
from experiments.sequences.policies import PolicyConfig, initial_variables, optimizers, seq_gan
from experiments.sequences.translation import NUMERALS
from jaxgen import plotting
from jaxgen.data import Splits, TokenSource, numerals, sentences
from jaxgen.data.vocabulary import END, without_end
from jaxgen.metrics import bleu, copied_sequences, distinct_n_grams, self_bleu
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count

ORDERS = (2, 3, 4, 5)
TEXTS = 10
"""Samples that are shown."""


@dataclass(frozen=True, kw_only=True)
class TextGANConfig(PolicyConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {},
        "small": {
            "mle_steps": 20 * 156, "critic_steps": 1_000, "moves_per_round": 10, "steps": 5_120, "rollouts": 4,
            "width": 128, "filters": "small", "eval_every": 156, "checkpoint_every": 1_000,
        },
    }  # fmt: skip

    preset: Literal["published", "small"] = "published"
    """Defaults: the schedule of SeqGAN's code, or 20 epochs of 10,000 sentences and 100 rounds with a small critic."""
    data: str = NUMERALS
    """`numerals`, or text files with a sentence in each line."""
    level: Literal["tokens", "words", "characters"] = "tokens"
    """What the texts are split into; `tokens` are words and punctuation marks in lower case."""
    length: Count = 20
    """Greatest number of words of a training sentence."""
    min_count: Count = 2
    """Words that occur less often are unknown."""
    measured: Count = 1_000
    """Samples in the final metrics."""

    def open(self) -> Splits:
        if self.data == NUMERALS:
            return numerals()
        return sentences(self.data, self.data_dir, level=self.level, length=self.length, min_count=self.min_count)


def build(config: TextGANConfig, data: Splits) -> Experiment:
    model = seq_gan(config, len(data.train.vocabulary), data.train.event_shape[0], END, monitor=("nll", "min"))
    return Experiment(
        model, optimizers=optimizers(config, model), draws=1, headline=("bleu_4", "self_bleu_4", "nll"),
        final_metrics=lambda trained: text_metrics(data, samples(trained, config.measured, config.seed)),
        baselines=baselines(data, config.measured),
        plots={"texts": lambda trained: texts(trained, data, config.seed)},
        start=initial_variables(config, model, data),
    )  # fmt: skip


def samples(trained: TrainedModel, n: int, seed: int, temperature: float = 1.0) -> np.ndarray:
    """n sentences, int [n, T]."""
    return np.asarray(trained.sample(jax.random.key(seed), n, temperature=temperature))


def text_metrics(data: Splits, tokens: np.ndarray) -> dict[str, float]:
    """Of samples [N, T]: BLEU with the test sentences, self-BLEU, the fraction of different pairs of words, of samples
    that are training sentences, and words per sample.
    """
    generated, (train, test) = words(tokens), (words(part.arrays["x"]) for part in (data.train, data.test))
    filled = [sentence for sentence in generated if sentence] or [(END,)]
    metrics = {f"bleu_{n}": bleu(test, filled, n) for n in ORDERS}
    metrics |= {f"self_bleu_{n}": self_bleu(filled, n) for n in ORDERS if len(filled) > 1}
    return {
        **metrics,
        "distinct pairs": distinct_n_grams([*filled, (END, END)], 2),
        "copies": copied_sequences(train, filled),
        "words": float(np.mean([len(sentence) for sentence in generated])),
    }


def baselines(data: Splits, n: int) -> dict[str, float]:
    """`text_metrics` of as many validation sentences."""
    held_out = data.valid.arrays["x"][:n]
    return {f"{name} of held-out texts": value for name, value in text_metrics(data, held_out).items()}


def words(tokens: np.ndarray) -> list[tuple[int, ...]]:
    """Sentences [N, T] without their ends."""
    return [tuple(without_end(sentence)) for sentence in tokens]


def texts(trained: TrainedModel, data: Splits, seed: int) -> Any:
    """Test sentences and samples."""
    source: TokenSource = data.test
    rows = {"text": source.arrays["x"][:TEXTS]}
    rows |= {f"samples, temperature {t:g}": samples(trained, TEXTS, seed, t) for t in (1.0, 0.7)}
    return plotting.texts({name: source.texts(tokens) for name, tokens in rows.items()})


if __name__ == "__main__":
    main(TextGANConfig, build)
