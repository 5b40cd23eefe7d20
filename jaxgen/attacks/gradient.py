"""Attacks that follow the gradient of the classification loss: fast gradient sign, projected gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgen.arguments import check_counts, check_number
from jaxgen.attacks.inputs import (
    Classifier,
    Norm,
    as_inputs,
    as_labels,
    check_radius,
    logits_of,
    normalized,
    predict,
    project,
    uniform_in_ball,
)
from jaxgen.contracts import Array, Key


def fgsm(
    classifier: Classifier,
    x: Array,
    epsilon: Any,
    *,
    lower: float,
    upper: float,
    labels: Array | None = None,
    targets: Array | None = None,
) -> Array:
    """x + epsilon sign(grad_x L(x, label)), clipped to [lower, upper]: [B, ...].

    L is the cross-entropy. Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples", section 4.

    Args:
        classifier: inputs to logits [B, K], in evaluation mode.
        x: [B, ...], within `lower` and `upper`.
        epsilon: size of the perturbation in the units of x, a number or an array that broadcasts.
        labels: [B], to move away from; None: the predicted labels. With the true ones, examples that the classifier
            gets wrong are moved towards them, and adversarial training learns the label from the perturbation ("label
            leaking", Kurakin et al. 2017, arXiv:1611.01236).
        targets: [B], in place of labels: the labels to move towards.

    Raises:
        ValueError: inputs outside of `lower` and `upper`, an epsilon larger than their difference, labels other than
            0..K-1, both labels and targets.
    """
    x = as_inputs(x, lower, upper)
    check_radius("epsilon", epsilon, "linf", lower, upper)
    ascend = _objective(classifier, x, labels, targets)
    return jnp.clip(x + epsilon * jnp.sign(jax.grad(ascend)(x)), lower, upper)


def projected_gradient(
    classifier: Classifier,
    x: Array,
    epsilon: Any,
    key: Key,
    *,
    lower: float,
    upper: float,
    norm: Norm = "linf",
    steps: int = 40,
    step_size: Any = None,
    random_start: bool = True,
    labels: Array | None = None,
    targets: Array | None = None,
) -> Array:
    """Ascends the loss by steps within the ball of radius epsilon around x and within [lower, upper]: [B, ...].

    x' <- clip(x + P(x' + step_size d - x)), with d = sign(grad L) in l_inf and grad L / |grad L| in l2, P the
    projection onto the ball. Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks",
    section 2.1.

    Args:
        classifier, x, labels, targets: as in `fgsm`; the predicted labels are those of x.
        epsilon: radius of the ball in the units of x.
        step_size: None: 2.5 epsilon / steps, or epsilon for one step.
        random_start: start at a uniform point of the ball; otherwise at x, where one step in l_inf is `fgsm`.

    Raises:
        ValueError: as `fgsm`.
    """
    x = as_inputs(x, lower, upper)
    check_radius("epsilon", epsilon, norm, lower, upper)
    check_counts(steps=steps)
    if step_size is None:
        step_size = epsilon * min(1.0, 2.5 / steps)
    check_number("step_size", step_size, 0, above=True)
    slope = jax.grad(_objective(classifier, x, labels, targets))
    direction = jnp.sign if norm == "linf" else normalized

    def step(_: Any, y: Array) -> Array:
        return jnp.clip(x + project(y + step_size * direction(slope(y)) - x, epsilon, norm), lower, upper)

    start = x + uniform_in_ball(key, x, epsilon, norm) if random_start else x
    start = jnp.clip(start, lower, upper)
    # outside of a loop, the forward pass of a single step is that of the prediction
    return step(0, start) if steps == 1 else jax.lax.fori_loop(0, steps, step, start)


def _objective(classifier: Classifier, x: Array, labels: Any, targets: Any) -> Callable[[Array], Array]:
    """What an attack ascends: the cross-entropy of the labels, or that of the targets with the opposite sign.

    A sum over examples, so that the gradient of each does not depend on their number.
    """
    if labels is not None and targets is not None:
        raise ValueError("`labels` and `targets` must not both be given: one moves away, the other towards")
    if labels is None and targets is None:
        labels = predict(classifier, x)

    def ascend(y: Array) -> Array:
        logits = logits_of(classifier, y)
        sign, name, values = (1.0, "labels", labels) if targets is None else (-1.0, "targets", targets)
        values = as_labels(name, values, logits)
        return sign * optax.softmax_cross_entropy_with_integer_labels(logits, values).sum()

    return ascend
