"""One perturbation that changes the predictions of most inputs, found by DeepFool's steps."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import as_arrays, check_counts, check_number
from jaxgen.attacks.inputs import Classifier, Norm, as_inputs, check_radius, logits_of, norms, predict, project
from jaxgen.contracts import Array, Key


def deep_fool(
    classifier: Classifier,
    x: Array,
    *,
    lower: float | None = None,
    upper: float | None = None,
    max_steps: int = 10,
    num_classes: int = 10,
    overshoot: float = 0.02,
) -> Array:
    """Perturbations r such that x + r is classified differently, about the shortest in l2: [B, ...].

    With f the logits, k the class of x and l the class nearest by |f_l - f_k| / |grad f_l - grad f_k|, each step adds
    |f_l - f_k| / |w|^2 w, w = grad f_l - grad f_k, which is exact for linear classifiers; then r is multiplied by
    1 + overshoot. Examples stop when their class changes. Moosavi-Dezfooli et al. 2016, "DeepFool", algorithm 2.

    Args:
        x: [B, ...].
        lower, upper: clip x + r to these limits after each step; None: x + r is not clipped, as in the paper.
        max_steps: after which an example is given up.
        num_classes: classes l to consider, those with the largest logits at x.
    """
    (x,) = as_arrays("B *", x=x)
    check_counts(max_steps=max_steps)
    check_counts(2, num_classes=num_classes)
    check_number("overshoot", overshoot, 0)
    logits = logits_of(classifier, x)
    classes = lax.top_k(logits, min(num_classes, logits.shape[-1]))[1]
    one_hot = jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype)
    differences = one_hot[:, 1:] - one_hot[:, :1]

    def moved(r: Array) -> Array:
        return jnp.clip(x + (1 + overshoot) * r, lower, upper)

    def step(r: Array) -> Array:
        logits, pull = jax.vjp(lambda y: logits_of(classifier, y), moved(r))
        slopes = jax.vmap(lambda d: pull(d)[0], 1)(differences)  # [L, B, ...]
        gaps = jnp.abs(jnp.einsum("blk,bk->lb", differences, logits, precision="highest"))
        lengths = jax.vmap(norms)(slopes).reshape(gaps.shape)
        flat = lengths == 0
        distances = jnp.where(flat, jnp.inf, gaps / jnp.where(flat, 1.0, lengths))
        nearest = distances.argmin(0)
        distance, length = (v[nearest, jnp.arange(len(x))] for v in (distances, lengths))
        scale = jnp.where(length == 0, 0.0, distance / jnp.where(length == 0, 1.0, length))
        scale = scale.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
        return r + scale * slopes[nearest, jnp.arange(len(x))]

    def move(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, r, active = state
        r = jnp.where(active.reshape(-1, *(1,) * (x.ndim - 1)), step(r), r)
        return i + 1, r, predict(classifier, moved(r)) == classes[:, 0]

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        return (state[0] < max_steps) & state[2].any()

    _, r, _ = lax.while_loop(goes_on, move, (jnp.zeros((), int), jnp.zeros_like(x), jnp.ones(len(x), bool)))
    return moved(r) - x


def fooling_rate(
    classifier: Classifier, x: Array, perturbation: Array, *, lower: float, upper: float, batch_size: int = 256
) -> Array:
    """The fraction of inputs whose predicted label differs for clip(x + perturbation), a scalar.

    Args:
        x: [B, ...].
        perturbation: [...], one for all inputs.
        batch_size: inputs to classify at once.
    """
    x = as_inputs(x, lower, upper)
    changed = jnp.clip(x + perturbation, lower, upper)
    return (_predictions(classifier, x, batch_size) != _predictions(classifier, changed, batch_size)).mean()


class UniversalPerturbation(NamedTuple):
    """The result of `universal_perturbation`.

    Attributes:
        perturbation: [...], the shape of an input.
        fooling_rate: on the inputs that it was made from.
        passes: over these inputs.
    """

    perturbation: Array
    fooling_rate: Array
    passes: Array


def universal_perturbation(
    classifier: Classifier,
    x: Array,
    radius: float,
    key: Key,
    *,
    lower: float,
    upper: float,
    norm: Norm = "linf",
    target_rate: float = 0.8,
    max_passes: int = 10,
    max_steps: int = 10,
    num_classes: int = 10,
    overshoot: float = 0.02,
    batch_size: int = 256,
) -> UniversalPerturbation:
    """One perturbation v, |v| <= radius, that changes the predicted labels of most inputs.

    Passes over the inputs in random order: where clip(x_i + v) has the label of x_i, v <- P(v + r) with r the step of
    `deep_fool` from there, if that changes the label; P is the projection onto the ball. Ends at the target rate.
    Moosavi-Dezfooli et al. 2017, "Universal adversarial perturbations", algorithm 1, there without the clipping, with
    a radius of 10 for grey levels 0 to 255 in l_inf.

    Args:
        classifier: inputs to logits [B, K], in evaluation mode.
        x: [B, ...], within `lower` and `upper`; the labels are the predicted ones.
        radius: in the units of x.
        target_rate: the paper's 1 - delta.
        max_steps, num_classes, overshoot: of `deep_fool`.
        batch_size: as in `fooling_rate`.

    Raises:
        ValueError: inputs outside of `lower` and `upper`, a radius in l_inf larger than their difference.
    """
    x = as_inputs(x, lower, upper)
    check_radius("radius", radius, norm, lower, upper)
    check_number("target_rate", target_rate, 0, 1)
    check_counts(max_passes=max_passes, batch_size=batch_size)
    labels = _predictions(classifier, x, batch_size)

    def visit(v: Array, i: Array) -> tuple[Array, None]:
        y = jnp.clip(x[i][None] + v, lower, upper)

        def push(v: Array) -> Array:
            r = deep_fool(
                classifier, y, lower=lower, upper=upper, max_steps=max_steps, num_classes=num_classes,
                overshoot=overshoot,
            )  # fmt: skip
            changes = predict(classifier, y + r)[0] != labels[i]
            return jnp.where(changes, project((v + r[0])[None], radius, norm)[0], v)

        return lax.cond(predict(classifier, y)[0] == labels[i], push, lambda v: v, v), None

    def one_pass(state: UniversalPerturbation) -> UniversalPerturbation:
        order = jax.random.permutation(jax.random.fold_in(key, state.passes), len(x))
        v = lax.scan(visit, state.perturbation, order)[0]
        rate = (_predictions(classifier, jnp.clip(x + v, lower, upper), batch_size) != labels).mean()
        return UniversalPerturbation(v, rate, state.passes + 1)

    start = UniversalPerturbation(jnp.zeros(x.shape[1:], x.dtype), jnp.zeros(()), jnp.zeros((), int))
    return lax.while_loop(
        lambda state: (state.passes < max_passes) & (state.fooling_rate < target_rate), one_pass, start
    )


def _predictions(classifier: Classifier, x: Array, batch_size: int) -> Array:
    """The predicted labels of any number of inputs, [B]."""
    if len(x) <= batch_size:
        return predict(classifier, x)
    return lax.map(lambda one: predict(classifier, one[None])[0], x, batch_size=batch_size)
