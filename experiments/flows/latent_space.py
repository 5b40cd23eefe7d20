"""What the latents of an image flow know of classes that it was never shown.

RealNVP trained without labels. Test images are moved along an attribute vector (Kingma and Dhariwal 2018, section 5,
figure 6), the mean latent of one class minus that of another on training images, and a classifier of scikit-learn,
fitted to the training images, says which class the decoded image is of. A classifier does not ask whether an image
looks real: the distance to the nearest training image of the class aimed at tells that. The same edits of pixels stand
beside. `--conditional` gives the flow the labels: then an image keeps its latents and changes its class. The pictures
are interpolations, edits and samples at several temperatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.flows import real_nvp
from experiments.likelihood import image_shape
from experiments.shell import Experiment, main
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.models.flows import latents
from jaxgen.training import TrainedModel

CLASSIFIER_ROWS = 10_000
"""Training images that the classifier and the attribute vectors see at the most."""
STRENGTHS = (0.5, 1.0, 1.5)
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SAMPLES = 1000
COLUMNS = 11


@dataclass(frozen=True, kw_only=True)
class LatentSpaceConfig(real_nvp.RealNVPConfig):
    edits: int = 200
    """Test images that are edited, each towards every other class."""


class Judge:
    """A classifier of images, and the images that it was fitted to."""

    def __init__(self, train: Mapping[str, np.ndarray], levels: int):
        from sklearn.svm import SVC

        self.levels, self.x, self.label = levels, self._flat(train["x"], levels), train["label"]
        self.classifier = SVC().fit(self.x, self.label)

    @staticmethod
    def _flat(x: Any, levels: int) -> np.ndarray:
        return np.asarray(x, np.float32).reshape(len(x), -1) / (levels - 1)

    def figures(self, what: str, x: Any, label: np.ndarray) -> dict[str, float]:
        """The share of images that are seen as of these classes, and the mean distance to the nearest training image.

        The distance is Euclidean, in units of the range of grey levels, to images of the class in question.
        """
        from sklearn.metrics import pairwise_distances_argmin_min

        x = self._flat(x, self.levels)
        far = np.zeros(len(x))
        for c in np.unique(label):
            far[label == c] = pairwise_distances_argmin_min(x[label == c], self.x[self.label == c])[1]
        return {
            f"{what}: share of the class aimed at": float(np.mean(self.classifier.predict(x) == label)),
            f"{what}: distance to that class": float(far.mean()),
        }


def build(config: LatentSpaceConfig, data: Splits) -> Experiment:
    _, levels = image_shape(config, data)
    train, test, classes = data.train.head(CLASSIFIER_ROWS), data.test.head(config.edits), data.train.classes
    if "label" not in train or classes is None or set(train["label"].tolist()) != set(range(classes)):
        raise ValueError(f"data={config.data!r}: training images with labels of {classes} classes are needed")
    key = jax.random.key(config.seed)
    judge, one_hot = Judge(train, levels), np.eye(classes, dtype=np.float32)
    of_class = [train["x"][train["label"] == c] for c in range(classes)]
    # every test image with every class that it is not of
    index, aim = np.nonzero(np.arange(classes) != test["label"][:, None])
    x, own = test["x"][index], test["label"][index]
    # the first image of each class, with the next class
    shown = [int(np.flatnonzero((own == c) & (aim == (c + 1) % classes))[0]) for c in np.unique(own)]
    between = [f"{own[i]} to {aim[i]}" for i in shown]

    def vectors(bound: TrainedModel) -> jax.Array:
        """The attribute vector of each row of x."""
        means = jnp.stack([latents.mean_latent(bound, images, key) for images in of_class])
        return means[aim] - means[own]

    def report(bound: TrainedModel) -> Mapping[str, float]:
        if config.conditional:
            edited = latents.transfer(bound, bound, x, key, one_hot[own], one_hot[aim])
            label = np.arange(SAMPLES) % classes
            samples = bound.sample(jax.random.fold_in(key, 1), SAMPLES, one_hot[label])
            return judge.figures("edits by context", edited, aim) | judge.figures("samples of a class", samples, label)
        along, figures = vectors(bound), {}
        for strength in STRENGTHS:
            figures |= judge.figures(f"edits, strength {strength}", latents.edit(bound, x, along, strength, key), aim)
        return figures

    def without_a_flow() -> Mapping[str, float]:
        figures = judge.figures("test images", test["x"], test["label"]) | judge.figures("no edits", x, aim)
        means = np.stack([images.mean(0) for images in of_class])
        for strength in STRENGTHS:
            pixels = np.clip(np.rint(x + strength * (means[aim] - means[own])), 0, levels - 1)
            figures |= judge.figures(f"edits of pixels, strength {strength}", pixels, aim)
        return figures

    def edits(bound: TrainedModel) -> Any:
        if config.conditional:
            names, title = [str(own[i]) for i in shown], "the first image's latents under every class"
            a, context = x[shown], one_hot[own[shown]]
            columns = [a, *(latents.transfer(bound, bound, a, key, context, one_hot[[c]]) for c in range(classes))]
        else:
            names, title = between, "along the attribute vector, strength 0 to 1.5"
            along = vectors(bound)[np.asarray(shown)]
            columns = [latents.edit(bound, x[shown], along, s, key) for s in np.linspace(0, 1.5, COLUMNS)]
        return plotting.rows(dict(zip(names, np.stack(columns, 1), strict=True)), title)

    def interpolations(bound: TrainedModel) -> Any:
        a = x[shown]
        # a conditional flow goes on with the class of the first image
        context = one_hot[own[shown]] if config.conditional else None
        path = latents.interpolate(bound, a, np.roll(a, -1, 0), COLUMNS, key, context)
        return plotting.rows(dict(zip(between, np.swapaxes(path, 0, 1), strict=True)), "on the line between two latents")

    def temperatures(bound: TrainedModel) -> Any:
        n = 2 * classes
        context = one_hot[np.arange(n) % classes] if config.conditional else None
        drawn = {str(t): bound.sample(key, n, context, t) for t in TEMPERATURES}
        return plotting.rows(drawn, "samples by temperature, the same noise in each column")

    experiment = real_nvp.build(config, data)
    return experiment._replace(
        report=report,
        baselines={**experiment.baselines, **without_a_flow()},
        pictures={"interpolations": interpolations, "edits": edits, "temperatures": temperatures},
    )


if __name__ == "__main__":
    main(LatentSpaceConfig, build)
