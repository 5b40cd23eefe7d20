"""Adversarial training of a classifier, as a value: `Classifier(..., adversarial=AdversarialTraining(epsilon=0.5))`.

Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples", section 6, minimise

    alpha L(x, y) + (1 - alpha) L(x', y),   x' = x + epsilon sign(grad_x L),   alpha = 1/2.

x' counts as an example like any other: no gradient flows through its making, and both halves are one batch for the
network, batch normalisation included (Kurakin et al. 2017, arXiv:1611.01236). The attack itself sees the network in
evaluation mode. With more steps and a random start it is the training of Madry et al. 2018 ("Towards Deep Learning
Models Resistant to Adversarial Attacks"), there with true labels and without clean examples:
`AdversarialTraining(steps=7, random_start=True, labels="true", fraction=1.0)`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax

from jaxgen.arguments import check_counts, check_number
from jaxgen.attacks.gradient import projected_gradient
from jaxgen.attacks.inputs import Classifier
from jaxgen.contracts import Array, Key


@dataclasses.dataclass(frozen=True)
class AdversarialTraining:
    """Which adversarial samples a classifier is trained on, and how much they count.

    Attributes:
        epsilon: of the perturbation in l_inf, in the units of `lower` and `upper`. The paper's 0.25 on MNIST, for grey
            levels in [0, 1], is 0.5 in [-1, 1].
        lower, upper: the range of the network's inputs; integer data are scaled to [-1, 1].
        steps, random_start: of `jaxgen.attacks.projected_gradient`; the defaults are the fast gradient sign.
        step_size: None: epsilon for one step, otherwise 2.5 epsilon / steps.
        labels: that the attack moves away from. With `"true"` ones and a single step, the perturbation reveals the
            label to the network ("label leaking", Kurakin et al. 2017).
        fraction: 1 - alpha, the weight of adversarial samples in the loss.
    """

    epsilon: float = 0.5
    lower: float = -1.0
    upper: float = 1.0
    steps: int = 1
    random_start: bool = False
    step_size: float | None = None
    labels: Literal["predicted", "true"] = "predicted"
    fraction: float = 0.5

    def __post_init__(self):
        check_number("upper", self.upper, self.lower, above=True)
        check_number("epsilon", self.epsilon, 0, self.upper - self.lower, above=True)
        check_counts(steps=self.steps)
        check_number("fraction", self.fraction, 0, 1)
        if self.labels not in ("predicted", "true"):
            raise ValueError(f"`labels` must be 'predicted' or 'true', got {self.labels!r:.80}")

    def perturb(self, classifier: Classifier, x: Array, labels: Array, key: Key) -> Array:
        """Adversarial samples [B, ...] of inputs x, through which no gradient flows."""
        perturbed = projected_gradient(
            classifier, x, self.epsilon, key, lower=self.lower, upper=self.upper, steps=self.steps,
            step_size=self.step_size, random_start=self.random_start,
            labels=labels if self.labels == "true" else None,
        )  # fmt: skip
        return jax.lax.stop_gradient(perturbed)
