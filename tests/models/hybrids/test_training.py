"""The wing's models in the loop: several steps a call, several seeds side by side, and a run that is interrupted."""

import dataclasses

import chex
import numpy as np
import pytest

from jaxgen.data import ArraySource
from jaxgen.training import Settings, fit, fit_seeds
from tests.models.hybrids.test_cvae_gan import DENSE as CVAE_GAN
from tests.models.hybrids.test_ganomaly import DENSE as GANOMALY
from tests.models.hybrids.test_vae_gan import DENSE as VAE_GAN
from tests.models.hybrids.test_vqgan import SHAPE, TAMED

RNG = np.random.default_rng(5)
DATA = {"x": RNG.integers(0, 9, (24, 3, 3, 1)).astype(np.int32), "label": np.arange(24) % 3}
SETTINGS = Settings(steps=7, batch_size=8, steps_per_call=3, checkpoint_every=3, ema=0.5)
# two phases, and adversarial terms that begin late
VQGAN = dataclasses.replace(TAMED, prior_fraction=0.3)


def source(model):
    x = RNG.integers(0, 9, (24, *SHAPE)) if model is VQGAN else DATA["x"]
    return ArraySource({**DATA, "x": x.astype(np.int32)}, levels=9, num_classes=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [VAE_GAN, CVAE_GAN, GANOMALY, VQGAN], ids=["VAE-GAN", "CVAE-GAN", "GANomaly", "VQGAN"]
)
def test_seeds_side_by_side_and_a_resumed_run_are_what_single_runs_are(model, tmp_path):
    data = source(model)
    whole = fit(model, data, SETTINGS, progress=False)
    side_by_side = fit_seeds(model, data, SETTINGS, seeds=(0, 1), progress=False)
    chex.assert_trees_all_close(side_by_side[0].variables, whole.variables, rtol=1e-3, atol=1e-4)
    fit(model, data, SETTINGS, steps=3, out=tmp_path, progress=False)
    resumed = fit(model, data, SETTINGS, out=tmp_path, resume=True, progress=False)
    chex.assert_trees_all_equal(resumed.variables, whole.variables)
