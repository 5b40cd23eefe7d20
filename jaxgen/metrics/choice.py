"""Whether scores prefer what is right to what is wrong."""

from __future__ import annotations

from jaxgen.arguments import as_arrays, check_finite
from jaxgen.contracts import Array


def choice_accuracy(right: Array, wrong: Array) -> Array:
    """The fraction of pairs of a right and a wrong answer to one question in which the right one has the higher score.

    Equal scores count one half, so that scores without information give 0.5. With several answers it is the area under
    the ROC curve of each question, averaged over questions.

    Args:
        right: scores [N, R] of R right answers to each of N questions.
        wrong: scores [N, W].

    Raises:
        ValueError: other shapes, NaN or infinite scores.
    """
    right, wrong = as_arrays("N R", "N W", right=right, wrong=wrong)
    check_finite(right=right, wrong=wrong)
    difference = right[:, :, None] - wrong[:, None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()
