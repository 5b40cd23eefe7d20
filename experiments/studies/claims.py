"""Claims about adversarial games, tested on small ones: `python -m experiments.studies.claims`.

- `weights`: clipping drives a critic's weights to the two ends of their range, a penalty leaves them bell-shaped
  (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", figure 1b). The critics of WGAN and WGAN-GP on the
  swiss roll, against a fixed generator, from the same initial weights well within the clipping range.
- `fixed`: the best response to a fixed discriminator is a single point, so that a generator trained against one
  collapses (Metz et al. 2017, "Unrolled Generative Adversarial Networks", section 2.2). A game on digits is continued
  in two ways: training both players, or the generator alone.
- `divergences`: one Gaussian fitted to a mixture of two. The likelihood, KL(data || model), covers both; the reverse KL
  covers one and misses the other (Goodfellow 2016, "NIPS 2016 Tutorial: Generative Adversarial Networks", figure 14);
  the original game's Jensen-Shannon divergence is between them. Computed by quadrature, and by the games that
  approximate these divergences from below (Nowozin et al. 2016, "f-GAN"), with the bound F of the trained critic beside
  the divergence D_f. All games start from one narrow normal between the modes.
- `depth`: a critic of 101 residual layers trains with the penalty; with clipping its slope almost vanishes (Gulrajani
  et al. 2017, section 5.1, figure 2). Digits, dense layers. Both generators use the same Adam, whose steps are
  independent of the scale of the gradient, so that only the critics differ.

Each part writes its rows as a JSON file under `--runs`, which the next call reads, and its plots; `table.md` has all
rows. `--only depth` is one part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.scipy.special import logsumexp
from scipy.optimize import minimize

from experiments.studies import harness
from jaxgen import plotting
from jaxgen.contracts import Array, Phase, Play, Variables
from jaxgen.data import source
from jaxgen.losses import F_DIVERGENCES
from jaxgen.losses.f_divergences import Divergence
from jaxgen.losses.penalties import gradient_norm, interpolate
from jaxgen.metrics import distance_ratio, mode_coverage
from jaxgen.models.gans import (
    GAN,
    FDivergence,
    GradientPenalty,
    Minimax,
    Wasserstein,
    dense_wgan_gp,
    rmsprop,
)
from jaxgen.nets import MLP
from jaxgen.training import NonFiniteLoss, TrainState, enter_phase, init_state, make_train_step, many_steps
from jaxgen.training.ranges import Between, Count
from jaxgen.training.seeds import AXES, over_seeds

SAMPLES = 2_000
RANGE, BOUND = 0.1, 0.01
"""Clipping ranges of the histogrammed critic and of the deep one; the paper has 0.001 to 0.1."""
MEANS, STD, SHARES = (-2.0, 2.0), 0.6, (0.6, 0.4)
"""Means, standard deviation and weights of the mixture."""
START = (0.6, -0.5)
"""Standard deviation and mean of the normal that all games start from."""
GRID = np.linspace(-12, 12, 4_001)
"""Points of the quadratures."""
LAYERS = 101
Optimizer = optax.GradientTransformation


@dataclass(frozen=True, kw_only=True)
class Claims(harness.StudyConfig):
    share: Annotated[float, Between(0, above=True)] = 1.0
    """Steps as a fraction of each game's own."""
    seeds: Count = 3
    """Runs of each game side by side; one for `depth`."""
    runs: Path = Path("runs/studies.claims")

    def steps(self, n: int) -> int:
        """The configured fraction of n steps, a multiple of five for the generator's updates."""
        return max(5, round(n * self.share / 5) * 5)


Rows = list[tuple[str, str, str]]
"""Game, metric, measured values."""


def study(config: Claims) -> str:
    """Raises:
    ValueError: unknown names in `only`; parts with other settings.
    NonFiniteLoss: a game's loss is not finite.
    """
    compute = {name: partial(part, config) for name, part in PARTS.items()}
    results = harness.rows(compute, config.only, config.runs, {"share": config.share, "seeds": config.seeds})
    lines = [(name, *row) for name, part in results.items() for row in part]
    return harness.save(config.runs, harness.table(("claim", "game", "metric", "measured"), lines))


