"""What adversaries add to maximum likelihood on texts: `python -m experiments.studies.text_gan --data
captions_{train,test}.txt`.

The arms of `experiments.sequences.text_gan` begin with one generator, trained by maximum likelihood, and one critic:
SeqGAN's rewards, MaliGAN's weights of sentences and of words, and as controls a constant reward, and maximum likelihood
continued for `continued` steps, which should take as long as SeqGAN's rounds. All are sampled at several temperatures:
an adversary that only moves towards fewer sentences is no better than maximum likelihood at a lower temperature
(Caccia et al. 2020, "Language GANs Falling Short").

Result on captions,
`--data image_coco_{train,test}.txt --mle-steps 2340 --critic-steps 500 --rounds 60 --continued 600`, 40 minutes of a
shared core, seed 0:

                         temperature   BLEU-2   BLEU-4   self-BLEU-4   NLL of test words   minutes
    held-out texts                      0.780    0.366      0.366
    MLE                      1          0.766    0.351      0.403            4.72            17.5
    MLE                      0.8        0.798    0.409      0.589
    MLE continued            1          0.778    0.365      0.417            4.84             3.8
    SeqGAN                   1          0.776    0.349      0.430            4.75             4.9
    MaliGAN                  1          0.764    0.338      0.396            4.71             1.7
    MaliGAN, full            1          0.757    0.346      0.409            4.70             6.7
    constant reward          1          0.788    0.371      0.437            4.76             0.5

No adversary is worth its time here: what SeqGAN gains in BLEU-2 it loses in diversity, and a constant reward gains
more. Texygen's table has the same order of MLE and SeqGAN. Test captions are of other pictures than the training
captions and have twice as many unknown words, validation captions have an NLL of 3.8.

So it is on Chinese quatrains of 4 x 5 characters without punctuation, 14,394 for training and 1,599 for the test, one
in each line with spaces between the characters, by the same command with `--data poems_{train,test}.txt`, eleven
minutes of a core (Yu et al. 2017 report BLEU-2 of 0.667 for MLE and 0.739 for SeqGAN):

                       BLEU-2   BLEU-4   self-BLEU-4   NLL of test characters   minutes
    held-out texts      0.470    0.061      0.056
    MLE                 0.438    0.053      0.052              6.28               2.4
    MLE, 0.8            0.522    0.061      0.072
    MLE continued       0.454    0.053      0.053              6.29               0.7
    SeqGAN              0.458    0.054      0.055              6.30               2.8
    MaliGAN             0.441    0.053      0.053              6.29               0.5
    MaliGAN, full       0.447    0.053      0.053              6.29               2.6
    constant reward     0.464    0.055      0.055              6.31               0.2

Columns: BLEU with all test sentences as references; self-BLEU, lower is more diverse; the fraction of different pairs
of words; of copies of training sentences; and the likelihood of the test sentences, in nats per word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jaxgen
from experiments.sequences.text_gan import TextGANConfig, samples, text_metrics
from experiments.studies import harness
from jaxgen.data import Splits
from jaxgen.training.ranges import Count, Natural, NonNegative

MLE, CRITIC, CONTINUED, HELD_OUT = "MLE", "critic", "MLE continued", "held-out texts"
ARMS = {
    "SeqGAN": "rollouts",
    "MaliGAN": "maligan",
    "MaliGAN, full": "maligan_full",
    "constant reward": "constant",
}
"""Objectives by name."""
METRICS = (
    *(f"bleu_{n}" for n in (2, 3, 4, 5)), *(f"self_bleu_{n}" for n in (2, 3, 4, 5)), "distinct pairs", "copies",
    "words",
)  # fmt: skip
HEAD = (
    "samples of", "temperature", "BLEU-2", "-3", "-4", "-5", "self-BLEU-2", "-3 ", "-4 ", "-5 ", "distinct pairs",
    "copies", "words", "NLL", "minutes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TextGANStudy(harness.StudyConfig):
    data: str = "numerals"
    """As in `experiments.sequences.text_gan`."""
    level: str = "tokens"
    """What the texts are split into."""
    length: Count = 20
    """Greatest number of words of a training sentence."""
    mle_steps: Count = 20 * 156
    critic_steps: Count = 1_000
    """Of the critic before the first round."""
    rounds: Count = 100
    moves_per_round: Count = 10
    """Steps of the critic in a round."""
    continued: Count = 10 * 156
    """Further steps of maximum likelihood."""
    learning_rate: NonNegative = 1e-3
    """Of the policies; that of maximum likelihood is ten times as high."""
    width: Count = 128
    """Units of the generator."""
    temperatures: tuple[NonNegative, ...] = (1.0, 0.8, 0.6)
    measured: Count = 1_000
    """Samples in the metrics of each row."""
    seed: Natural = 0
    runs: Path = Path("runs/studies.text_gan")


def study(config: TextGANStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = (
        "level", "length", "mle_steps", "critic_steps", "rounds", "moves_per_round", "continued", "learning_rate",
        "width",
        "temperatures", "measured", "seed",
    )  # fmt: skip
    settings = {name: getattr(config, name) for name in names} | {"data": Path(config.data).name}
    data = TextGANConfig(data=config.data, level=config.level, length=config.length).open()
    likelihood = ("--learning-rate", str(10 * config.learning_rate))
    policy = ("--learning-rate", str(config.learning_rate))
    compute: dict[str, Any] = {
        HELD_OUT: lambda: {"by temperature": {"": text_metrics(data, data.valid.arrays["x"][: config.measured])}},
        MLE: lambda: run(config, data, MLE, None, (config.mle_steps, 0, 0), likelihood),
        CRITIC: lambda: run(config, data, CRITIC, MLE, (0, config.critic_steps, 0), policy),
        CONTINUED: lambda: run(config, data, CONTINUED, MLE, (config.continued, 0, 0), policy),
    }
    for name, objective in ARMS.items():
        steps = config.rounds * (1 if objective == "constant" else config.moves_per_round)
        arguments = ("--objective", objective, *policy)
        compute[name] = partial(run, config, data, name, CRITIC, (0, 0, steps), arguments)
    results = harness.rows(compute, config.only, config.runs, settings)
    return harness.save(config.runs, harness.table(HEAD, lines(results)))


def run(
    config: TextGANStudy,
    data: Splits,
    name: str,
    start: str | None,
    steps: tuple[int, int, int],
    arguments: Sequence[str],
) -> dict[str, Any]:
    """The metrics of a run's last variables by temperature, and the likelihood of the test sentences.

    Args:
        steps: of maximum likelihood, of the critic alone, and in rounds.
    """
    folder, total = config.runs / harness.slug(name), str(sum(steps))
    begin = [] if start is None else ["--start", str(config.runs / harness.slug(start))]
    result = harness.experiment(
        "sequences.text_gan", folder, ("--preset", "small", "--data", config.data, "--level", config.level),
        ("--length", str(config.length), "--width", str(config.width), "--seed", str(config.seed)),
        ("--mle-steps", str(steps[0]), "--critic-steps", str(steps[1]), "--steps", total, "--measured", "100"),
        ("--moves-per-round", str(config.moves_per_round), "--eval-every", total, "--checkpoint-every", total),
        begin, arguments,
    )  # fmt: skip
    if name == CRITIC:
        return {"training_seconds": result["training_seconds"]}
    trained = jaxgen.load(folder, which="last")
    by_temperature = {
        str(t): text_metrics(data, samples(trained, config.measured, config.seed, t)) for t in config.temperatures
    }
    texts = data.test.texts(samples(trained, 10, config.seed))
    kept = {"training_seconds": result["training_seconds"], "nll": result["test"]["nll"]}
    return {"by temperature": by_temperature, "texts": texts, **kept}


def lines(results: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, result in results.items():
        for t, metrics in result.get("by temperature", {}).items():
            of_run = [f"{result['nll']:.3f}", f"{result['training_seconds'] / 60:.1f}"] if t == "1.0" else ["", ""]
            yield name, t, *(f"{metrics[metric]:.3f}" for metric in METRICS), *of_run


if __name__ == "__main__":
    harness.main(TextGANStudy, study, __doc__, "experiments.studies.text_gan")
