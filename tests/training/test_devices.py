"""Eight devices give what one gives, in the global view for every game, by `pmap` for losses that are plain means."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def distances(*games):
    """By game, how far apart eight devices and one are afterwards, and how far training moved."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.on_devices", *games], cwd=ROOT, env=environment, capture_output=True,
        text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "games",
    [
        ("gan with batch statistics", "flow, streamed"),
        pytest.param(
            ("flow", "vae", "gan", "policy of tokens", "flow, pmap", "gan, seeds", "vector, streamed seeds"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_eight_devices_lead_where_one_leads(games):
    for game, (apart, moved) in distances(*games).items():
        assert moved > 1e-3 and apart < 1e-3 * moved, game


def test_each_device_generates_its_own_rows():
    of_eight, of_one = distances("work of a generator")["work of a generator"]
    assert of_eight < of_one / 4


@pytest.mark.slow
def test_under_pmap_a_device_sees_its_own_rows():
    # batch normalisation sees a device's two rows in place of all sixteen, as its docstring says
    apart, moved = distances("gan with batch statistics, pmap")["gan with batch statistics, pmap"]
    assert apart > 1e-2 * moved
