import zlib

import numpy as np
import pytest

from jaxgen.data import NAMED, DataError, images, source, toys

ROWS = 40_000
DIGITS_CRC = [3809021708, 4264442808, 1190159743]
DIGITS_LABELS = [[6, 6, 6, 2, 5], [2, 5, 7, 4, 5], [6, 9, 4, 7, 0]]


def draw(name, seed=7):
    return toys.TOYS[name][0](np.random.default_rng(seed), ROWS)


def test_digits_are_split_as_published():
    splits = source("digits")
    assert [len(part) for part in splits] == [1400, 197, 200]
    for part in splits:
        assert (part.levels, part.num_classes, part.event_shape) == (17, 10, (8, 8, 1))
        assert part.arrays["x"].dtype == np.uint8
    # the rows themselves: their contents in their order
    assert [zlib.crc32(part.arrays["x"].tobytes()) for part in splits] == DIGITS_CRC
    assert [part.arrays["label"][:5].tolist() for part in splits] == DIGITS_LABELS
    assert splits.train.arrays["x"].max() == 16
    assert splits.valid.name == "digits (valid)"


def test_digits_match_scikit_learn_row_by_row():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    splits = source("digits")
    np.testing.assert_array_equal(np.concatenate([part.arrays["x"] for part in splits])[..., 0], bunch.images[order])
    np.testing.assert_array_equal(np.concatenate([part.arrays["label"] for part in splits]), bunch.target[order])


def test_patches_of_different_splits_share_no_pixel(monkeypatch):
    """The photographs are replaced by images whose pixels carry their own number as their colour."""
    import sklearn.datasets

    number = np.arange(2 * 427 * 640, dtype=np.uint32).reshape(2, 427, 640)
    numbered = np.stack([number >> 16, number >> 8 & 255, number & 255], -1).astype(np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.datasets, "load_sample_images", lambda: sklearn.utils.Bunch(images=list(numbered)))
        splits = source("patches")
    seen = []
    for part in splits:
        numbers = part.arrays["x"].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        # each crop is a contiguous window of one photograph, the right way up
        np.testing.assert_array_equal(
            numbers - numbers[:, :1, :1],
            np.broadcast_to(np.add.outer(640 * np.arange(32), np.arange(32)), numbers.shape),
        )
        assert len(np.unique(numbers[:, 0, 0])) == len(part)
        seen.append(np.unique(numbers))
    assert len(np.unique(np.concatenate(seen))) == sum(map(len, seen))
    assert all(len(pixels) > 0.9 * 2 * 427 * width for pixels, width in zip(seen, (448, 96, 96), strict=True))
    assert [len(part) for part in splits] == [5300, 250, 250]


def test_a_low_resolution_is_the_means_of_blocks_in_plus_minus_one():
    x = np.random.default_rng(0).integers(0, 17, (5, 4, 6, 3)).astype(np.uint8)
    low = images.low_resolution(x, 17, 2)
    assert low.shape == (5, 2, 3, 3) and low.dtype == np.float32
    np.testing.assert_allclose(low[4, 1, 0, 2], x[4, 2:, :2, 2].mean() / 8 - 1, rtol=1e-6)
    np.testing.assert_allclose(low.mean((1, 2)), x.mean((1, 2)) / 8 - 1, atol=1e-6)
    assert images.low_resolution(np.full((1, 3, 3, 1), 255, np.uint8), 256, 3) == 1
    for factor, rows in ((1, x), (4, x), (2, x[0])):
        with pytest.raises(DataError, match=f"factor must be >= 2 and divide both sides .*, got {factor}"):
            images.low_resolution(rows, 17, factor)


def test_patches_are_photographs():
    splits = source("patches")
    for part in splits:
        assert part.event_shape == (32, 32, 3) and part.levels == 256 and part.arrays["x"].dtype == np.uint8
        x = part.arrays["x"].astype(float)
        assert x.std() > 30 and np.abs(np.diff(x, axis=2)).mean() < 0.5 * x.std()  # neighbours resemble each other


