import jax
import numpy as np
import pytest

from jaxgen.metrics.angles import angle_agreement

agreement = jax.jit(angle_agreement)
ANGLES = np.arange(0, 360, 5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("offset", [0, 77, 180, -300])
def test_an_offset_and_the_sense_of_rotation_do_not_matter(sign, offset):
    metrics = agreement(ANGLES, (sign * ANGLES + offset) % 360)
    assert float(metrics["angle_correlation"]) == pytest.approx(1, abs=1e-5)
    assert float(metrics["angle_error"]) == pytest.approx(0, abs=0.1)


def test_errors_are_measured_around_the_circle():
    """Residuals of +-30 degrees around an offset of 170, across the end of the interval -180..180."""
    residuals = np.where(np.arange(72) % 2, 30, -30)
    metrics = agreement(ANGLES, ANGLES + 170 + residuals)
    assert float(metrics["angle_error"]) == pytest.approx(30, rel=1e-4)
    assert float(metrics["angle_correlation"]) == pytest.approx(np.cos(np.pi / 6), rel=1e-4)


def test_independent_angles_do_not_agree():
    rng, lengths, errors = np.random.default_rng(0), [], []
    for _ in range(200):
        metrics = agreement(ANGLES, rng.uniform(0, 360, 72))
        lengths.append(float(metrics["angle_correlation"]))
        errors.append(float(metrics["angle_error"]))
    # the greater of two lengths, each with mean sqrt(pi / (4 N)) = 0.104
    assert 0.104 < np.mean(lengths) < 0.16
    assert np.mean(errors) == pytest.approx(103.9, rel=0.1)
    # half the modes turned around: half of the residuals are opposite
    assert float(agreement(ANGLES, ANGLES + 180 * (ANGLES % 10 == 0))["angle_correlation"]) < 0.02


def test_angles_are_numbers_of_equal_length():
    with pytest.raises(ValueError, match="`others` must have shape"):
        angle_agreement(ANGLES, ANGLES[:3])
    with pytest.raises(ValueError, match="`others` must be finite"):
        angle_agreement([1.0, 2.0], [1.0, np.nan])
