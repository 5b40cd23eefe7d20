"""VFunc (Bachman et al. 2018, "VFunc: a Deep Generative Model for Functions", arXiv:1807.04106): regression with a gap.

Result with `--seeds 3`, a minute and a half on a shared core, as standard deviations of the functions in the gap and at
the data, whose noise is 0.1: 0.94 ± 0.07 and 0.055, a ratio of 17 ± 1.3; with `--entropy-weight 0` 0.052 and 0.050,
which is the function noise of 0.05, so that a single function is left; ten such functions of other seeds, an ensemble
(`--ensemble 10`), 0.76 and 0.001. The exact posterior of a Gaussian process with that noise has 0.60 and 0.088, a ratio
of 6.8. With its prior (`--prior gp`) VFunc has 0.482 ± 0.006 and 0.060 ± 0.002, and the mean function of the process
up to 0.014 ± 0.003: the right shape with too little spread. Its bound of the log-evidence, which would be exact for the
process's own distribution, ends 7.1 nats below it.

Eight points of y = sin(3 x) with a gap between them. The distribution of functions should be narrow at the data and
wide in the gap, like the posterior of a Gaussian process with the same noise (baselines), to which `--prior gp` adds
its prior on functions. Without a prior the deviation in the gap is a matter of the networks and the number of steps.
The paper shows pictures of such functions, without numbers.

Deviations are root mean variances over places. `deviation ratio` is that of the middle half of the gap over that at the
data, and should be at least 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import ArraySource, Splits
from jaxgen.distributions import GaussianProcess
from jaxgen.models.hybrids import VFunc
from jaxgen.nets import MLP
from jaxgen.training import Settings, TrainedModel, fit_seeds
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

ENDS, GAP = 2.0, 1.0
"""The data's places are in [-ENDS, -GAP] and [GAP, ENDS]."""
RATE = 3.0
NOISE = 0.1
FUNCTIONS = 1000
"""Functions in a measured deviation."""
DRAWN = 20
"""Functions of a plot."""
PLACES = np.linspace(-1.25 * ENDS, 1.25 * ENDS, 101, dtype=np.float32)[:, None]


@dataclass(frozen=True, kw_only=True)
class VFuncConfig(Config):
    data: str = "gap"
    """`gap`: eight points of a sine, drawn from a fixed seed."""
    steps: Count = 10_000
    batch_size: Count = 8
    ema: Fraction = 0.99
    eval_every: Count = 5_000
    checkpoint_every: Count = 5_000
    steps_per_call: Count = 1_000
    log_every: Count = 1_000
    prior: Literal["none", "gp"] = "none"
    """`gp`: the reward includes the log-density of the functions under a Gaussian process."""
    entropy_weight: NonNegative = 1.0
    """c."""
    length_scale: NonNegative = 0.7
    """Of the Gaussian process, whose scale is 1."""
    points: Count = 33
    """Places at which the entropy is measured, in a grid beyond the data's ends; the data's are added."""
    latents: Count = 10
    function_noise: NonNegative = 0.05
    """Standard deviation of a function's value given z."""
    functions: Count = 32
    """Functions in a step."""
    width: Count = 64
    """Units of the two hidden layers of both networks."""
    learning_rate: NonNegative = 3e-3
    """Adam's initial learning rate, with cosine decay."""
    ensemble: Natural = 0
    """Members of an ensemble of functions trained without entropy; 0: none."""

    def open(self) -> Splits:
        """Raises:
        ValueError: other data than `gap`.
        """
        if self.data != "gap":
            raise ValueError(f"`data` must be 'gap', got {self.data!r}")
        return gap()


def gap() -> Splits:
    """Eight noisy points of a sine beside a gap, and as a test set the sine itself with noise, in the gap too."""
    rng = np.random.default_rng(0)
    half = np.linspace(GAP, ENDS, 4)
    places = [np.concatenate([-half[::-1], half]), np.linspace(-ENDS, ENDS, 200)]
    parts = [
        {"x": (np.sin(RATE * x) + NOISE * rng.normal(size=x.shape))[:, None], "context": x[:, None]} for x in places
    ]
    return Splits(ArraySource(parts[0], name="gap"), None, ArraySource(parts[1], name="gap"))


