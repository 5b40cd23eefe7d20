"""The study of pairs, from runs that are finished."""

import json

import numpy as np
import pytest

from experiments.studies import harness, translation
from experiments.studies.translation import TranslationStudy, kernel_ridge, nearest_change
from jaxgen.data import ArraySource, Splits, Zipped, domains


@pytest.fixture
def data(tmp_path):
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 60), ("valid", 10), ("test", 12)):
        x = rng.integers(0, 200, (n, 2, 2, 1))
        arrays |= {f"ink_{split}": x.astype(np.uint8), f"print_{split}": (230 - x[:, ::-1]).astype(np.uint8)}
    np.savez(tmp_path / "pairs.npz", **arrays)
    return tmp_path / "pairs.npz"


def test_each_arm_is_run_from_each_seed(tmp_path, data, monkeypatch):
    called = []

    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        called.append((module, out.name, words))
        out.mkdir(parents=True)
        seed = int(words[words.index("--seed") + 1])
        test = {"l1": 0.1 + 0.02 * seed, "psnr": 15.0, "retrieval": 0.5}
        (out / "result.json").write_text(json.dumps({"test": test, "training_seconds": 60 + seed, "command": out.name}))

    monkeypatch.setattr(harness.commands, "run", run)
    config = TranslationStudy(data=str(data), domains=("ink", "print"), runs=tmp_path / "runs", seeds=2, steps=70)
    text = translation.study(config)
    assert [(module, out) for module, out, _ in called] == [
        ("translation.pix2pix", f"{arm}-{seed}") for arm in ("L1", "cGAN", "L1+cGAN") for seed in range(2)
    ]
    words = [words for _, _, words in called]
    assert words[0][-2:] == ["--adversarial-weight", "0"] and words[2][-2:] == ["--l1-weight", "0"]
    assert all(line[line.index("--steps") + 1] == line[line.index("--eval-every") + 1] == "70" for line in words)
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line)
    rows = {name: rest for name, *rest in cells}
    assert rows["L1"] == ["0.1100 ± 0.0100", "15.00 ± 0.00", "0.500 ± 0.000", "60 s"]
    assert rows["truth"][:3] == ["0.0000", "100.00", "1.000"] and {"mean picture", "input", "kernel ridge"} < set(rows)
    assert "nearest change" in rows
    records = [json.loads(line) for line in (tmp_path / "runs" / "records.jsonl").read_text().splitlines()]
    assert [r["system"] for r in records] == ["L1", "cGAN", "L1+cGAN"] and records[0]["headline"] == ["l1", "retrieval"]
    assert translation.study(config) == text and len(called) == 6


def test_kernel_ridge_learns_what_is_smooth(data):
    splits = domains(data, ("ink", "print"), paired=True)
    predicted, truth = kernel_ridge(splits), splits.test.sources["b"].arrays["x"]
    assert np.abs(predicted - truth.astype(float)).mean() < 5 < np.abs(truth.mean(0) - truth).mean()


def test_half_of_the_change_of_the_nearest_input_is_added():
    x, y = (np.array(values, np.uint8).reshape(-1, 1, 1, 1) for values in ([10, 100, 200], [30, 90, 250]))
    test = np.array([14, 90, 240], np.uint8).reshape(-1, 1, 1, 1)
    one, other = Zipped({"a": ArraySource({"x": x}), "b": ArraySource({"x": y})}), ArraySource({"x": test})
    moved = nearest_change(Splits(one, one, Zipped({"a": other, "b": other})))
    assert moved.dtype == np.uint8 and moved.ravel().tolist() == [24, 85, 255]


def test_unknown_rows_are_refused(tmp_path, data):
    with pytest.raises(ValueError, match="GAN"):
        translation.study(TranslationStudy(data=str(data), domains=("ink", "print"), runs=tmp_path, only=("GAN",)))
