"""Comparisons of two explicit distributions of sequences: a generator G and an oracle P."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxgen.arguments import check_finite, check_shapes, check_values


def oracle_metrics(samples: Any, oracle: Any, model: Any, oracle_of_data: Any, model_of_data: Any) -> dict[str, float]:
    """Both divergences between a generator G and an oracle P, per token in nats.

        nll_oracle = -E_G log P       entropy = -E_G log G        reverse_kl = KL(G||P) = nll_oracle - entropy
        nll = -E_P log G                                          forward_kl = KL(P||G) = E_P (log P - log G)

    `nll_oracle` alone is a poor metric: a generator that repeats one likely sequence has a low one. Then `entropy` and
    `distinct` are low too, and `nll` is high. Computed on the host.

    Args:
        samples: of G, integers [N, T].
        oracle, model: log P and log G of the samples, [N], or [N, T] of their tokens.
        oracle_of_data, model_of_data: log P and log G of sequences of P with T tokens, [M], or [M, T]; the latter is
            -inf for those that G never samples.

    Returns:
        The metrics above, `nll_oracle_error`, the standard error of `nll_oracle`, and `distinct`, the fraction of
        different sequences among the samples.

    Raises:
        ValueError: arrays of other shapes; log-probabilities that are not finite.
    """
    given = {"oracle": oracle, "model": model, "oracle_of_data": oracle_of_data, "model_of_data": model_of_data}
    rows = (axis if np.ndim(a) == 1 else f"{axis} T" for axis, a in zip("NNMM", given.values(), strict=True))
    check_shapes("N T", *rows, samples=samples, **given)
    check_finite(oracle=oracle, model=model, oracle_of_data=oracle_of_data)
    check_values(lambda values: values < np.inf, "below infinity", model_of_data=model_of_data)
    samples, length = np.asarray(samples), np.shape(samples)[1]
    of_sequences = (np.asarray(a, np.float64) for a in (oracle, model, oracle_of_data, model_of_data))
    oracle, model, oracle_of_data, model_of_data = (a.reshape(len(a), -1).sum(1) / length for a in of_sequences)
    nll_oracle, entropy = -oracle.mean(), -model.mean()
    return {
        "nll_oracle": float(nll_oracle),
        "nll_oracle_error": float(oracle.std() / len(oracle) ** 0.5),
        "entropy": float(entropy),
        "nll": float(-model_of_data.mean()),
        "reverse_kl": float(nll_oracle - entropy),
        "forward_kl": float((oracle_of_data - model_of_data).mean()),
        "distinct": len(np.unique(samples, axis=0)) / len(samples),
    }
