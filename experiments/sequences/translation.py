"""Translation with an attention encoder-decoder, by maximum likelihood and by a conditional sequence GAN (Yang et al.
2018, "Improving Neural Machine Translation with Conditional Sequence Generative Adversarial Nets", CSGAN-NMT).

`--data FILES` are lines with a source and a target, separated by a tab, as `pairs_{train,valid,test}.txt`. The
vocabularies have words that occur `min_count` times in the training lines. `bleu` is the corpus BLEU-4, in per cent, of
greedy translations in lower case, in which unknown words are wrong; `bleu sampled` is of samples, and `bleu of other
sources` of the greedy translations of other lines.

Result on Multi30k from English to German, 26,946 pairs of at most 20 words: BLEU 26.6 on test2016, 15.8 of samples and
0.4 of other sources, `--preset small --system mle --steps 873 --data 'multi30k_en_de_{train,valid,test2016}.txt.gz'`,
two epochs in 20 minutes of a core that others used too. On `numerals`, `--system mle --width 64 --steps 1500
--learning-rate 3e-3` translates all test numbers after a minute, BLEU 100.

From there, 150 rounds after 400 steps of the critic, with its accuracy on test pairs, and with the sources of others
(`experiments.studies.translation_gan --critic-steps 400 --steps 150 --policy-learning-rate 1e-4 --critic-learning-rate
1e-3`, seed 0):

                                      BLEU   of samples   accuracy   with other sources
    GAN, CNN, 14 minutes              26.8         15.9       0.53                 0.52
    GAN, n-grams, 5 minutes           26.5         15.8       0.69                 0.56
    maximum likelihood continued      26.5         15.7

A critic that sees whether a translation belongs to its source changes no more than one that sees nothing. So it is in
300 rounds after 600 steps of the critic at the paper's rates, the study's defaults, 20 minutes with maximum likelihood:
BLEU 26.4 with the CNN (accuracy 0.52), 26.4 with the RNN (0.50), 26.3 with n-grams (0.71, with other sources 0.59),
26.4 by maximum likelihood continued.

Why the CNN sees nothing: 400 batches are one pass over the pairs, and it is right in as few of those that it learns
from. With one sample of each training source by the fixed generator, and 1,902 unseen pairs, critics are right in

    CNN, RMSProp at 1e-4 or 1e-3, dropout, weights clipped to 1, 400 batches       0.54, 0.52
    CNN, Adam at 1e-3, no clipped weights, with or without dropout, 400 batches    0.59, 0.56
    RNN, Adam at 2e-3, no clipped weights, 300 batches                             0.57
    n-grams and pairs of words (`--critic n_grams`), Adam at 1e-2, 400 batches     0.70
    the same, 800 batches                                                          0.71; with RMSProp 0.71

so rates, clipping and dropout are not the cause alone: what weights of n-grams learn in one pass, networks that have to
learn vectors of words do not. The CNN (Adam at 1e-3) is right in 0.64 after four passes, in 0.66 if it begins with the
generator's vectors of words, and then in 0.69 after ten. With the sources of other pairs the n-grams fall to 0.61,
critics of the targets alone stay at 0.69, and those taught with shuffled sources are right in 0.66 with either.

None comes to the paper's 0.82, for want of pairs: learning from 3,368, 6,737, 13,473 and 26,946 pairs, n-grams are
right in at most 0.60, 0.64, 0.67 and 0.70 of 2,014 unseen pairs. Another 0.034 a doubling would take 300,000 pairs; the
paper's corpora have more than a million.

The paper reports BLEU of 22.89 in place of 21.2 for an RNN from English to German, and 27.92 in place of 27.30 for a
Transformer, both with lambda = 0.7.

`--start RUN` begins with the generator of a run by `--system mle`; with `--mle-steps 0` it is then only fine-tuned.
`--system mle --optimizer rmsprop` is the control, the same updates without a critic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax
from flax import linen as nn

import jaxgen
from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import model_phases
from jaxgen.data import Splits, TokenSource, numerals, sentence_pairs
from jaxgen.losses import clip_weights
from jaxgen.metrics import corpus_bleu
from jaxgen.models.hybrids import waiting
from jaxgen.models.sequences import ConditionalSequenceGAN, ConditionalSequences
from jaxgen.nets import AttentionSeq2Seq, NGramCritic, PairCritic, TokenConvTower, TokenRNNTower
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Natural, NonNegative, Probability

EXAMPLES = 10
"""Translations that are shown."""
NUMERALS = "numerals"
"""The data without a file: numbers in figures, digit by digit, and in English words."""
MONITOR = ("bleu", "max")
PART = 500
"""Sentences translated at a time."""


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "width": 256, "embedding": 128, "learning_rate": 2e-3, "rollouts": 0, "eval_every": 421,
            "checkpoint_every": 421, "mle_steps": 3_368, "critic_steps": 1_000, "steps": 4_668,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or those for 30,000 sentences on a CPU."""
    data: str = NUMERALS
    """`numerals`, or text files with a source and a target in each line."""
    system: Literal["mle", "gan"] = "gan"
    """Maximum likelihood, or the GAN after it."""
    steps: Count = 120_000
    """Batches to train on: `mle_steps`, `critic_steps`, and the rest in rounds."""
    batch_size: Count = 64
    mle_steps: Natural = 100_000
    """Steps of maximum likelihood of the GAN."""
    critic_steps: Natural = 10_000
    """Steps of the critic before the first round, at most."""
    level: Literal["tokens", "words", "characters"] = "tokens"
    """What the texts are split into; `tokens` are words and punctuation marks in lower case."""
    length: Count = 20
    """Greatest number of words of the pairs to train on, on both sides."""
    min_count: Count = 5
    """Words that occur less often are unknown."""
    cell: Literal["gru", "lstm"] = "gru"
    width: Count = 1024
    """Units of the cells."""
    embedding: Count | None = None
    """Dimension of the words' vectors; by default `width`."""
    dropout: Probability = 0.2
    learning_rate: NonNegative = 1e-3
    """Of Adam, for maximum likelihood."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Of maximum likelihood; `rmsprop` is that of the rounds."""
    policy_learning_rate: NonNegative = 1e-5
    """Of RMSProp, for the rounds."""
    critic: Literal["cnn", "rnn", "n_grams"] = "cnn"
    """The critic's networks of both sides, or weights of n-grams of the target and of pairs of words."""
    mixing: Literal["joint", "additive", "target"] = "joint"
    """How the critic joins both sides: with products; in a sum, as in the authors' code; or without the source."""
    critic_learning_rate: NonNegative = 1e-4
    """Of RMSProp, for the critic."""
    accuracy: Probability = 0.82
    """Of the critic before the first round."""
    rollouts: Natural = 20
    """Completions of each prefix; 0: the reward of a whole translation is that of each of its words."""
    critic_weight: Probability = 0.7
    """lambda: weight of the critic in the reward; the rest is the weight of BLEU."""
    baseline: Probability = 0.6
    """b, which the critic's probability is compared with."""
    start: Path | None = None
    """A finished run with the same generator, and with `--system gan` perhaps critic, to begin from."""
    shuffled: bool = False
    """Control: learn from pairs whose sources belong to other targets."""

    def check(self) -> None:
        super().check()
        self.check_without_context("a translation is conditioned on its source")

    def open(self) -> Splits:
        if self.data == NUMERALS:
            splits = numerals()
        else:
            splits = sentence_pairs(
                self.data, self.data_dir, level=self.level, length=self.length, min_count=self.min_count
            )
        if self.shuffled:
            splits = splits._replace(train=with_other_sources(splits.train))
        return splits