@pytest.mark.parametrize("name", toys.TOYS)
def test_toys_are_fixed_float32_points_with_independent_splits(name):
    splits, again = source(name), source(name)
    assert [len(part) for part in splits] == [100_000, 10_000, 10_000]
    for part, other in zip(splits, again, strict=True):
        assert part.event_shape == (2,) and part.arrays["x"].dtype == np.float32 and part.levels is None
        np.testing.assert_array_equal(part.arrays["x"], other.arrays["x"])
        assert ("label" in part.arrays) == (part.num_classes is not None)
        if part.num_classes is not None:
            counts = np.bincount(part.arrays["label"], minlength=part.num_classes)
            assert len(counts) == part.num_classes
            np.testing.assert_allclose(counts / len(part), 1 / part.num_classes, atol=0.02)
    rows = np.concatenate([part.arrays["x"] for part in splits])
    assert len(np.unique(rows, axis=0)) > 0.999 * len(rows)
    # six standard errors of a mean of 10,000 rows
    means = np.stack([part.arrays["x"].mean(0) for part in splits])
    assert (np.abs(means[1:] - means[0]) < 0.06 * rows.std(0)).all()


@pytest.mark.parametrize(
    "name, centers, std, radius",
    [
        ("eight_gaussians", toys.GAUSSIANS_8_CENTERS, toys.GAUSSIANS_8_STD, 2 / 1.414),
        ("twenty_five_gaussians", toys.GAUSSIANS_25_CENTERS, toys.GAUSSIANS_25_STD, 4 * 2**0.5 / 2.828),
        ("five_gaussians", toys.FIVE_GAUSSIANS_CENTERS, toys.FIVE_GAUSSIANS_STD, 0.51**-0.5),
        ("ten_gaussians", toys.TEN_GAUSSIANS_CENTERS, toys.TEN_GAUSSIANS_STD, 2 * 2.01**-0.5),
        ("ten_paired_gaussians", toys.TEN_PAIRED_GAUSSIANS_CENTERS, toys.TEN_PAIRED_GAUSSIANS_STD, 2 * 1.26**-0.5),
    ],
)
def test_mixtures_have_their_centres_and_width(name, centers, std, radius):
    batch = draw(name)
    centers = np.array(centers)
    assert np.hypot(*centers.T).max() == pytest.approx(radius) and len(np.unique(centers.round(6), axis=0)) == len(
        centers
    )
    np.testing.assert_allclose(centers.sum(0), 0, atol=1e-12)
    distance = np.linalg.norm(batch["x"][:, None] - centers, axis=-1)
    np.testing.assert_array_equal(distance.argmin(1), batch["label"])
    assert (distance.min(1) < 3 * std).mean() == pytest.approx(1 - np.exp(-4.5), abs=0.002)
    noise = batch["x"] - centers[batch["label"]]
    np.testing.assert_allclose(noise.std(0), std, rtol=0.02)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.02


def test_domains_of_mixtures_are_standardized_and_differ_in_layout():
    for name in ("five_gaussians", "ten_gaussians", "ten_paired_gaussians"):
        x = draw(name)["x"]
        np.testing.assert_allclose(x.mean(0), 0, atol=0.02)
        np.testing.assert_allclose(x.std(0), 1, atol=0.02)
    ring, pairs = (np.array(c) @ [1, 1j] for c in (toys.TEN_GAUSSIANS_CENTERS, toys.TEN_PAIRED_GAUSSIANS_CENTERS))
    # no rotation maps one to the other: other distances from the origin
    assert np.ptp(abs(ring)) < 1e-9 and np.ptp(abs(pairs)) > 0.8


def test_published_set_ups_of_the_mixtures():
    assert toys.GAUSSIANS_8_STD == pytest.approx(0.014144, rel=1e-4)
    assert toys.GAUSSIANS_25_STD == pytest.approx(0.017680, rel=1e-4)
    spacing = np.unique(np.array(toys.GAUSSIANS_25_CENTERS)[:, 0])
    np.testing.assert_allclose(np.diff(spacing), 2 / 2.828)


