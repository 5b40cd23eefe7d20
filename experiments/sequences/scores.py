"""Scores of generated time series by networks that are trained on them, and the measures that need none.

The discriminative and the predictive score are those of Yoon et al. 2019 (section 5), with the networks, steps and
batches of the authors' code. Its test windows overlap the training windows; here they are held out. Both scores hardly
depend on the order of time (`experiments.studies.time_series`), so `series_scores` has measures beside them that do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Key
from jaxgen.metrics import autocorrelation_error, nearest_training_ratio
from jaxgen.nets import StackedRNN

BATCH = 128
DISCRIMINATIVE_STEPS, PREDICTIVE_STEPS = 2_000, 5_000
COMPARED = 500
"""Series whose distances to all training series are computed, at equal intervals."""
WIDTH = 24
"""Units of the second discriminative score, and of classifiers; the authors' has a half unit per column."""


class Judge(nn.Module):
    """A GRU and a dense layer, from series [B, T, D] to [B, features]: of its last output, or [B, T, features]."""

    width: int
    features: int = 1
    each_step: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        h = StackedRNN(self.width, 1)(x)
        return nn.Dense(self.features)(h if self.each_step else h[:, -1])


def series_scores(
    train: np.ndarray, test: np.ndarray, fake: np.ndarray, seeds: Sequence[int] = (0,), steps: float = 1.0
) -> dict[str, float]:
    """All scores of generated series, means over the judges' seeds: zero is best for `discriminative` (at most 0.5) and
    `autocorrelation_error`, one for `nearest_training_ratio`; `predictive` has the series' units.

    Args:
        train, test: real series [N, T, D] and [M, T, D]; nothing is trained on the latter.
        fake: generated series, N + M or more.
        steps: a factor of all judges' steps.
    """
    own, held_out = fake[: len(train)], fake[len(train) : len(train) + len(test)]
    if len(held_out) < len(test):
        raise ValueError(f"`fake` must have at least {len(train) + len(test)} series, got {len(fake)}")
    width = max(1, train.shape[-1] // 2)
    discriminate = partial(discriminative_scores, train, own, test, held_out, seeds)
    count = max(1, round(steps * DISCRIMINATIVE_STEPS))
    scores = {
        "discriminative": discriminate(width=width, steps=count),
        f"discriminative_{WIDTH}": discriminate(width=WIDTH, steps=count),
        "predictive": predictive_scores(own, test, seeds, steps=max(1, round(steps * PREDICTIVE_STEPS))),
    }
    return {name: float(np.mean(score)) for name, score in scores.items()} | untrained_scores(train, test, fake)


def untrained_scores(train: np.ndarray, test: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """The two scores of `series_scores` without judges."""
    scores = {
        "autocorrelation_error": autocorrelation_error(test, fake).mean(),
        "nearest_training_ratio": nearest_training_ratio(_some(fake[len(train) :]), train, _some(test)),
    }
    return {name: float(score) for name, score in scores.items()}


def discriminative_scores(
    real: np.ndarray, fake: np.ndarray, real_test: np.ndarray, fake_test: np.ndarray, seeds: Sequence[int] = (0,),
    width: int = WIDTH, steps: int = DISCRIMINATIVE_STEPS,
) -> np.ndarray:  # fmt: skip
    """|accuracy - 1/2| of classifiers of real and generated series [N, T, D], one for each seed.

    The accuracy is the mean of those on real and on generated test series.
    """
    network = Judge(width)
    judges = _train(network, _discriminate, ({"x": real}, {"x": fake}), _keys(seeds), steps)
    on_real, on_fake = (np.asarray(_apply(network, judges, x))[..., 0] for x in (real_test, fake_test))
    return np.abs(((on_real > 0).mean(1) + (on_fake <= 0).mean(1)) / 2 - 0.5)


def predictive_scores(
    train: np.ndarray, test: np.ndarray, seeds: Sequence[int] = (0,), width: int | None = None,
    steps: int = PREDICTIVE_STEPS,
) -> np.ndarray:  # fmt: skip
    """Mean absolute error of predictors of the last column's next value from the others, one for each seed.

    They are trained on `train`, generated series, and tested on `test`, real ones; a single column is predicted from
    itself. Values are on [0, 1], the range of the predictor's sigmoid.
    """
    network = Judge(width or max(1, test.shape[-1] // 2), each_step=True)
    (x, y), (x_test, y_test) = _prediction(train), _prediction(test)
    judges = _train(network, _predict, ({"x": x, "y": y},), _keys(seeds), steps)
    predicted = 1 / (1 + np.exp(-np.asarray(_apply(network, judges, x_test), np.float64)))
    return np.abs(predicted - y_test).mean((1, 2, 3))


def classifier_accuracies(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, num_classes: int,
    seeds: Sequence[int] = (0,), width: int = WIDTH, steps: int = DISCRIMINATIVE_STEPS,
) -> np.ndarray:  # fmt: skip
    """Test accuracies of classifiers of series, one for each seed.

    Trained on generated series and tested on real ones this is TSTR (Esteban et al. 2017, section 5), trained on real
    ones TRTR.
    """
    network = Judge(width, num_classes)
    labels = np.asarray(train_labels, np.int32)
    judges = _train(network, _classify, ({"x": train, "label": labels},), _keys(seeds), steps)
    return (np.asarray(_apply(network, judges, test)).argmax(-1) == np.asarray(test_labels)).mean(1)


def _some(x: np.ndarray) -> np.ndarray:
    return x[:: max(1, len(x) // COMPARED)]


def _prediction(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = x[..., :-1] if x.shape[-1] > 1 else x
    return inputs[:, :-1], x[:, 1:, -1:]


def _discriminate(apply: Callable[[Array], Array], batches: Any) -> Array:
    real, fake = (apply(batch["x"]) for batch in batches)
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


def _predict(apply: Callable[[Array], Array], batches: Any) -> Array:
    return jnp.abs(jax.nn.sigmoid(apply(batches[0]["x"])) - batches[0]["y"]).mean()


def _classify(apply: Callable[[Array], Array], batches: Any) -> Array:
    logits = apply(batches[0]["x"])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batches[0]["label"]).mean()


def _keys(seeds: Sequence[int]) -> Key:
    return jnp.stack([jax.random.key(seed) for seed in seeds])


@partial(jax.jit, static_argnames=("network", "loss", "steps"))
def _train(network: Judge, loss: Callable[..., Array], sets: Any, keys: Key, steps: int) -> Any:
    """The variables of a judge for each key, after Adam steps on batches drawn from each of the sets."""
    optimizer = optax.adam(1e-3)

    def one(key: Key) -> Any:
        init_key, steps_key = jax.random.split(key)
        variables = network.init(init_key, sets[0]["x"][:1])

        def step(carry: Any, key: Key) -> tuple[Any, None]:
            variables, state = carry
            batches = [
                jax.tree.map(partial(_rows, jax.random.randint(k, (BATCH,), 0, len(part["x"]))), part)
                for k, part in zip(jax.random.split(key, len(sets)), sets, strict=True)
            ]
            gradient = jax.grad(lambda v: loss(partial(network.apply, v), batches))(variables)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(variables, updates), state), None

        return lax.scan(step, (variables, optimizer.init(variables)), jax.random.split(steps_key, steps))[0][0]

    return lax.map(one, keys)


def _rows(indices: Array, array: Array) -> Array:
    return array[indices]


@partial(jax.jit, static_argnames="network")
def _apply(network: Judge, judges: Any, x: Array) -> Array:
    """The outputs of each judge, [judges, B, ...]."""
    return jax.vmap(lambda variables: network.apply(variables, x))(judges)
