"""DiscoGAN's experiment and study, apart from training: domains, networks, metrics of known translations, tables."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.studies import disco_gan as study
from experiments.translation import disco_gan
from experiments.translation.disco_gan import (
    DiscoGANConfig,
    angle_baselines,
    angles,
    build,
    model,
    modes,
    rotated_objects,
)
from jaxgen.data import DataError
from jaxgen.models.translation import Balance, Curriculum
from jaxgen.nets import DiscoGANCritic, DiscoGANGenerator

TOYS = DiscoGANConfig(data="ten_paired_gaussians,ten_gaussians")
CENTERS = {name: np.array(centers) for name, (centers, _) in disco_gan.mixtures(TOYS.data).items()}


@pytest.fixture
def objects(tmp_path):
    """Two objects at eight angles: a bright pixel moves along a row, of the second object in the opposite sense."""
    x = np.zeros((24, 8, 8), np.uint8)
    number, angle = np.repeat([4, 7, 9], 8), np.tile(np.arange(0, 360, 45, dtype=np.uint16), 3)
    x[np.arange(8), 2, np.arange(8)] = 200
    x[np.arange(16, 24), 2, (3 - np.arange(8)) % 8] = 250
    order = np.random.default_rng(0).permutation(24)
    np.savez(tmp_path / "objects.npz", x=x[order], object=number[order], angle_degrees=angle[order])
    return tmp_path / "objects.npz"


def known(judged=("a", "b"), generators=("a", "b"), **methods):
    return SimpleNamespace(model=SimpleNamespace(judged=judged, generators=generators), **methods)


def test_objects_are_domains_with_their_angles(objects):
    splits = DiscoGANConfig(data=str(objects), objects=(9, 4)).open()
    assert splits.train is splits.test and splits.train.levels == {"a": 256, "b": 256}
    head = splits.train.head(8)
    for name, bright in (("a", 250), ("b", 200)):
        assert head[name]["x"].shape == (8, 8, 8, 1) and head[name]["x"].max() == bright
        assert sorted(head[name]["label"]) == list(range(0, 360, 45))
    with pytest.raises(DataError, match=r"`objects` must be among those of objects.npz, \[4, 7, 9\], got \[5\]"):
        rotated_objects(objects, (4, 5))
    with pytest.raises(DataError, match="must be a .npz file with 'x', 'object' and 'angle_degrees'"):
        rotated_objects(objects.parent / "none.npz", (4, 9))


@pytest.mark.parametrize("sector, kept", [
    ((90, 225), [90, 135, 180, 225]), ((300, 45), [0, 45, 315]), ((0, 360), [*range(0, 360, 45)])
])
def test_a_sector_keeps_the_views_between_two_angles(objects, sector, kept):
    test = DiscoGANConfig(data=str(objects), objects=(4, 7), sector=sector).open().test
    for source in test.sources.values():
        assert sorted(source.arrays["label"]) == kept and len(source.arrays["x"]) == len(kept)
    with pytest.raises(DataError, match="no views of objects"):
        rotated_objects(objects, (4, 7), (10, 40))
    with pytest.raises(ValueError, match="`sector` needs `objects`"):
        DiscoGANConfig(sector=sector).check()
    relative = DiscoGANConfig(data=objects.name, data_dir=str(objects.parent), objects=(4, 7))
    assert len(relative.open().test.sources["a"]) == 8


def test_unrelated_angles_agree_more_in_a_sector(objects):
    """E exp(i d) of two independent angles in a sector of width w has the length (sin(w / 2) / (w / 2))^2."""
    whole, half = (
        angle_baselines(DiscoGANConfig(data=str(objects), objects=(4, 9), sector=sector).open().test)
        for sector in (None, (0, 135))
    )
    assert whole["untranslated, angle_correlation_b"] == pytest.approx(1, abs=1e-5)
    mean = abs(np.exp(1j * np.deg2rad([0, 45, 90, 135])).mean()) ** 2
    assert whole["unrelated, angle_correlation"] < mean < half["unrelated, angle_correlation"] < mean + 0.3


def test_angles_of_the_nearest_images_agree_with_the_inputs(objects):
    test = DiscoGANConfig(data=str(objects), objects=(4, 9)).open().test
    # the bright pixel of both objects is at the same place at angles that turn in opposite senses
    untranslated = angles(test)
    assert untranslated["angle_correlation_b"] == pytest.approx(1, abs=1e-5)
    assert untranslated["angle_error_a"] == pytest.approx(0, abs=0.1)
    # a translation that shows all angles as one
    trained = known(("b",), translate=lambda x, to: np.repeat(x[:1], len(x), 0))
    metrics = angles(test, trained)
    assert set(metrics) == {"angle_correlation_b", "angle_error_b", "axis_correlation_b"}
    assert max(metrics["angle_correlation_b"], metrics["axis_correlation_b"]) < 1e-5
    # front and back confused at every other angle
    x, angle = test.sources["a"].arrays["x"], test.sources["a"].arrays["label"]
    turned = [int(np.flatnonzero(angle == (t + 180 * (i % 2)) % 360)[0]) for i, t in enumerate(angle)]
    metrics = angles(test, known(("b",), translate=lambda _, to: x[turned]))
    assert metrics["axis_correlation_b"] == pytest.approx(1, abs=1e-5) and metrics["angle_correlation_b"] < 0.8


def test_modes_of_known_translations():
    data, test = TOYS.data, TOYS.open().test
    standard = {name: std for name, (_, std) in disco_gan.mixtures(data).items()}

    def translate(x, to):
        """To b each mode of a to its own, the pairs in order; to a all of b to the first mode."""
        origin = "a" if to == "b" else "b"
        mode = ((x[:, None] - CENTERS[origin]) ** 2).sum(-1).argmin(1)
        noise = (x - CENTERS[origin][mode]) / standard[origin] * standard[to]
        return CENTERS[to][mode if to == "b" else np.zeros_like(mode)] + noise

    metrics = modes(data, test, known(translate=translate, reconstruct=lambda x, domain: x + (0.3, 0.4)))
    assert (metrics["modes_b"], metrics["collisions_b"]) == (10, 0)
    assert (metrics["modes_a"], metrics["collisions_a"]) == (1, 45)
    assert metrics["high_quality_b"] == pytest.approx(1 - np.exp(-4.5), abs=0.005)
    assert metrics["distance_a"] == metrics["distance_b"] == pytest.approx(0.5, rel=1e-4)
    one_way = modes(data, test, known(("b",), ("b",), translate=translate))
    assert set(one_way) == {"modes_b", "high_quality_b", "collisions_b"}


def test_what_is_built(objects):
    points, pair = DiscoGANConfig(), DiscoGANConfig(data=str(objects), objects=(4, 9), game="authors", width=4)
    built = build(points, points.open())
    assert built.model.balance == Balance() and built.model.weight_decay == 1e-4
    assert set(built.plots) == {"translations"}
    gan = model(DiscoGANConfig(arm="gan", weight_decay=0.0), points.open())
    assert gan.judged == ("b",) and gan.reconstructed == () and gan.weight_decay == 0
    authors = build(pair, pair.open())
    # the rate changes within the run
    assert authors.model.balance == Curriculum(steps=2_000) and authors.model.critic_every == 3
    long = model(DiscoGANConfig(data=str(objects), objects=(4, 9), game="authors", steps=100_000), pair.open())
    assert long.balance == Curriculum()
    assert authors.model.weight_decay == 1e-5
    # images of 8 pixels are halved once
    assert authors.model.to_b == DiscoGANGenerator((4,)) and authors.model.critic_a == DiscoGANCritic((4,))
    assert authors.baselines["untranslated, angle_correlation_b"] == pytest.approx(1, abs=1e-5)


def test_the_study_is_a_table_of_means_and_errors_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "fit_seeds", None)
    config = study.Arms(steps=4, seeds=2, batch_size=5, width=3, runs=tmp_path, only=("gan, 5 to 10",))
    settings = {"steps": 4, "seeds": 2, "batch_size": 5, "width": 3}
    for arm, more in (("gan", {}), ("discogan", {"distance_a": [0.1, 0.2]})):
        metrics = {"modes_b": [5, 6], "collisions_b": [1, 1], "high_quality_b": [0.5, 0.7], **more}
        row = {"settings": settings, "result": {**metrics, "training_seconds": 3}}
        (tmp_path / f"{arm}_5_to_10.json").write_text(json.dumps(row))
        points = np.zeros((4, 2), np.float32)
        np.savez(
            tmp_path / f"{arm}_5_to_10.npz", label=np.arange(4), initial=points, translated=points,
            surface=np.linspace(0, 1, 10_000),
        )  # fmt: skip
    head, _, gan, discogan, blank, last = study.study(config).splitlines()
    assert gan.split(" | ") == ["| gan, 5 to 10", "5.5 ± 0.5", "1.0 ± 0.0", "0.600 ± 0.100", "–", "3 |"]
    assert discogan.split(" | ")[4] == "0.150 ± 0.050" and head.count("|") == gan.count("|") and not blank
    assert last == "4 steps of 5, 2 seeds, 3 units a layer."
    assert (tmp_path / "5_to_10.png").stat().st_size > 0 and not (tmp_path / "10_to_10.png").exists()
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [record["system"] for record in records] == ["gan", "discogan"]
    assert records[1]["test"]["distance_a"] == pytest.approx(0.15) and "distance_a" not in records[0]["test"]
    with pytest.raises(ValueError, match="has settings"):
        study.study(study.Arms(steps=5, seeds=2, batch_size=5, width=3, runs=tmp_path))
