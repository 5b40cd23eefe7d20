"""Reading a run's folder while a run writes it, and paths that mean the same folder all along."""

import io
import os
import shutil
import sys
import threading
import warnings

import numpy as np
import pytest

from experiments import commands, report, results
from experiments import run as shell
from experiments.config import Config
from jaxgen import Settings, fit, fit_seeds, load
from jaxgen.data import ArraySource, DataError, Splits, source
from jaxgen.training import checkpoints
from jaxgen.training.folder import RunFolder
from jaxgen.training.reporting import Reporter
from tests.training.games import Exploding

X = np.random.default_rng(0).normal(1.0, 2.0, (200, 2)).astype(np.float32)
SHORT = Settings(steps=12, batch_size=16, log_every=4, eval_every=4, checkpoint_every=4, ema=0.9)


def splits(train=ArraySource):
    return Splits(train({"x": X}), ArraySource({"x": X[:50]}), None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with all of its checkpoints, which a test copies."""
    folder = tmp_path_factory.mktemp("loaded") / "run"
    fit(Exploding(10**6), splits(), Settings(**vars(SHORT) | {"keep": 3}), out=folder, progress=False)
    return folder


def saved_by(folder, step):
    """The averages of one checkpoint, as `load` returns them if it is the only one."""
    for other in checkpoints.steps(folder / "checkpoints"):
        if other != step:
            shutil.rmtree(folder / "checkpoints" / str(other))
    return load(folder, model=Exploding(10**6), which="last").variables


def weights(variables):
    return np.asarray(variables["only"]["params"]["w"])


# --- beside a run that writes


@pytest.mark.parametrize("removed", ["before it is read", "after its files are checked", "while it is being removed"])
def test_a_checkpoint_that_vanishes_during_the_read_leads_to_the_newest(removed, run, tmp_path, monkeypatch):
    folder, beside = tmp_path / "run", tmp_path / "beside"
    shutil.copytree(run, folder)
    shutil.copytree(run, tmp_path / "alone")
    # two of three: the run saves the last one during the read
    shutil.move(folder / "checkpoints" / "12", beside)
    check, times = checkpoints.check_digests, []

    def go_on():
        shutil.move(beside, folder / "checkpoints" / "12")
        for step in (4, 8):
            if removed == "while it is being removed":
                (folder / "checkpoints" / str(step) / checkpoints.DIGESTS).unlink()
                (folder / "checkpoints" / str(step) / "average" / "manifest.ocdbt").unlink()
            else:
                shutil.rmtree(folder / "checkpoints" / str(step))

    def interleaved(checkpoint, *args, **keywords):
        times.append(checkpoint.name)
        if len(times) == 1 and removed != "after its files are checked":
            go_on()
        check(checkpoint, *args, **keywords)
        if len(times) == 1:
            go_on()

    monkeypatch.setattr(checkpoints, "check_digests", interleaved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load(folder, model=Exploding(10**6), which="last").variables
    assert times[0] == "8" and times[-1] == "12"
    np.testing.assert_array_equal(weights(loaded), weights(saved_by(tmp_path / "alone", 12)))


def test_chunks_that_vanish_during_the_read_are_not_taken_for_zeros(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    read, newest = checkpoints._orbax().Checkpointer.restore, tmp_path / "run" / "checkpoints" / "12"

    def removed_meanwhile(self, *args, **keywords):
        got = read(self, *args, **keywords)
        next(file for file in newest.rglob("d/*")).unlink(missing_ok=True)
        return got

    monkeypatch.setattr(checkpoints._orbax().Checkpointer, "restore", removed_meanwhile)
    with pytest.warns(UserWarning, match="checkpoints/12 cannot be read .* is missing.; went back to step 8"):
        load(tmp_path / "run", model=Exploding(10**6), which="last")


def test_loading_makes_no_file_and_no_folder(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "best")
    made = []
    writes = ("mkdir", "rename", "replace", "unlink", "rmdir")
    for module, name in (*((os, name) for name in writes), (shutil, "rmtree")):
        monkeypatch.setattr(module, name, lambda *args, name=name, **_: made.append((name, args)))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*")}
    load(tmp_path / "run", model=Exploding(10**6), which="best")
    assert not made and before == {file: file.stat().st_mtime_ns for file in (tmp_path / "run").rglob("*")}


@pytest.mark.slow
def test_loading_again_and_again_beside_a_run(tmp_path):
    often = dict(eval_every=10, checkpoint_every=10, steps_per_call=10, keep=1)
    settings = Settings(steps=800, batch_size=16, log_every=100, ema=0.9, **often)
    arguments = dict(out=tmp_path / "run", progress=False)
    training = threading.Thread(target=fit, args=(Exploding(10**6), splits(), settings), kwargs=arguments)
    training.start()
    loads = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            while training.is_alive():
                if checkpoints.steps(tmp_path / "run" / "checkpoints"):
                    for which in ("best", "last"):
                        loaded = load(tmp_path / "run", model=Exploding(10**6), which=which)
                        assert np.isfinite(weights(loaded.variables)).all()
                        loads += 1
    finally:
        training.join()
    assert loads >= 50


def test_results_are_collected_beside_a_run_that_removes_its_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "runs" / "a" / "checkpoints" / "4").mkdir(parents=True)
    (tmp_path / "runs" / "b").mkdir()
    scan = os.scandir
    listed = []

    def counted(path="."):
        listed.append(str(path))
        if str(path).endswith("checkpoints"):
            entries = list(scan(path))
            os.rmdir(tmp_path / "runs" / "a" / "checkpoints" / "4")
            return _Entries(entries)
        return scan(path)

    monkeypatch.setattr(os, "scandir", counted)
    assert results.update(results.Results(tmp_path / "runs", tmp_path / "results", tmp_path / "RESULTS.md")) == 0
    assert any(path.endswith("checkpoints") for path in listed)


class _Entries:
    """What `os.scandir` gives: an iterator and a context manager."""

    def __init__(self, entries):
        self.entries = iter(entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.entries)


# --- paths


class Elsewhere(ArraySource):
    """A source whose user changes the folder after the first steps."""

    folder = None

    def indices_at(self, step, size, seed):
        if step >= 4:
            os.chdir(self.folder)
        return super().indices_at(step, size, seed)


@pytest.mark.parametrize("seeds", [None, pytest.param((0, 1), marks=pytest.mark.slow)])
def test_a_relative_out_is_the_same_folder_after_a_change_of_the_current_one(seeds, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    data = splits(Elsewhere)
    data.train.folder = tmp_path / "elsewhere"
    # on the host, so that each batch is asked for
    data.train.resident = False
    train = fit if seeds is None else lambda *args, **keywords: fit_seeds(*args, seeds=seeds, **keywords)
    train(Exploding(10**6), data, SHORT, out="run", progress=False)
    assert os.getcwd() == str(tmp_path / "elsewhere") and not list((tmp_path / "elsewhere").iterdir())
    for folder in (tmp_path / "run",) if seeds is None else (tmp_path / "run" / f"seed-{seed}" for seed in seeds):
        assert checkpoints.steps(folder / "checkpoints")[-1] == 12 and len(RunFolder(folder).lines()) >= 3


def test_home_is_expanded_wherever_a_path_is_given(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert RunFolder("~/x").path == tmp_path / "x"
    shutil.copytree(run, tmp_path / "run")
    assert load("~/run", model=Exploding(10**6)).variables
    np.save(tmp_path / "x.npy", X)
    for name, data_dir in (("~/x.npy", None), ("x.npy", "~")):
        assert len(source(name, data_dir).train) > 0
    monkeypatch.setattr(sys, "argv", ["results", "--runs", "~/runs", "--out", "table.md"])
    parsed = commands.parse(results.Results, "", "experiments.results")
    assert parsed == results.Results(tmp_path / "runs", tmp_path / "results", tmp_path / "table.md")
    with pytest.raises(DataError, match="^out must begin with an existing user's home folder, got '~nobody-here/x'$"):
        RunFolder("~nobody-here/x")
    assert not list(tmp_path.glob("~*"))


def test_images_are_read_after_a_change_of_the_current_folder(tmp_path, monkeypatch):
    from PIL import Image

    (tmp_path / "images").mkdir()
    for i in range(20):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(tmp_path / "images" / f"{i:02}.png")
    monkeypatch.chdir(tmp_path)
    train = source("images").train
    monkeypatch.chdir("/")
    assert train.batch_at(0, 4, 0)["x"].shape == (4, 4, 4, 1)


# --- a terminal of few characters


def ascii_terminal():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def test_the_report_of_several_seeds_is_printed_on_an_ascii_terminal(tmp_path, monkeypatch):
    result = {
        "experiment": "flows.nice", "data": "dàta", "test": {"nats": 1.0}, "standard_errors": {"nats": 0.5},
        "baselines": {}, "published": None, "wall_seconds": 1.0,
    }  # fmt: skip

    def ran(*_):
        report.print_result(result, [tmp_path / "curves.png"], tmp_path)

    monkeypatch.setattr(shell, "run", ran)
    monkeypatch.setattr(sys, "argv", ["nice"])
    monkeypatch.setattr(sys, "stdout", terminal := ascii_terminal())
    shell.main(Config, ran)
    terminal.flush()
    printed = terminal.buffer.getvalue().decode("ascii")
    assert r"1.0000 \xb1 0.5000" in printed and r"d\xe0ta" in printed


@pytest.mark.parametrize("bar", [False, True])
def test_progress_is_shown_on_an_ascii_terminal(bar, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal := ascii_terminal())
    monkeypatch.setattr(sys, "stderr", ascii_terminal())
    monkeypatch.setenv("FORCE_COLOR", "1") if bar else monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    with Reporter(None, 2) as report:
        assert (report._bar is not None) == bar
        report.message("continuing from step 1 – naïvely")
        report.advance(2, {"critère": 1.0})
    terminal.flush()
    assert r"crit\xe8re 1" in terminal.buffer.getvalue().decode("ascii")
