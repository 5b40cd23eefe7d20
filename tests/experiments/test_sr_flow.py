import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.flows.sr_flow import SRFlowConfig, build
from experiments.flows.super_resolution import SuperResolutionConfig
from jaxgen.data import ArraySource, Splits
from jaxgen.models.flows import sr_flow

DIGITS = Splits(*(ArraySource({"x": np.zeros((40, 8, 8, 1), np.uint8)}, levels=17) for _ in range(3)))
SMALL = SRFlowConfig(scales=1, depth=1, width=4, blocks=1, features=4, growth=2)


@pytest.mark.parametrize(("schedule", "freeze"), [("halved", 0.5), ("halved", 0.0), ("constant", 0.25)])
def test_the_schedule_halves_four_times_and_the_encoder_waits(schedule, freeze):
    """With constant gradients a step of Adam is as long as the learning rate."""
    config = dataclasses.replace(SMALL, steps=100, schedule=schedule, freeze=freeze, warmup=0, learning_rate=0.25)
    optimizer = build(config, DIGITS).optimizers["flow"]
    params = {player: {"w": jnp.ones(())} for player in ("encoder", "flow")}
    state, lengths = optimizer.init(params), {"encoder": [], "flow": []}
    for _ in range(100):
        updates, state = optimizer.update(params, state, params)
        for player, update in updates.items():
            lengths[player].append(-update["w"])
    halvings = 4 if schedule == "halved" else 0
    expected = 0.25 * 0.5 ** sum(np.arange(100) >= at for at in (50, 75, 90, 95)[:halvings])
    np.testing.assert_allclose(lengths["flow"], expected * np.ones(100), rtol=1e-4)
    np.testing.assert_allclose(lengths["encoder"], expected * (np.arange(100) >= 100 * freeze), rtol=1e-4)


def test_the_papers_preset_is_the_papers_network():
    config = dataclasses.replace(SRFlowConfig(), **SRFlowConfig.PRESETS["paper"])
    faces = Splits(*(ArraySource({"x": np.zeros((4, 32, 32, 3), np.uint8)}, levels=256) for _ in range(3)))
    model = build(config, faces).model
    assert model == sr_flow((32, 32, 3), num_scales=4)


def test_the_other_network_keeps_its_own_defaults():
    config = SuperResolutionConfig()
    assert (config.steps, config.learning_rate, config.weight_decay, config.temperature) == (400, 2e-3, 1e-2, 1.0)
