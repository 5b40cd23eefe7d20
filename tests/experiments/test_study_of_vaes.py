"""The table of importance-weighted autoencoders on random data, one epoch of a few rows."""

import json

import numpy as np
import pytest

from experiments.results import Results, update
from experiments.studies import vaes
from experiments.vaes.iwae import burda_schedule
from jaxgen.training.ranges import check_ranges


@pytest.fixture
def given(tmp_path):
    rng = np.random.default_rng(0)
    x = {
        f"x_{split}": rng.integers(0, 256, (rows, 4, 4)).astype(np.uint8)
        for split, rows in (("train", 90), ("test", 25))
    }
    np.savez(tmp_path / "greys.npz", **x)
    cells = ("VAE = IWAE, k = 1", "IWAE, k = 5")
    return vaes.VAEStudy(
        mnist=tmp_path / "greys.npz", stages=1, seeds=2, importance_samples=6, chunk=3, test_examples=22, only=cells,
        runs=tmp_path / "runs" / "studies.vaes",
    )


@pytest.mark.slow
def test_trains_what_is_missing_and_reads_the_rest(given, monkeypatch, capsys):
    text = vaes.study(given)
    lines = text.splitlines()
    assert len(lines) == 6 and "IWAE, k = 5: seed 1, -log p(x)" in capsys.readouterr().out
    assert "-log p(x) in nats, by 6 samples, 22 test examples" in lines[0]
    for line, name, nll, active in zip(lines[2:4], given.only, ("86.76", "85.54"), ("19", "22"), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert (cells[0], cells[2], cells[4]) == (name, nll, active)
        for cell in (cells[1], cells[3]):
            mean, error = map(float, cell.split(" ± "))
            assert 0 <= mean <= 50 and error >= 0
    first = json.loads((given.runs / "IWAE_k_=_5.json").read_text())["result"]
    # seeds differ, and 16 pixels near their mean cost about 11 nats
    assert first["nll"][0] != first["nll"][1] and 10.5 < np.mean(first["nll"]) < 13
    monkeypatch.setattr(vaes, "fit_seeds", None)
    assert vaes.study(given) == text
    page = given.runs.parent / "RESULTS.md"
    assert update(Results(given.runs.parent, given.runs.parent / "records", page)) == 1
    assert lines[2] in page.read_text()
    # 90 rows in batches of 20: four steps, of the paper's 9,840,000
    assert "85.54 (Burda et al. 2016, table 1) | 4 / 9,840,000 |" in page.read_text()


def test_what_does_not_fit_is_refused(given, tmp_path):
    with pytest.raises(ValueError, match="`only` must name rows"):
        vaes.study(vaes.VAEStudy(mnist=given.mnist, only=("IWAE",), runs=given.runs))
    with pytest.raises(ValueError, match="`stages` must be at least 1 and at most 8, got 9"):
        check_ranges(vaes.VAEStudy(mnist=given.mnist, stages=9))
    given.runs.mkdir(parents=True, exist_ok=True)
    (given.runs / "IWAE_k_=_5.json").write_text(json.dumps({"settings": {"stages": 2}, "result": {}}))
    with pytest.raises(ValueError, match="IWAE_k_=_5.json has settings {'stages': 2}"):
        vaes.study(vaes.VAEStudy(mnist=given.mnist, only=("IWAE, k = 5",), runs=given.runs))
    np.savez(tmp_path / "real.npz", x_train=np.zeros((90, 4, 4, 1), np.float32))
    with pytest.raises(ValueError, match="must hold grey values"):
        vaes.study(vaes.VAEStudy(mnist=tmp_path / "real.npz", runs=tmp_path / "other"))


def test_the_schedule_is_the_papers():
    rate = burda_schedule(10)
    ends = np.cumsum([10 * 3**i for i in range(8)])
    for i, end in enumerate(ends):
        expected = 1e-3 * 10 ** (-i / 7)
        np.testing.assert_allclose([rate(end - 1), rate(end - 3**i * 10)], expected, rtol=1e-5)
    assert ends[-1] == 32_800 and rate(10**6) == pytest.approx(1e-4, rel=1e-5)
