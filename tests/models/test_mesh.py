"""Batches divided over devices in the types (explicit axes) and seen device by device (`shard_map`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "least, part",
    [
        (4, ("bijectors", "Repeat", "Coupling, mixture", "MaskedAutoregressive")),
        (6, ("models", "sequence vae", "FiLM")),
        pytest.param(2, ("numbers",), marks=pytest.mark.slow),
        pytest.param(300, ("bijectors",), marks=pytest.mark.slow),
        pytest.param(100, ("models",), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_explicit_axes_and_shard_map_are_taken(least, part):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "4", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-m", "tests.models.on_mesh", *part], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    checked, failures = json.loads(process.stdout.splitlines()[-1])
    assert checked >= least and not failures, json.dumps(failures, indent=1)[:3000]
