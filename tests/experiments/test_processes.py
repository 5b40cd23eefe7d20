"""Two real processes of two devices each, over the loopback interface, from the command line."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxgen
from experiments.config import Config
from experiments.run import HEARTBEAT_SECONDS

ROOT = Path(__file__).parents[2]
SHORT = ["--batch-size", "16", "--eval-every", "10", "--checkpoint-every", "10", "--log-every", "5"]
RUNS = {
    "flows.real_nvp": ["--scales", "1", "--depth", "1", "--width", "4"],
    "vaes.vae": ["--width", "8", "--latents", "2", "--importance-samples", "4"],
    # batch statistics in both players
    "gans.dcgan": ["--width", "4"],
}


def start(module, out, *arguments, devices=1):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"experiments.{module}", *SHORT, "--out", str(out), "--overwrite", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def pair(module, out, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2"]
    return [start(module, out, *arguments, *where, "--process-id", str(i), devices=2) for i in range(2)]


def finish(*processes):
    for process in processes:
        _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said[-3000:]


def assert_same_run(one, two):
    """The same variables, up to round-off, and as many lines of metrics."""
    ours, theirs = jaxgen.load(one), jaxgen.load(two)
    other = jax.jit(ours.model.init)(jax.random.key(3), {"x": np.zeros((8, 8, 8, 1), np.uint8)})

    def spread(a, b):
        pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return np.sqrt(np.mean([np.mean((np.float64(x) - np.float64(y)) ** 2) for x, y in pairs]))

    # Adam turns round-off into whole steps where a gradient is zero
    assert spread(ours.variables, theirs.variables) < 1e-2 * spread(ours.variables, other)
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (one, two)]
    assert len(lines[0]) == len(lines[1]) > 4


@pytest.mark.slow
@pytest.mark.parametrize("module", RUNS)
def test_two_processes_lead_where_one_leads(module, tmp_path):
    arguments = [*RUNS[module], "--steps", "20"]
    finish(*pair(module, tmp_path / "two", *arguments), start(module, tmp_path / "one", *arguments))
    assert_same_run(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_eight_devices_two_processes_and_one_device_go_on_with_one_run(tmp_path):
    # of constant learning rate, whatever the number of steps
    module, run, one = "vaes.vae", tmp_path / "run", tmp_path / "one"
    arguments = [*RUNS[module], "--resume", "--steps"]
    finish(start(module, run, *arguments, "10", devices=8))
    finish(*pair(module, run, *arguments, "20"))
    finish(start(module, run, *arguments, "30"), start(module, one, *arguments, "30"))
    assert_same_run(one, run)


@pytest.mark.slow
def test_where_one_of_two_dies_the_other_ends_and_the_pair_resumes(tmp_path):
    arguments = [*RUNS["flows.real_nvp"], "--steps"]
    first, second = pair("flows.real_nvp", tmp_path / "run", *arguments, "1000000")
    checkpoints = tmp_path / "run" / "checkpoints"
    began = time.monotonic()
    while not (checkpoints.is_dir() and any(p.name.isdigit() for p in checkpoints.iterdir())):
        assert first.poll() is None and time.monotonic() - began < 300
        time.sleep(0.5)
    second.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, said = first.communicate(timeout=4 * HEARTBEAT_SECONDS)
    assert first.returncode != 0 and said
    assert time.monotonic() - killed < 2 * HEARTBEAT_SECONDS
    steps = max(int(p.name) for p in checkpoints.iterdir() if p.name.isdigit()) + 10
    finish(*pair("flows.real_nvp", tmp_path / "run", *arguments, str(steps), "--resume"))
    assert (tmp_path / "run" / "result.json").exists()


def test_a_process_needs_its_number_and_all_of_them():
    for given in ({"coordinator": "host:1"}, {"processes": 2}, {"coordinator": "host:1", "process_id": 0}):
        with pytest.raises(ValueError, match="must be given all three"):
            Config(**given).check()
    with pytest.raises(ValueError, match="`process_id` must be below processes=2, got 2"):
        Config(coordinator="host:1", process_id=2, processes=2).check()
    Config(coordinator="host:1", process_id=1, processes=2).check()
