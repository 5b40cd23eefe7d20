"""SeqGAN (Yu et al. 2017, "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient", arXiv:1609.05473).

Data are sequences of an oracle, an LSTM with random weights, so that the likelihood of samples is known: `--data FILE`
with the authors' oracle and their 9,984 sequences of 20 words out of 5,000, or `oracle`, a small one without a file.

The paper's `nll_oracle` is 9.038 for maximum likelihood and 8.736 for SeqGAN, 10.310 for words drawn by their
frequencies; the oracle's own samples have 5.76. The metric alone is misleading: a table of bigrams has 8.27. Therefore
both divergences, the entropy, `nll`, of the oracle's new sequences under the model, and the fraction of distinct
samples are reported as well (`jaxgen.metrics.oracle_metrics`), all per token. `experiments.studies.oracle` compares
objectives and controls that start from one model.

Result of maximum likelihood, `--data seqgan_oracle.npz --preset small --mle-steps 9360 --steps 9360`, 11 minutes of a
shared core: `nll_oracle` is 10.17, 9.33, 9.11 and 9.07 after 1, 6, 11 and 16 epochs and 9.02 after 60, in the authors'
log 10.17, 9.43, 9.24 and 9.12 after the first four. Theirs have the same batches in each epoch: with `--no-shuffled` it
is 9.43 after 6 epochs here, too. KL(P||G) is 1.88 after 6 epochs and 3.12 after 60. From there, a constant reward comes
to 8.71 within 60 steps, below the paper's SeqGAN; `experiments.studies.oracle` has this and all other arms.

Defaults are the schedule of the authors' code: 120 epochs of maximum likelihood, 50 x 3 of the critic, 200 rounds of
one policy step and 5 x 3 epochs of the critic. `--preset small` has a small critic and fewer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np

from experiments.config import Experiment, Published
from experiments.run import main
from experiments.sequences.policies import PolicyConfig, initial_variables, optimizers, seq_gan
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import ArraySource, Splits, checks
from jaxgen.data.files import read
from jaxgen.metrics import oracle_metrics
from jaxgen.models.sequences import TokenOracle, lstm_oracle, random_oracle
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Natural

WORDS, LENGTH, WIDTH, STD = 100, 20, 16, 1.0
"""Of the small oracle: number of tokens, length, units, and standard deviation of its weights."""
SIZES = {"train": 2_048, "valid": 1_024, "test": 5_120}
"""Sequences of the splits. The first is the file's own, if there is one; the others are new samples of the oracle."""
FRESH, SAMPLES = 3, 4
"""Seeds of new training sequences and of the model's samples, which no split of the oracle uses."""
PART = 1_024
"""Sequences that are sampled or judged at a time."""


@dataclass(frozen=True, kw_only=True)
class SeqGANConfig(PolicyConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {},
        "small": {
            "steps": 60 * 156 + 2_000 + 60 * 60, "mle_steps": 60 * 156, "critic_steps": 2_000, "moves_per_round": 60,
            "rollouts": 2, "filters": "small", "critic_learning_rate": 5e-4, "eval_every": 780,
            "checkpoint_every": 1_560,
        },
    }  # fmt: skip

    preset: Literal["published", "small"] = "published"
    """Defaults: the authors' schedule and critic, or a shorter schedule of 60 rounds with a small critic."""
    data: str = "oracle"
    """`oracle`, a small one with fixed weights, or a .npz file with SeqGAN's (`lstm_oracle`) and `x_train`."""
    eval_batch: Count = PART
    shuffled: bool = True
    """Draw a new order of the data in each epoch. The authors' code has the same batches in each."""
    fresh: Natural = 0
    """Train on so many new sequences of the oracle in place of the file's; 0: on the file's."""
    measured: Count = 10_240
    """Samples in the final metrics."""

    def open(self) -> Splits:
        oracle = self.oracle()
        if self.fresh:
            train = sampled(oracle, self.fresh, FRESH)
        else:
            train = None if self.data == "oracle" else self._file["x_train"].astype(np.int32)
        splits = oracle_splits(oracle, train)
        return splits if self.shuffled else splits._replace(train=Ordered(splits.train.arrays, name=splits.train.name))

    def oracle(self) -> TokenOracle:
        if self.data == "oracle":
            return random_oracle(0, WORDS, LENGTH, WIDTH, STD)
        return lstm_oracle(self._file)

    @property
    def _file(self) -> Mapping[str, np.ndarray]:
        return read(checks.data_path(self.data, self.data_dir))