def with_other_sources(source: TokenSource) -> TokenSource:
    """The same targets with the sources in another order."""
    order = np.random.default_rng(0).permutation(len(source))
    return source.with_arrays(context=source.arrays["context"][order])


def build(config: TranslationConfig, data: Splits) -> Experiment:
    train = data.train
    sizes = len(train.vocabulary), len(train.context_vocabulary)
    generator = AttentionSeq2Seq(
        *sizes, train.event_shape[0], config.width, config.embedding, config.cell, config.dropout
    )
    rmsprop = optax.chain(optax.clip_by_global_norm(5.0), optax.rmsprop(config.policy_learning_rate))
    adam = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(config.learning_rate))
    optimizers = {"mle": adam if config.optimizer == "adam" else rmsprop}
    if config.system == "mle":
        model = ConditionalSequences(generator, monitor=MONITOR)
    else:
        of_critic = optax.chain(optax.clip(1.0), optax.rmsprop(config.critic_learning_rate), clip_weights(1.0))
        optimizers |= {"critic": of_critic, "critic_pretraining": waiting(of_critic)}
        optimizers |= {"policy": rmsprop, "teacher_forcing": rmsprop}
        model = ConditionalSequenceGAN(
            generator, critic=critic(config, sizes), mle_steps=config.mle_steps, critic_steps=config.critic_steps,
            accuracy=config.accuracy, rollouts=config.rollouts, critic_weight=config.critic_weight,
            baseline=config.baseline, monitor=MONITOR,
        )  # fmt: skip
    played = {name for phase in model_phases(model, config.steps) for name in phase.plays}
    start = None
    if config.start is not None:
        earlier = jaxgen.load(config.start).variables
        players = ("generator", "critic") if config.system == "gan" and "critic" in earlier else ("generator",)
        start = {player: earlier[player] for player in players}
    return Experiment(
        model, optimizers={name: optimizers[name] for name in optimizers if name in played}, start=start,
        host_metrics=partial(validation_bleu, source=data.valid), draws=1,
        final_metrics=partial(translation_metrics, source=data.test, seed=config.seed),
        headline=("bleu", "nll_per_token"),
        plots={"translations": partial(plot_translations, data=data, seed=config.seed)},
    )  # fmt: skip