def game(model: GAN, critic: Optimizer, generator: Optimizer) -> dict[str, Play]:
    """The model's own game with these optimizers."""
    optimizers = {"critic": critic, "generator": generator}
    return {name: play._replace(optimizer=optimizers[name]) for name, play in model.plays().items()}


def start(model: GAN, plays: Mapping[str, Play], x: Array, seeds: int) -> TrainState:
    """Fresh states of a game, with an axis of seeds (`jaxgen.training.seeds`)."""
    keys = jnp.stack([jax.random.key(seed) for seed in range(seeds)])
    return jax.jit(jax.vmap(lambda key: init_state(model, plays, key, {"x": x[:64]}), out_axes=AXES))(keys)


def player(plays: Mapping[str, Play], x: Array, steps: int, batch: int = 128) -> Callable:
    """A function that advances stacked states by `steps` steps, and returns them with metrics [seeds, steps].

    Raises:
        NonFiniteLoss: by the function.
    """
    many = many_steps(make_train_step(plays, ema=0.0), steps)
    run = jax.jit(over_seeds(many, None, 0, None, out_axes=(0,)), donate_argnums=0)

    def play(state: TrainState) -> tuple[TrainState, Mapping[str, Mapping[str, np.ndarray]]]:
        seeds, done = len(state.key), int(state.step)
        index = np.random.default_rng(done).integers(len(x), size=(seeds, steps, batch), dtype=np.int32)
        state, metrics = run(state, {"x": x}, index, np.int32(steps))
        if not all(np.isfinite(metrics[name]["loss"]).all() for name in plays):
            raise NonFiniteLoss(f"a loss is not finite by step {done + steps}")
        return state, jax.device_get(metrics)

    return play


def alone(state: TrainState, plays: Mapping[str, Play], name: str) -> tuple[TrainState, Mapping[str, Play]]:
    """The states with a single play and a fresh optimizer; the other player is fixed."""
    plays = {name: plays[name]}
    return over_seeds(lambda one: enter_phase(one, Phase(plays, 1)))(state), plays


def of_seeds(values: Any, digits: int = 2) -> str:
    """The values of all seeds as text."""
    return ", ".join(f"{value:.{digits}f}" for value in np.ravel(values))


def weights(config: Claims) -> Rows:
    x, steps = source("swiss_roll").train.arrays["x"], config.steps(5_000)
    network = MLP((128,) * 3, kernel_init=nn.initializers.normal(RANGE / 3))
    penalised = replace(dense_wgan_gp(width=128), critic=network)
    clipped, adam = replace(penalised, terms=()), optax.adam(1e-4, 0.5, 0.9)
    games = {f"clipped to +-{RANGE}": (clipped, rmsprop(5e-5, RANGE)), "penalised": (penalised, adam)}
    after, rows = {}, []
    for name, (model, optimizer) in games.items():
        plays = game(model, optimizer, adam)
        state, plays = alone(start(model, plays, x, config.seeds), plays, "critic")
        before = kernels(state.variables["critic"])
        state, _ = player(plays, x, steps)(state)
        after[name] = kernels(state.variables["critic"])
        for when, stacked in (("at the start", before), (f"after {steps:,} steps", after[name])):
            fractions = [at_extremes(one, RANGE if model is clipped else None) for one in stacked]
            rows.append((name, f"fraction of weights within 5 % of either end {when}", of_seeds(fractions, 3)))
    panels = {name: {"weights": stacked[0]} for name, stacked in after.items()}
    plotting.save(plotting.histograms(panels, "weight"), config.runs / "weights.png")
    return rows


def kernels(variables: Mapping[str, Any]) -> np.ndarray:
    """All weights except biases of stacked variables, [seeds, N]."""
    leaves = jax.tree_util.tree_flatten_with_path(variables["params"])[0]
    return np.concatenate([np.asarray(w).reshape(len(w), -1) for path, w in leaves if path[-1].key == "kernel"], 1)


def at_extremes(values: np.ndarray, limit: float | None = None) -> float:
    """The fraction of values with a magnitude of at least 95 % of a limit, by default the greatest magnitude."""
    sizes = np.abs(values)
    return float((sizes >= 0.95 * (sizes.max() if limit is None else limit)).mean())


