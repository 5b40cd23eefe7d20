"""The table of importance-weighted autoencoders on random data, one epoch of a few rows."""

import json

import numpy as np
import pytest

from experiments.results import Results, write
from experiments.vaes import table
from experiments.vaes.iwae import burda_schedule


@pytest.fixture
def given(tmp_path):
    rng = np.random.default_rng(0)
    x = {f"x_{split}": rng.integers(0, 256, (rows, 4, 4)).astype(np.uint8) for split, rows in (("train", 90), ("test", 25))}
    np.savez(tmp_path / "greys.npz", **x)
    cells = ("VAE = IWAE, k = 1", "IWAE, k = 5")
    return table.Table(
        mnist=tmp_path / "greys.npz", stages=1, seeds=2, importance_samples=6, chunk=3, test_rows=22, only=cells,
        runs=tmp_path / "runs" / "vaes.table",
    )


@pytest.mark.slow
def test_trains_what_is_missing_and_reads_the_rest(given, monkeypatch, capsys):
    lines = table.main(given).splitlines()
    assert len(lines) == 6 and "IWAE, k = 5: seed 1, -log p(x)" in capsys.readouterr().out
    for line, (name, figure, published) in zip(lines[2:], [
        ("VAE = IWAE, k = 1", "-log p(x) in nats, by 6 samples, 22 test rows", "86.76"),
        ("VAE = IWAE, k = 1", "active units", "19"),
        ("IWAE, k = 5", "-log p(x) in nats, by 6 samples, 22 test rows", "85.54"),
        ("IWAE, k = 5", "active units", "22"),
    ], strict=True):  # fmt: skip
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [name, figure] and cells[3].startswith(f"{published} (Burda") and cells[4:6] == ["1", "2"]
        mean, error = map(float, cells[2].split(" ± "))
        assert 0 <= mean <= 50 and error >= 0
    files = sorted(given.runs.glob("*.json"))
    first = json.loads(files[0].read_text())
    # seeds differ, and 16 pixels near their mean cost about 11 nats
    assert first["nll"][0] != first["nll"][1] and 10.5 < np.mean(first["nll"]) < 13
    monkeypatch.setattr(table, "fit_seeds", None)
    assert table.main(given).splitlines() == lines
    assert write(Results(given.runs.parent, given.runs.parent / "RESULTS.md")) == 1
    assert lines[2] in (given.runs.parent / "RESULTS.md").read_text()


def test_what_does_not_fit_is_refused(given, tmp_path):
    given.runs.mkdir(parents=True)
    with pytest.raises(ValueError, match="the cells are"):
        table.main(table.Table(mnist=given.mnist, only=("IWAE",)))
    with pytest.raises(ValueError, match="stages=9"):
        table.main(table.Table(mnist=given.mnist, stages=9))
    (given.runs / "IWAE-k=5.json").write_text(json.dumps({"settings": {"stages": 2}}))
    with pytest.raises(ValueError, match="IWAE-k=5.json is of {'stages': 2}"):
        table.main(table.Table(mnist=given.mnist, only=("IWAE, k = 5",), runs=given.runs))
    np.savez(tmp_path / "real.npz", x_train=np.zeros((90, 4, 4, 1), np.float32))
    with pytest.raises(ValueError, match="no grey values"):
        table.main(table.Table(mnist=tmp_path / "real.npz", runs=tmp_path / "other"))


def test_the_schedule_is_the_papers():
    rate = burda_schedule(10)
    ends = np.cumsum([10 * 3**i for i in range(8)])
    for i, end in enumerate(ends):
        expected = 1e-3 * 10 ** (-i / 7)
        np.testing.assert_allclose([rate(end - 1), rate(end - 3**i * 10)], expected, rtol=1e-5)
    assert ends[-1] == 32_800 and rate(10**6) == pytest.approx(1e-4, rel=1e-5)
