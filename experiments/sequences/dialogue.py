"""Adversarial dialogue (Li et al. 2017, "Adversarial Learning for Neural Dialogue Generation").

`--data FILES` are lines with a context, whose turns are joined by `__eou__`, and its replies, separated by tabs, as
`dialogues_{train,valid,test}.txt`; `--wrong FILE` has the test contexts with replies that are fluent but wrong.
`experiments.studies.replies` compares the adversarial game with its controls.

On DailyDialog++, `--preset small --system mle --steps 1200`, two epochs of 38,000 replies in six minutes: perplexity
29.8 on test replies with unknown words as one word. On 200 test contexts with 4 other ones, the five right replies are
preferred to the five wrong ones, which repeat words of their context, in 81.3 % by log p per word. But with the
contexts of others it is 79.6 %: right replies have common words. By gain it is 66.3 %, with other contexts 51.2 %, by
information 69.7 and 54.0 %; shared words alone are right in 34.4 %.

From there, 250 updates with as many of teacher forcing, seed 0, `experiments.studies.replies --data FILES --wrong FILE
--updates 250 --judge-steps 100`, 16 minutes in all:

                                     adversary   constant reward   teacher forcing   before
    perplexity                            31.0              30.5              30.3     29.8
    choice by gain, %                     65.5              66.1              66.4     66.3
    errors of a judge, %                  42.3              47.1              45.4     46.4
    different pairs of words              .521              .555              .546     .525

The adversary changes nothing for the better that the controls do not; the judge, whose standard error is 1.1 points,
finds its replies out more often. The critic is right in 57.4 % of unseen replies; a logistic regression on n-grams,
fitted to 37,000 replies, in 60 %. The paper's recurrent critic (`--critic turns`) is right in 50 to 52 % after 250
batches, at rates of 1e-3 and 3e-3, on whole replies and prefixes. Before unknown words were kept from it, which the
generator never writes, it had 57 % by these alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from experiments.config import Experiment
from experiments.run import main
from experiments.sequences import replies
from experiments.sequences.replies import RepliesConfig
from jaxgen.data import Splits, TokenSource, text
from jaxgen.metrics import choice_accuracy
from jaxgen.training import TrainedModel

SEPARATOR = "__eou__"
"""Ends a turn."""


@dataclass(frozen=True, kw_only=True)
class DialogueConfig(RepliesConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            **replies.PRESET, "learning_rate": 2e-3, "mle_steps": 1_200, "critic_steps": 300, "steps": 1_700,
            "eval_every": 300, "checkpoint_every": 300, "marginal": 4,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or those for 40,000 replies on a CPU."""
    wrong: Path | None = None
    """A text file with the contexts of the test file and wrong replies, to which the right ones should be preferred."""

    def open(self) -> Splits:
        return replies.open_pairs(self, "dialogue")


def build(config: DialogueConfig, data: Splits) -> Experiment:
    wrong = None if config.wrong is None else wrong_replies(config.wrong, config.data_dir, data.test)
    per_context = replies_per_context(data.test)
    baselines = {}
    if wrong is not None:
        context, right = contexts_and_replies(data.test, per_context)
        overlap = (replies.word_overlap(context, several) for several in (right, wrong))
        baselines["choice by shared words"] = float(choice_accuracy(*overlap))

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        metrics = replies.reply_metrics(trained, config, data.train, data.test, per_context, (SEPARATOR,))
        if wrong is not None:
            metrics |= replies.choices(trained, config, context, right, wrong)
        return metrics

    return replies.experiment(
        config, data, (SEPARATOR,), final_metrics=final_metrics, baselines=baselines,
        headline=("nll_per_token", "bleu-2"),
        plots={"replies": lambda trained: replies.plot_replies(trained, data.test, config.seed)},
    )  # fmt: skip


def replies_per_context(source: TokenSource) -> int:
    """The number of examples in a row with the same references, if it is the same for all; else 1."""
    starts = [i for i, several in enumerate(source.references) if not i or several != source.references[i - 1]]
    counts = set(np.diff([*starts, len(source)]).tolist())
    return counts.pop() if len(counts) == 1 else 1


def contexts_and_replies(source: TokenSource, per_context: int) -> tuple[np.ndarray, np.ndarray]:
    """Contexts [N, S] and their replies [N, R, T]."""
    x = source.arrays["x"]
    return source.arrays["context"][::per_context], x.reshape(-1, per_context, x.shape[1])


def wrong_replies(path: Path, data_dir: str | None, test: TokenSource) -> np.ndarray:
    """The replies of a file, [N, W, T], in the test split's vocabulary.

    Raises:
        ValueError: other contexts than the test split's, or a line with another number of replies.
    """
    lines = text.read(Path(data_dir or "") / path.expanduser()).split("\n")
    records = [line.split("\t") for line in lines if line.strip()]
    contexts, per_context = test.arrays["context"], replies_per_context(test)
    found = test.context_vocabulary.encode(
        (test.context_vocabulary.split(record[0]) for record in records), contexts.shape[1] - 1, "last"
    )
    if len(found) * per_context != len(contexts) or (found != contexts[::per_context]).any():
        raise ValueError(f"`wrong` must have the {len(contexts) // per_context} contexts of the test file, got {path}")
    if len({len(record) for record in records}) > 1:
        raise ValueError(f"`wrong` must have lines with as many replies each, got {path}")
    words = (test.vocabulary.split(reply) for record in records for reply in record[1:])
    return test.vocabulary.encode(words, test.event_shape[0] - 1).reshape(len(found), -1, test.event_shape[0])


if __name__ == "__main__":
    main(DialogueConfig, build)