def critic(config: TranslationConfig, sizes: tuple[int, int]) -> nn.Module:
    if config.critic == "n_grams":
        return NGramCritic(crossed=config.mixing == "joint")
    tower = {"cnn": TokenConvTower, "rnn": TokenRNNTower}[config.critic]
    target, source = (tower(size, name=None) for size in sizes)
    if config.mixing == "target":
        return PairCritic(target, None)
    return PairCritic(target, source, config.mixing)


def translations(trained: TrainedModel, context: np.ndarray) -> np.ndarray:
    """Greedy translations of sources [N, S]: int [N, T]."""
    return np.asarray(in_chunks(trained.translate, context, size=PART))


def bleu(source: TokenSource, tokens: np.ndarray, n: int = 4) -> float:
    """Corpus BLEU-n of tokens [N, T] against all references of the source's examples, in per cent."""
    numbers: dict[str, int] = {}

    def numbered(words: list[str]) -> list[int]:
        return [numbers.setdefault(word, len(numbers)) for word in words]

    references = [[numbered(reference.split()) for reference in several] for several in source.references]
    # an unknown word is written as no word of a reference is
    return 100 * corpus_bleu(references, [numbered(words) for words in source.vocabulary.decode(tokens)], n)


def validation_bleu(trained: TrainedModel, source: TokenSource) -> dict[str, float]:
    return {"bleu": bleu(source, translations(trained, source.arrays["context"]))}


def translation_metrics(trained: TrainedModel, source: TokenSource, seed: int) -> dict[str, float]:
    """BLEU of greedy translations, of samples and of greedy translations of other sources; words per translation over
    those of the references.
    """
    context, key = source.arrays["context"], jax.random.key(seed)
    greedy = translations(trained, context)
    sampled = np.asarray(in_chunks(lambda part: trained.sample(key, len(part), part), context, size=PART))
    words = [len(words) for words in source.vocabulary.decode(greedy)]
    return {
        "bleu": bleu(source, greedy),
        "bleu sampled": bleu(source, sampled),
        "bleu of other sources": bleu(source, np.roll(greedy, 1, 0)),
        "length ratio": float(np.sum(words) / sum(len(several[0].split()) for several in source.references)),
    }


def plot_translations(trained: TrainedModel, data: Splits, seed: int) -> Any:
    """Test sentences with their references, greedy translations and samples."""
    source = data.test.subset(np.linspace(0, len(data.test) - 1, EXAMPLES).astype(int))
    context = source.arrays["context"]
    greedy = source.texts(translations(trained, context))
    sampled = source.texts(np.asarray(trained.sample(jax.random.key(seed), len(context), context)))
    rows = zip(source.context_texts(context), source.references, greedy, sampled, strict=True)
    return plotting.texts({
        text: [f"reference: {several[0]}", f"greedy:    {one}", f"sampled:   {other}"]
        for text, several, one, other in rows
    })  # fmt: skip


if __name__ == "__main__":
    main(TranslationConfig, build)
