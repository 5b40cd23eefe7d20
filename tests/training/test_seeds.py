"""Seeds side by side are the runs that each would be alone."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import LossOutput
from jaxgen.data import ArraySource
from jaxgen.training import NonFiniteLoss, Settings, fit, fit_seeds, init_state, load
from jaxgen.training.folder import RunFolder
from tests.training.games import Duel, Exploding
from tests.training.on_devices import Streamed
from tests.training.runs import SETTINGS, game, points

SEEDS = (3, 5, 4)


def run(kind):
    model, data, phases = game(kind)
    return {"model": model, "data": data, "settings": SETTINGS, "phases": phases, "progress": False}


def assert_near(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


def lines(folder):
    """Figures by step, without times."""
    wanted = ("valid/", "critic/", "generator/", "likelihood/", "elbo/")
    return [{k: v for k, v in line.items() if k.startswith(("step", *wanted)) and "second" not in k}
            for line in RunFolder(folder).lines()]  # fmt: skip


@pytest.mark.parametrize("kind", ["gan", *(pytest.param(k, marks=pytest.mark.slow) for k in ("phases", "flow"))])
def test_each_seed_is_its_run_alone(kind, tmp_path):
    together = fit_seeds(**run(kind), seeds=SEEDS, out=tmp_path / "together")
    assert len(together) == 3
    for i in (1, 2):
        settings = replace(SETTINGS, seed=SEEDS[i])
        alone = fit(**{**run(kind), "settings": settings}, out=tmp_path / f"alone-{i}")
        assert_near(together[i].variables, alone.variables)
        folder = tmp_path / "together" / f"seed-{SEEDS[i]}"
        assert_near(load(folder, model=alone.model).variables, alone.variables)
        ours, theirs = lines(folder), lines(tmp_path / f"alone-{i}")
        assert len(ours) == len(theirs) > 4
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.keys() == other.keys() and mine["step"] == other["step"]
            np.testing.assert_allclose(list(mine.values()), list(other.values()), rtol=1e-3, atol=1e-4)
    first, second = (jax.tree.leaves(bound.variables) for bound in together[:2])
    assert any(np.abs(np.asarray(a) - b).max() > 1e-3 for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_in_memory_streamed_and_without_validation():
    settings = replace(SETTINGS, ema=0.0)
    resident, streamed = (
        fit_seeds(Duel(), kind(points(96, 0)), settings, seeds=(1, 2), progress=False)
        for kind in (ArraySource, Streamed)
    )
    for ours, theirs in zip(resident, streamed, strict=True):
        assert_near(ours.variables, theirs.variables)
    alone = fit(Duel(), points(96, 0), replace(settings, seed=2), progress=False)
    assert_near(resident[1].variables, alone.variables)


def test_a_play_that_rests_is_not_computed():
    # under vmap a branch that depends on the seed would be computed at every step
    called = []

    class Counting(Duel):
        def generator_loss(self, variables, batch, key, clock):
            jax.debug.callback(lambda: called.append(1))
            return super().generator_loss(variables, batch, key, clock)

    fit_seeds(Counting(), points(96, 0), replace(SETTINGS, steps=6), seeds=(0, 1), progress=False)
    jax.effects_barrier()
    assert len(called) in (2, 4)  # steps 2 and 5, of both seeds at once or of each


@pytest.mark.slow
def test_seeds_that_were_killed_go_on_together(tmp_path):
    code = (
        "from tests.training.test_seeds import *\n"
        f"arguments = run('gan'); arguments['data'].train.kill_at = 17\n"
        f"fit_seeds(**arguments, seeds=(0, 1), out={str(tmp_path / 'killed')!r})"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    resumed = fit_seeds(**run("gan"), seeds=(0, 1), out=tmp_path / "killed", resume=True)
    undisturbed = fit_seeds(**run("gan"), seeds=(0, 1), out=tmp_path / "undisturbed")
    for i, (ours, theirs) in enumerate(zip(resumed, undisturbed, strict=True)):
        jax.tree.map(np.testing.assert_array_equal, ours.variables, theirs.variables)
        assert lines(tmp_path / "killed" / f"seed-{i}") == lines(tmp_path / "undisturbed" / f"seed-{i}")


@pytest.mark.slow
def test_they_go_on_from_the_newest_step_that_all_have(tmp_path, capsys):
    arguments = {**run("gan"), "settings": replace(SETTINGS, steps=18)}
    fit_seeds(**arguments, seeds=(0, 1), out=tmp_path)
    newest = tmp_path / "seed-1" / "checkpoints" / "18"
    newest.rename(tmp_path / "away")
    resumed = fit_seeds(**run("gan"), seeds=(0, 1), out=tmp_path, resume=True)
    assert "resuming from step 12" in capsys.readouterr().err
    undisturbed = fit_seeds(**run("gan"), seeds=(0, 1))
    assert_near(resumed[0].variables, undisturbed[0].variables)


@dataclass(frozen=True)
class Unlucky(Exploding):
    """Explodes for some seeds only."""

    def init(self, key, batch):
        return {"only": {"params": {"w": jnp.zeros(2)}, "constants": {"luck": jax.random.normal(key)}}}

    def loss(self, variables, batch, key, clock):
        out = super().loss(variables, batch, key, clock)
        fine = LossOutput(((variables["only"]["params"]["w"] - batch["x"]) ** 2).mean())
        return jax.tree.map(lambda a, b: jnp.where(variables["only"]["constants"]["luck"] > 0, a, b), fine, out)


def test_a_seed_that_explodes_is_told_by_its_folder(tmp_path):
    model, rows = Unlucky(4), points(96, 0)
    luck = {
        seed: float(init_state(model, {}, jax.random.key(seed), rows).collections["only"]["constants"]["luck"])
        for seed in range(9)
    }
    good, bad = max(luck, key=luck.get), min(luck, key=luck.get)
    assert luck[good] > 0 > luck[bad]
    settings = Settings(steps=8, batch_size=16)
    with pytest.raises(NonFiniteLoss, match=f"'descend' is not finite at step 4.*seed-{bad}"):
        fit_seeds(model, rows, settings, seeds=(good, bad), out=tmp_path, progress=False)
    skipping = replace(settings, on_nan="skip")
    fine, stuck = fit_seeds(model, rows, skipping, seeds=(good, bad), progress=False)
    alone = fit(model, rows, replace(settings, seed=good), progress=False)
    assert_near(fine.variables, alone.variables)
    assert np.isfinite(stuck.variables["only"]["params"]["w"]).all()


def test_what_cannot_be_is_refused(tmp_path):
    for seeds in ((), (1, 1)):
        with pytest.raises(ValueError, match="`seeds` must be"):
            fit_seeds(Duel(), points(96, 0), SETTINGS, seeds=seeds)
    with pytest.raises(ValueError, match="pmap"):
        fit_seeds(Duel(), points(96, 0), replace(SETTINGS, parallel="pmap"), seeds=(0, 1))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="one seed"):
        fit_seeds(Duel(), points(96, 0), SETTINGS, seeds=(0, 1), out=tmp_path)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 1.5, "1", None])
def test_seeds_that_32_bits_do_not_hold_are_refused(seed):
    """2^32 had the key of 0, and 2^63 was an error of JAX."""
    with pytest.raises(ValueError, match="seed`? (is|must be)"):
        Settings(seed=seed).check()
    with pytest.raises(ValueError, match="seed`? (is|must be)"):
        fit(None, None, Settings(seed=seed))
    with pytest.raises(ValueError, match="seeds`? (is|must be)"):
        fit_seeds(Duel(), np.ones((4, 1), np.float32), Settings(batch_size=2), seeds=(0, seed))
    Settings(seed=2**32 - 1).check()