def fixed(config: Claims) -> Rows:
    data, adam = source("digits").train, optax.adam(5e-4, 0.5)
    x, network, steps = data.arrays["x"], MLP((128, 128), nn.leaky_relu), config.steps(1_000)
    model = GAN(network, network, data.event_shape, latent_dim=8, levels=data.levels)
    plays = game(model, adam, adam)
    before, _ = player(plays, x, config.steps(3_000), 64)(start(model, plays, x, config.seeds))
    both, _ = player(plays, x, steps, 64)(jax.tree.map(jnp.copy, before))
    # the gradient of the non-saturating loss vanishes once the generator wins
    minimax = game(replace(model, adversarial_loss=Minimax()), adam, adam)
    lone, left = alone(jax.tree.map(jnp.copy, before), minimax, "generator")
    lone, _ = player(left, x, steps, 64)(lone)
    rows, pictures = [], {}
    shown = {"before": before, f"{steps:,} steps of both": both, f"{steps:,} steps of the generator alone": lone}
    for name, state in shown.items():
        samples = sampled(model, state.variables)
        ratios = [distance_ratio(x, fake) for fake in samples]
        rows.append((name, "distance ratio of samples to data", of_seeds(ratios)))
        counts = [classes(fake, x, data.arrays["label"]) for fake in samples]
        rows.append((name, "classes with a quarter of a fair share, of 10", of_seeds(counts, 0)))
        pictures[name] = np.asarray(samples[0, :10])
    plotting.save(plotting.rows(pictures), config.runs / "fixed.png")
    return rows


def classes(samples: Array, x: np.ndarray, label: np.ndarray, fair: float = 0.25) -> int:
    """Number of classes with at least a fraction `fair` of an equal number of samples, by their nearest neighbours."""
    samples, x = (np.asarray(a, np.float32).reshape(len(a), -1) for a in (samples, x))
    # the squared norm of the sample is the same for all neighbours
    nearest = ((x**2).sum(1) - 2 * samples @ x.T).argmin(1)
    counts = np.bincount(label[nearest], minlength=label.max() + 1)
    return int((counts >= fair * len(samples) / len(counts)).sum())


def sampled(model: GAN, variables: Variables) -> Array:
    """Samples of each seed, [seeds, SAMPLES, *event]."""
    return jax.jit(jax.vmap(lambda v: model.sample(v, jax.random.key(0), SAMPLES)))(variables)


def divergences(config: Claims) -> Rows:
    rng = np.random.default_rng(0)
    modes = rng.choice(2, 50_000, p=SHARES)
    x = (np.take(MEANS, modes) + STD * rng.standard_normal(len(modes)))[:, None].astype(np.float32)
    model = GAN(MLP(()), MLP((64, 64), nn.tanh), (1,), latent_dim=1, critic_steps=2)
    rows, curves = [], {"data": (GRID, np.exp(log_data(GRID)))}
    # the original game's critic is that of the Jensen-Shannon divergence
    games = {name: FDivergence(F_DIVERGENCES[name]) for name in ("kl", "reverse_kl")} | {"jensen_shannon": Minimax()}
    for name, loss in games.items():
        divergence = F_DIVERGENCES[name]
        mean, std = best_normal(divergence)
        variant = replace(model, adversarial_loss=loss)
        plays = game(variant, optax.adam(1e-3, 0.5), optax.adam(2e-3, 0.5))
        state, _ = player(plays, x, config.steps(8_000))(on_one_mode(start(variant, plays, x, config.seeds)))
        # the bound is tight for an optimal critic
        state, left = alone(state, plays, "critic")
        state, _ = player(left, x, config.steps(1_500))(state)
        head = state.variables["generator"]["params"]["head"]["out"]
        means, stds = head["bias"][:, 0], jnp.abs(head["kernel"][:, 0, 0])
        grid = jnp.asarray(GRID[:, None], jnp.float32)
        scores = jax.vmap(lambda v, model=variant, grid=grid: model.score(v, grid))(state.variables)
        exact = [float(distance(divergence, m, s)) for m, s in zip(means, stds, strict=True)]
        bounds = [float(bound(divergence, v, m, s)) for v, m, s in zip(scores, means, stds, strict=True)]
        named = f"{name}, best by quadrature", f"{name}, game"
        curves[named[0]] = (GRID, np.exp(log_normal(GRID, mean, std)))
        curves[named[1]] = (GRID, np.exp(log_normal(GRID, float(means[0]), float(stds[0]))))
        rows += described(named[0], [mean], [std], [float(distance(divergence, mean, std))])
        rows += described(named[1], means, stds, exact)
        rows.append((named[1], "bound F", of_seeds(bounds, 3)))
        rows.append((named[1], "F / D_f", of_seeds(np.divide(bounds, exact))))
    shown = {name: (at[np.abs(at) < 8], values[np.abs(at) < 8]) for name, (at, values) in curves.items()}
    plotting.save(plotting.lines(shown, "x", "density", whole=True), config.runs / "divergences.png")
    return rows


