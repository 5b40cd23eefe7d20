"""Endings of stories by sequence-to-sequence with reinforcement and an adversary (Seq2Seq + RL + GAN, COLING 2018).

`--data FILES` are lines with the sentences of a story, separated by tabs, as `stories_{train,test}.txt`; the last one
is to be told after the others. A generator pretrained by maximum likelihood is rewarded by a critic of endings given
their contexts, with steps of teacher forcing in between: the game of `experiments.sequences.dialogue`.
`choice by information` is how often the model prefers the true ending to that of another story; the paper reports
62.6 % on the pairs of the Story Cloze test, which were written to be hard.

On 7,081 ROC stories, `--preset small --system mle --steps 800`, four minutes: perplexity 61.0 on 1,081 test endings.
On 200 test contexts with 5 other ones, the true ending is preferred in 81.6 % by information and 81.7 % by gain, with
other contexts 54.0 and 54.2 %, by log p per word 60.0 and 48.9 %. The number of shared words, on all stories, is right
in 79.9 %: endings of other stories are easy to tell by their words. Greedy endings hardly depend on the story (`she was
able to go to the hospital`).

From there, 100 updates with as many of teacher forcing, seed 0, `experiments.studies.replies --experiment story_endings
--data FILES --critic-steps 150 --judge-steps 100`, nine minutes with maximum likelihood:

                                     adversary   constant reward   teacher forcing   before
    perplexity                            62.5              62.2              61.8     61.0
    choice by gain, %                     81.0              80.6              81.0     81.7
    errors of a judge, %                  40.8              40.0              41.1     40.8
    different pairs of words              .651              .633              .628     .629

The critic is right in 57.8 % of unseen endings, and prefers an ending's own story to another in 60.6 %. The judge's
standard error is 1.2 points: the adversary changes nothing that it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from experiments.config import Experiment
from experiments.run import main
from experiments.sequences import replies
from experiments.sequences.replies import RepliesConfig
from jaxgen.data import Splits
from jaxgen.metrics import choice_accuracy
from jaxgen.training import TrainedModel

SEPARATORS = (".", "!", "?")
"""End a sentence."""
OTHERS = 5
"""Other stories whose endings are wrong ones."""


@dataclass(frozen=True, kw_only=True)
class StoryEndingsConfig(RepliesConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            **replies.PRESET, "context_length": 60, "dropout": 0.3, "learning_rate": 2e-3, "mle_steps": 800,
            "critic_steps": 150, "steps": 1_150, "eval_every": 200, "checkpoint_every": 200,
            "marginal": 5,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the sizes of `experiments.sequences.dialogue`, or those for 7,000 stories on a CPU."""

    def open(self) -> Splits:
        return replies.open_pairs(self, "story")


def build(config: StoryEndingsConfig, data: Splits) -> Experiment:
    context, x = data.test.arrays["context"], data.test.arrays["x"]
    right, wrong = x[:, None], np.stack([np.roll(x, i, 0) for i in range(1, OTHERS + 1)], 1)
    shared = float(choice_accuracy(*(replies.word_overlap(context, several) for several in (right, wrong))))

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        metrics = replies.choices(trained, config, context, right, wrong)
        return metrics | replies.reply_metrics(trained, config, data.train, data.test, 1, SEPARATORS)

    return replies.experiment(
        config, data, SEPARATORS, final_metrics=final_metrics, baselines={"choice by shared words": shared},
        headline=("choice by information", "nll_per_token"),
        plots={"endings": lambda trained: replies.plot_replies(trained, data.test, config.seed)},
    )  # fmt: skip


if __name__ == "__main__":
    main(StoryEndingsConfig, build)
