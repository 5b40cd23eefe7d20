"""Eight devices give what one gives, in the global view for every game, by `pmap` for losses that are plain means."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def distances():
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.on_devices"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("game", ["flow", "vae", "gan", "gan with batch statistics", "flow, streamed", "flow, pmap"])
def test_eight_devices_lead_where_one_leads(distances, game):
    apart, moved = distances[game]
    assert moved > 1e-3 and apart < 1e-3 * moved


def test_pmap_differs_where_its_docstring_says(distances):
    """Batch normalisation sees a device's two rows in place of all sixteen."""
    apart, moved = distances["gan with batch statistics, pmap"]
    assert apart > 1e-2 * moved