def on_one_mode(state: TrainState) -> TrainState:
    """The states with generators that start between the modes, narrow and a little nearer to the larger one."""
    params, (kernel, bias) = state.params, START
    out = params["generator"]["head"]["out"]
    head = {"kernel": jnp.full_like(out["kernel"], kernel), "bias": jnp.full_like(out["bias"], bias)}
    return state.replace(params={**params, "generator": {**params["generator"], "head": {"out": head}}})


def described(name: str, means: Sequence[float], stds: Sequence[float], exact: Sequence[float]) -> Rows:
    """Table rows about normal models of the mixture, one model for each seed."""
    centers = [[mean] for mean in MEANS]
    noise = np.random.default_rng(0).standard_normal((SAMPLES, 1))
    covered = [
        int(mode_coverage(jnp.asarray(m + s * noise, jnp.float32), centers, STD, radius=2)["fair_modes"])
        for m, s in zip(np.ravel(means), np.ravel(stds), strict=True)
    ]
    return [
        (name, "mean", of_seeds(means)),
        (name, "standard deviation", of_seeds(stds)),
        (name, "modes with a fair share, of 2", of_seeds(covered, 0)),
        (name, "divergence D_f in nats", of_seeds(exact, 3)),
    ]


def log_normal(x: Array, mean: Any, std: Any) -> Array:
    return -(((x - mean) / std) ** 2) / 2 - jnp.log(std) - np.log(2 * np.pi) / 2


def log_data(x: Array) -> Array:
    """Log-density of the mixture."""
    parts = [jnp.log(weight) + log_normal(x, mean, STD) for weight, mean in zip(SHARES, MEANS, strict=True)]
    return logsumexp(jnp.stack(parts), 0)


def distance(divergence: Divergence, mean: Any, std: Any) -> Array:
    """D_f(data, N(mean, std^2)) by quadrature, a scalar."""
    log_p, log_q = log_data(GRID), log_normal(GRID, mean, std)
    # q f(u) = p f(u) / u for u = p / q: use the greater density, as the other may underflow in float32
    below, above = jnp.clip(log_p - log_q, -60, 0), jnp.clip(log_p - log_q, 0, 60)
    with_q = jnp.exp(log_q) * divergence.generator_function(jnp.exp(below))
    with_p = jnp.exp(log_p) * (divergence.generator_function(jnp.exp(above)) * jnp.exp(-above))
    return jnp.trapezoid(jnp.where(log_p < log_q, with_q, with_p), GRID)


def bound(divergence: Divergence, scores: Array, mean: Any, std: Any) -> Array:
    """E_p g_f(v) - E_q f*(g_f(v)) by quadrature for a critic's scores v on the grid, a scalar."""
    p, q = jnp.exp(log_data(GRID)), jnp.exp(log_normal(GRID, mean, std))
    return jnp.trapezoid(p * divergence.activation(scores) - q * divergence.conjugate_of_activation(scores), GRID)