PUBLISHED = {"seqgan_oracle.npz": Published("nll_oracle", 8.736, "Table 1", SeqGANConfig.steps)}


class Ordered(ArraySource):
    """The batches of each epoch are the same, in the order of the data."""

    def indices_at(self, step: int, size: int, seed: int) -> np.ndarray:
        first = step % (len(self) // size) * size
        return np.arange(first, first + size, dtype=np.int32)


def oracle_splits(oracle: TokenOracle, train: Any = None) -> Splits:
    """Samples of the oracle; `train` is the training split, if there is one."""
    drawn = {
        name: train if name == "train" and train is not None else sampled(oracle, size, seed)
        for seed, (name, size) in enumerate(SIZES.items())
    }
    return Splits(**{name: ArraySource({"x": x}, name=f"oracle ({name})") for name, x in drawn.items()})


def sampled(model: Any, n: int, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
    """n samples of an oracle or a trained model, `PART` at a time, [n, T]."""
    draw = jax.jit(model.sample, static_argnums=1) if isinstance(model, TokenOracle) else model.sample
    keys = jax.random.split(jax.random.key(seed), -(-n // PART))
    return np.concatenate([np.asarray(draw(key, PART, temperature=temperature)) for key in keys])[:n]


def build(config: SeqGANConfig, data: Splits) -> Experiment:
    oracle, length = config.oracle(), data.train.event_shape[0]
    model = seq_gan(config, oracle.network.num_tokens, length, None, monitor=("nll_oracle", "min"))

    def compared(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        samples = model.sample(variables, key, len(batch["x"]))
        return {
            "nll_oracle": -oracle.log_probs(samples).mean(),
            "entropy": -model.log_probs(variables, samples).mean(),
            "forward_kl": (oracle.log_probs(batch["x"]) - model.log_probs(variables, batch["x"])).mean(),
        }

    held_out = data.test.head(config.measured)["x"]
    return Experiment(
        model, validation_metrics=compared, draws=1, headline=("nll_oracle", "forward_kl", "entropy"),
        optimizers=optimizers(config, model),
        final_metrics=partial(divergences, oracle=oracle, held_out=held_out, n=config.measured),
        baselines={"nll_oracle of the oracle": float(-in_parts(oracle.log_probs, held_out[:PART]).mean())},
        start=initial_variables(config, model, data),
    )  # fmt: skip


def in_parts(function: Callable[..., Array], x: np.ndarray) -> np.ndarray:
    return in_chunks(jax.jit(function), x, size=PART)


def divergences(
    trained: TrainedModel, oracle: TokenOracle, held_out: np.ndarray, n: int, temperature: float = 1.0
) -> dict[str, float]:
    """`oracle_metrics` of n samples at a temperature, and of new sequences of the oracle."""
    samples = sampled(trained, n, SAMPLES, temperature)
    log_probs = partial(trained.log_probs, temperature=temperature)
    own, of_data = (in_chunks(log_probs, x, size=PART) for x in (samples, held_out))
    by_oracle = (in_parts(oracle.log_probs, x) for x in (samples, held_out))
    return oracle_metrics(samples, next(by_oracle), own, next(by_oracle), of_data)


if __name__ == "__main__":
    main(SeqGANConfig, build, PUBLISHED)
