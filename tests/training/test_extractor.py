"""A trained classifier as an extractor of features: its name, its hash, and rows of any number."""

import jax
import numpy as np
import pytest

from jaxgen import Settings, fit
from jaxgen.data import ArraySource
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.models.classifier import Classifier
from jaxgen.models.vaes import dense_vae
from jaxgen.nets import MLP
from jaxgen.training import extractor
from jaxgen.training.extractor import SEAL, load_extractor, seal, sha256

RNG = np.random.default_rng(0)
ROWS = ArraySource(
    {"x": RNG.integers(0, 9, (40, 3)).astype(np.uint8), "label": np.arange(40) % 2}, levels=9, num_classes=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "small"
    model, settings = Classifier(MLP((5,)), (3,), num_classes=2, levels=9), Settings(steps=2, batch_size=8)
    seal(out, fit(model, ROWS, settings, out=out, progress=False))
    return out


def test_features_and_logits_of_any_number_of_rows(folder, monkeypatch):
    loaded = load_extractor(folder)
    x = ROWS.head(40)["x"]
    whole = loaded.features(x), loaded.logits(x)
    assert whole[0].shape == (40, 5) and whole[1].shape == (40, 2)
    monkeypatch.setattr(extractor, "ROWS", 16)
    for part, expected in zip((loaded.features(x), loaded.logits(x)), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(whole[0]).sum() > 0


def test_the_name_holds_the_folders_and_the_hash_of_the_variables(folder):
    loaded = load_extractor(folder)
    assert loaded.sha256 == (folder / SEAL).read_text().strip() == load_extractor(folder).sha256
    assert loaded.name == f"small sha256:{loaded.sha256[:16]}" and len(loaded.sha256) == 64
    variables = loaded.trained.variables
    one_more = jax.tree.map(np.array, variables)
    one_more["classifier"]["params"]["head"]["out"]["bias"][0] += 1e-6
    renamed = {"another": variables["classifier"]}
    assert len({loaded.sha256, sha256(one_more), sha256(renamed)}) == 3


def test_other_variables_than_the_sealed_ones_are_refused(folder):
    text = (folder / SEAL).read_text()
    (folder / SEAL).write_text("0" * 64 + "\n")
    with pytest.raises(ValueError, match=SEAL):
        load_extractor(folder)
    (folder / SEAL).write_text(text)


@pytest.mark.slow
def test_a_run_of_another_model_is_refused(tmp_path):
    model, settings = dense_vae((3,), latent_dim=1, widths=(2,), likelihood=Gaussian()), Settings(steps=1, batch_size=4)
    fit(model, np.zeros((20, 3), np.float32), settings, out=tmp_path / "vae", progress=False)
    with pytest.raises(ValueError, match="VAE"):
        load_extractor(tmp_path / "vae")