def best_normal(divergence: Divergence) -> tuple[float, float]:
    """Mean and standard deviation of the normal of least divergence, the best of several searches."""
    objective = jax.jit(lambda mean, log_std: distance(divergence, mean, jnp.exp(log_std)))
    starts = [(mean, np.log(std)) for mean in (*MEANS, 0.0) for std in (STD, 2.0)]
    # without gradients: far from the data the derivative of p f(u) / u cancels in float32
    searches = [minimize(lambda at: float(objective(*at)), start, method="Nelder-Mead") for start in starts]
    mean, log_std = min(searches, key=lambda result: result.fun).x
    return float(mean), float(np.exp(log_std))


class Block(nn.Module):
    """Residual block [B, width] -> [B, width] of two dense layers."""

    width: int

    @nn.compact
    def __call__(self, x: Array, _: None) -> tuple[Array, None]:
        h = nn.Dense(self.width)(nn.relu(nn.LayerNorm()(x)))
        return x + nn.Dense(self.width)(nn.relu(nn.LayerNorm()(h))), None


class DeepCritic(nn.Module):
    """[B, ...] -> [B, width]: a dense layer, then residual blocks of two layers, scanned; `layers` in all."""

    layers: int = LAYERS
    width: int = 64

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.Dense(self.width)(x.reshape(len(x), -1))
        length = (self.layers - 1) // 2
        blocks = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=length)
        return nn.relu(blocks(self.width, name="blocks")(x, None)[0])


def depth(config: Claims) -> Rows:
    x = source("digits").train.arrays["x"].astype(np.float32) / 8 - 1
    calls, each = 6, config.steps(100)
    penalised = GAN(
        MLP((128, 128)), DeepCritic(), x.shape[1:], latent_dim=32, adversarial_loss=Wasserstein(),
        terms=(GradientPenalty(),), critic_steps=5,
    )  # fmt: skip
    clipped, adam = replace(penalised, terms=()), optax.adam(5e-4, 0.0, 0.9)
    games = {"penalised": (penalised, adam), f"clipped to +-{BOUND}": (clipped, rmsprop(5e-5, BOUND))}
    rows, histories = [], {}
    for name, (model, optimizer) in games.items():
        plays = game(model, optimizer, optax.adam(1e-3, 0.0, 0.9))
        measure, advance, state = jax.jit(deep_metrics(model)), player(plays, x, each, 64), start(model, plays, x, 1)
        history = [jax.device_get(measure(jax.tree.map(lambda a: a[0], state.variables), x[:500]))]
        for _ in range(calls):
            state, _ = advance(state)
            history.append(jax.device_get(measure(jax.tree.map(lambda a: a[0], state.variables), x[:500])))
        histories[name] = history
        at = (0, calls // 3, calls)
        for metric in history[0]:
            measured = ", ".join(f"{float(history[i][metric]):.3g}" for i in at)
            rows.append((name, f"{metric} at steps {', '.join(f'{i * each:,}' for i in at)}", measured))
    files = {"score gap": "depth_gap", "slope": "depth_slope", "sliced Wasserstein": "depth_distance"}
    for metric, file in files.items():
        curves = {
            name: (np.arange(calls + 1) * each, [float(at[metric]) for at in history])
            for name, history in histories.items()
        }
        plotting.save(plotting.lines(curves, "step", metric, whole=True), config.runs / f"{file}.png")
    return rows


def deep_metrics(model: GAN) -> Callable[[Variables, Array], dict[str, Array]]:
    """A function of variables and examples: the critic's score gap and mean slope, and the distance of samples."""

    def metrics(variables: Variables, x: Array) -> dict[str, Array]:
        key = jax.random.key(0)
        fake = model.sample(variables, key, len(x))
        slopes = gradient_norm(lambda points: model.score(variables, points), interpolate(x, fake, key))
        metrics = model.evaluate(variables, {"x": x}, key)
        gap, distance = metrics["score_gap"], metrics["sliced_wasserstein"]
        return {"score gap": gap, "slope": slopes.mean(), "sliced Wasserstein": distance}

    return metrics


PARTS: Mapping[str, Callable[[Claims], Rows]] = {
    "weights": weights, "fixed": fixed, "divergences": divergences, "depth": depth,
}  # fmt: skip

if __name__ == "__main__":
    harness.main(Claims, study, __doc__, "experiments.studies.claims")