def build(config: VFuncConfig, data: Splits) -> Experiment:
    train = data.train.head(len(data.train))
    grid = np.linspace(-1.25 * ENDS, 1.25 * ENDS, config.points, dtype=np.float32)[:, None]
    process = GaussianProcess(1.0, config.length_scale)
    network = MLP((config.width,) * 2, nn.tanh)
    model = VFunc(
        network, MLP((config.width,) * 2), data.train.event_shape, np.concatenate([grid, train["context"]]),
        len(data.train), latent_dim=config.latents, noise=NOISE, function_noise=config.function_noise,
        entropy_weight=config.entropy_weight, prior=process if config.prior == "gp" else None,
        functions=config.functions,
    )  # fmt: skip
    optimizers = {"vfunc": optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))}
    exact = posterior(process, train, PLACES), posterior(process, train, train["context"])

    def measured(trained: TrainedModel) -> dict[str, float]:
        drawn = draw(trained, PLACES), draw(trained, train["context"])
        metrics = deviations(*(spread(f, model.function_noise) for f in drawn))
        mean, deviation = drawn[0].mean(0), spread(drawn[0], model.function_noise)
        metrics["difference from the process, mean"] = float(np.sqrt(((mean - exact[0][0]) ** 2).mean()))
        metrics["difference from the process, deviation"] = float(np.sqrt(((deviation - exact[0][1]) ** 2).mean()))
        if config.ensemble:
            members = [ensemble(model, data, config, optimizers, at) for at in (PLACES, train["context"])]
            metrics |= {f"ensemble, {k}": v for k, v in deviations(*(f.std(0) for f in members)).items()}
        return metrics

    return Experiment(
        model, optimizers=optimizers, final_metrics=measured,
        plots={"functions": partial(plot, train=train, exact=exact[0])},
        baselines={f"Gaussian process, {k}": v for k, v in deviations(exact[0][1], exact[1][1]).items()},
        headline=("deviation ratio", "deviation in the gap"), draws=4,
    )  # fmt: skip


def draw(trained: TrainedModel, places: np.ndarray) -> np.ndarray:
    """Functions [n, P] at places [P, 1]."""
    return np.asarray(trained.sample_functions(jax.random.key(1), FUNCTIONS, places))[..., 0]


def spread(functions: np.ndarray, noise: float) -> np.ndarray:
    """The standard deviation of f = g + noise at each place, [P], of functions g [n, P]."""
    return np.sqrt(functions.var(0) + noise**2)


def deviations(on_places: np.ndarray, at_data: np.ndarray) -> dict[str, float]:
    """From deviations at PLACES and at the data: of the middle half of the gap, at the data, and their ratio."""
    middle = np.abs(PLACES[:, 0]) <= GAP / 2
    inside, outside = (float(np.sqrt((d**2).mean())) for d in (on_places[middle], at_data))
    return {"deviation in the gap": inside, "deviation at the data": outside, "deviation ratio": inside / outside}


def posterior(process: GaussianProcess, train: Mapping[str, np.ndarray], places: np.ndarray) -> tuple[Any, Any]:
    """Mean and standard deviation of the process given the data, [P] each."""
    at, y = (np.float64(train[name]) for name in ("context", "x"))

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.float64(process.covariance(np.float32(a), np.float32(b)))

    gram, cross = covariance(at, at) + NOISE**2 * np.eye(len(at)), covariance(places, at)
    solved = np.linalg.solve(gram, cross.T)
    variance = process.scale**2 - (cross * solved.T).sum(1)
    return (solved.T @ y)[:, 0], np.sqrt(variance)


def ensemble(model: VFunc, data: Splits, config: VFuncConfig, optimizers: Any, places: np.ndarray) -> np.ndarray:
    """Mean functions [members, P] of models trained without entropy, by other seeds, and with hardly any latents."""
    settings = Settings(
        steps=config.steps, batch_size=config.batch_size, ema=config.ema, steps_per_call=config.steps_per_call,
        eval_every=config.steps, checkpoint_every=config.steps,
    )  # fmt: skip
    collapsed = replace(model, entropy_weight=0.0, prior=None, latent_dim=1, functions=4, points=model.points[:1])
    seeds = range(config.seed + 1, config.seed + 1 + config.ensemble)
    members = fit_seeds(collapsed, data.train, settings, seeds=seeds, optimizers=optimizers, progress=False)
    return np.stack([draw(member, places).mean(0) for member in members])


def plot(trained: TrainedModel, train: Mapping[str, np.ndarray], exact: tuple[Any, Any]) -> Any:
    """Functions, their mean and two deviations, beside those of the process."""
    f, noise = draw(trained, PLACES), trained.model.function_noise
    panels = {"VFunc": (f[:DRAWN], f.mean(0), spread(f, noise)), "Gaussian process": ((), *exact)}
    return plotting.functions(PLACES[:, 0], panels, (train["context"][:, 0], train["x"][:, 0]))


if __name__ == "__main__":
    main(VFuncConfig, build)
