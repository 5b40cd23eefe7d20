"""The study of metrics: its faults, its two questions, and a small run."""

import types

import numpy as np
import pytest

from experiments.studies import metric_study
from experiments.studies.metric_study import (
    FAULTS,
    MetricStudy,
    Pool,
    detects,
    draw,
    monotonicity,
    needed,
    representatives,
)
from jaxgen.training.ranges import check_ranges

LABEL = np.repeat(np.arange(10), 30)
NEAREST = 30 * LABEL + 7


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_is_two_disjoint_sets_of_rows(fault):
    real, fake = draw(fault, 0.0, LABEL, NEAREST, 60, np.random.default_rng(0))
    assert len({*real, *fake}) == 120 and max(*real, *fake) < 300


def test_dropped_classes_are_replaced_by_rows_of_the_others():
    real, fake = draw("dropped", 0.3, LABEL, NEAREST, 60, np.random.default_rng(0))
    assert len({*real, *fake}) == 120 and len(set(LABEL[real])) == 10 and len(set(LABEL[fake])) == 7
    # 30 rows of one class are not enough
    assert draw("dropped", 0.9, LABEL, NEAREST, 60, np.random.default_rng(0)) is None


def test_collapsed_classes_are_of_one_row_each():
    _, fake = draw("collapsed", 0.4, LABEL, NEAREST, 100, np.random.default_rng(0))
    single = [c for c in range(10) if len(set(fake[LABEL[fake] == c])) == 1]
    assert len(single) == 4 and all(set(fake[LABEL[fake] == c]) == {30 * c + 7} for c in single)
    assert sorted(LABEL[fake]) == sorted(
        LABEL[draw("collapsed", 0.0, LABEL, NEAREST, 100, np.random.default_rng(0))[1]]
    )


def test_mixed_rows_are_noisy_ones_in_random_order():
    real, fake = draw("mixed", 0.3, LABEL, NEAREST, 60, np.random.default_rng(0))
    noisy = fake >= 300
    assert noisy.sum() == 18 and not noisy[:18].all() and not set(fake % 300) & set(real)


def test_classes_differ_from_draw_to_draw():
    kept = {
        frozenset(LABEL[draw("dropped", 0.5, LABEL, NEAREST, 60, np.random.default_rng(seed))[1]]) for seed in range(5)
    }
    assert len(kept) > 1


def test_representatives_are_the_rows_nearest_to_their_classes_centre():
    pixels = np.array([[0.0], [1.0], [5.0], [10.0], [11.0], [12.0]])
    assert representatives(pixels, np.array([0, 0, 0, 1, 1, 1])).tolist() == [1, 1, 1, 4, 4, 4]


def test_a_pool_is_rows_and_noisy_rows():
    x = np.random.default_rng(0).integers(0, 17, (20, 2, 2, 1)).astype(np.uint8)
    extractor = types.SimpleNamespace(
        features=lambda rows: rows.reshape(len(rows), -1), logits=lambda rows: rows[:, 0, 0]
    )
    pool = Pool(x, np.arange(20) % 2, 17, extractor, 0)
    clean, noisy = pool.pixels[:20], pool.pixels[20:]
    np.testing.assert_allclose(clean, x.reshape(20, 4) / 16)
    assert noisy.min() >= 0 and noisy.max() <= 1 and 0.1 < np.abs(noisy - clean).mean() < 0.25
    np.testing.assert_array_equal(pool.features[20:], noisy * 16)


def test_monotonicity_is_spearmans_of_what_gets_worse():
    at = [0.0, 0.1, 0.2, 0.3]
    assert monotonicity(at, [1.0, 2.0, 30.0, 400.0]) == 1 == monotonicity(at, [4.0, 3.0, 2.0, 1.0], -1)
    assert monotonicity(at, [1.0, 2.0, 3.0, 4.0], -1) == -1 and monotonicity(at, [5.0] * 4) == 0
    # ranks 2 1 3 4: 1 - 6 * 2 / (4 * 15)
    assert monotonicity(at, [2.0, 1.0, 3.0, 4.0]) == pytest.approx(0.8)


def test_a_fault_is_detected_at_two_standard_deviations_in_its_direction():
    none = np.array([-1.0, 1.0])  # of variance 2, the difference of standard deviation 2
    assert detects(none, none + 4.1) and not detects(none, none + 3.9)
    assert not detects(none, none + 4.1, worse=-1) and detects(none, none - 4.1, worse=-1)


def test_needed_is_the_size_from_which_on_all_tell():
    assert needed({100: True, 200: False, 500: True, 1000: True}) == 500
    assert needed({100: True, 200: False}) is None and needed({200: True, 100: True}) == 100


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`draws` must be at least 2"):
        check_ranges(MetricStudy(extractor=tmp_path, draws=1))
    with pytest.raises(ValueError, match="must have labels and grey levels, got 'two_moons'"):
        metric_study.study(MetricStudy(extractor=tmp_path, data="two_moons"))
    with pytest.raises(ValueError, match="`samples` must be at most half of 1797 examples, got 1000"):
        metric_study.study(MetricStudy(extractor=tmp_path, samples=1000))
    with pytest.raises(ValueError, match="got 'lost'"):
        draw("lost", 0.5, LABEL, NEAREST, 10, np.random.default_rng(0))
    monkeypatch.setattr(metric_study, "load_extractor", lambda folder: types.SimpleNamespace(name="none"))
    with pytest.raises(ValueError, match=r"`only` must name rows of .*, got \['lost'\]"):
        metric_study.study(MetricStudy(extractor=tmp_path, only=("lost",), runs=tmp_path))


@pytest.mark.slow
def test_a_small_run_leaves_table_figures_and_pictures(tmp_path, monkeypatch):
    """With features that are pixels, and classes that are the rows' brightest quarters."""

    def quarters(x):
        return x.reshape(len(x), 2, 4, 2, 4).mean((2, 4)).reshape(len(x), 4).astype(np.float32)

    extractor = types.SimpleNamespace(features=quarters, logits=quarters, name="quarters")
    monkeypatch.setattr(metric_study, "load_extractor", lambda folder: extractor)
    monkeypatch.setattr(metric_study, "STRENGTHS", (0.0, 0.3, 0.9))
    config = MetricStudy(extractor=tmp_path, samples=20, sizes=(20,), draws=2, only=("dropped", "mixed"), runs=tmp_path)
    table = metric_study.study(config).splitlines()
    folder = tmp_path / "digits"
    assert {file.name for file in folder.iterdir()} == {
        "table.md",
        "dropped.json",
        "mixed.json",
        "dropped.png",
        "mixed.png",
    }
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:-2]]
    # 11 metrics of features and classes, three of pixels, of which there are more than rows
    assert len(rows) == 14 * 2 and "quarters" in table[-1]
    found = {
        (metric, fault): (float(grows), float(none), float(most)) for metric, fault, grows, _, none, _, most in rows
    }
    grows, none, most = found["wasserstein_exact of pixels", "mixed"]
    assert grows == 1 and most > none > 0
    assert found["recall of features", "dropped"][2] < found["recall of features", "dropped"][1]
    assert np.isfinite(np.array(list(found.values()))).all()