def test_swiss_roll_is_scikit_learns():
    from sklearn.datasets import make_swiss_roll

    ours = draw("swiss_roll")["x"]
    theirs = make_swiss_roll(ROWS, noise=0.25, random_state=0)[0][:, [0, 2]] / 7.5
    grid = [np.linspace(-2, 2, 17)] * 2
    np.testing.assert_allclose(*(np.histogram2d(*x.T, grid)[0] / ROWS for x in (ours, theirs)), atol=0.005)


def test_two_moons_are_scikit_learns_doubled():
    from sklearn.datasets import make_moons

    ours = draw("two_moons")
    x, label = make_moons(ROWS, noise=0.1, random_state=0)
    theirs = {"x": 2 * x - [1, 0.2], "label": label}
    grid = [np.linspace(-4, 4, 21), np.linspace(-2.5, 2.5, 13)]
    for moon in (0, 1):
        histograms = [np.histogram2d(*toy["x"][toy["label"] == moon].T, grid)[0] / ROWS for toy in (ours, theirs)]
        np.testing.assert_allclose(*histograms, atol=0.005)


def test_checkerboard_fills_eight_squares_evenly():
    batch = draw("checkerboard")
    column, row = np.floor((batch["x"].T + 4) / 2).astype(int)
    assert (batch["x"] >= -4).all() and (batch["x"] <= 4).all()
    assert ((column + row) % 2 == 0).all()
    assert len({*zip(column.tolist(), row.tolist(), batch["label"].tolist(), strict=True)}) == 8
    within = (batch["x"] + 4) / 2 - np.stack([column, row], 1)
    np.testing.assert_allclose(within.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(within.std(0), 12**-0.5, atol=0.01)


def test_rings_have_their_radii():
    batch = draw("rings")
    for ring in range(4):
        x = batch["x"][batch["label"] == ring]
        radius = np.hypot(*x.T)
        assert radius.mean() == pytest.approx(0.75 * (ring + 1), abs=0.01)
        assert radius.std() == pytest.approx(0.08, abs=0.005)
        np.testing.assert_allclose(x.mean(0), 0, atol=0.08)


def test_pinwheel_arms_are_turned_copies_of_each_other():
    batch = draw("pinwheel")
    turned = []
    for arm in range(5):
        x = batch["x"][batch["label"] == arm]
        angle = 2 * np.pi / 5 * arm
        back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned.append(x @ back)  # the arms turn clockwise
        radius = np.hypot(*x.T)
        # along the arm 2 N(1, 0.3), across it 2 N(0, 0.1)
        assert (radius**2).mean() == pytest.approx(4 * (1 + 0.09 + 0.01), rel=0.02)
    for x in turned[1:]:
        np.testing.assert_allclose(x.mean(0), turned[0].mean(0), atol=0.03)
        np.testing.assert_allclose(np.cov(x.T), np.cov(turned[0].T), atol=0.03)
    # the shear: outer points lag behind inner ones by 0.25 e^radius
    inner, outer = (turned[0][np.abs(np.hypot(*turned[0].T) - 2 * r) < 0.1] for r in (0.8, 1.2))
    lag = [np.arctan2(-x[:, 1], x[:, 0]).mean() for x in (inner, outer)]
    np.testing.assert_allclose(lag, [0.25 * np.exp(0.8), 0.25 * np.exp(1.2)], atol=0.02)


@pytest.mark.parametrize(
    "name, near",
    [("digit", "did you mean 'digits'?"), ("two_moon", "did you mean 'two_moons'?"), ("8gaussians", "eight_gaussians")],
)
def test_unknown_names_meet_near_ones(name, near):
    with pytest.raises(DataError) as error:
        source(name)
    message = str(error.value)
    assert message.startswith("`source` must be one of") and f"got {name!r}" in message and near in message
    assert all(known in message for known in NAMED) and "tfds:<name>" in message and ".npz" in message
