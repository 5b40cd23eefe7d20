"""A run that is killed and resumed ends where an undisturbed one ends, bit for bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax
import pytest

from jaxgen.training import Phase, load
from jaxgen.training.checkpoints import steps
from jaxgen.training.folder import RunFolder
from jaxgen.training.run import Run
from tests.training.runs import SETTINGS, STEPS, game, train

ROOT = Path(__file__).parents[2]
CLOCK = ("steps_per_second", "examples_per_second", "seconds/", "device_memory")


def final_state(kind: str, folder: Path):
    """Everything the last checkpoint holds."""
    model, data, phases = game(kind)
    phases = [p._replace(data=data.train) for p in phases or (Phase(model.plays(), STEPS),)]
    run = Run(model, phases, data.valid, (SETTINGS,), (folder,))
    with run.recorders[0] as recorder:
        state, known = recorder.restore(lambda step: run._abstract_in(run._phase_of(step)))
    assert state.step == STEPS
    return jax.tree.map(lambda a: jax.random.key_data(a) if a.dtype == jax.random.key(0).dtype else a, state), known


def lines(folder: Path):
    return [{k: v for k, v in line.items() if not k.startswith(CLOCK)} for line in RunFolder(folder).lines()]


# Killed after the second checkpoint, at step 12: its saving waits for the first one, so that one at least is whole.
# Slow: `test_contracts` kills and resumes phases in every run of the tests.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kill_at"), [("gan", 17), ("flow", 15), ("vae", 14), ("phases", 16)])
def test_sigkill_then_resume_is_bit_for_bit(kind, kill_at, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.runs", kind, str(killed), str(kill_at)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    assert steps(killed / "checkpoints") and 0 < max(steps(killed / "checkpoints")) < kill_at
    train(kind, killed, resume=True)
    train(kind, undisturbed)
    (state, progress), (expected, expected_progress) = final_state(kind, killed), final_state(kind, undisturbed)
    chex.assert_trees_all_equal(state, expected)
    assert progress == expected_progress
    assert lines(killed) == lines(undisturbed) and len(lines(killed)) >= 4
    model, _, _ = game(kind)
    chex.assert_trees_all_equal(load(killed, model=model).variables, load(undisturbed, model=model).variables)


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing(tmp_path):
    first = train("vae", tmp_path)
    before = (lines(tmp_path), final_state("vae", tmp_path))
    again = train("vae", tmp_path, resume=True)
    chex.assert_trees_all_equal(first.variables, again.variables)
    assert lines(tmp_path) == before[0]
    chex.assert_trees_all_equal(final_state("vae", tmp_path)[0], before[1][0])
