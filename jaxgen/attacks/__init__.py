"""Adversarial samples: inputs near given ones that a classifier labels differently, as functions of its logits.

`classifier` maps inputs [B, ...] to logits [B, K], each row a function of its own example only: in evaluation mode,
since batch statistics would couple the examples and dropout would add noise. Inputs are in the classifier's units,
`lower` and `upper` are the limits of these units, and all sizes of perturbations are in the same units. The label to
move away from is by default the predicted one, and `targets` names labels to move towards.

    trained = jaxgen.load(run)  # a `Classifier`, whose inputs are in [-1, 1]
    x = attacks.fgsm(trained.scaled_logits, trained.scaled(x), 0.5, lower=-1.0, upper=1.0)
"""

from jaxgen.attacks.gradient import fgsm, projected_gradient
from jaxgen.attacks.inputs import project
from jaxgen.attacks.local_search import LocalSearch, local_search
from jaxgen.attacks.universal import UniversalPerturbation, deep_fool, fooling_rate, universal_perturbation

__all__ = [
    "LocalSearch", "UniversalPerturbation", "deep_fool", "fgsm", "fooling_rate", "local_search", "project",
    "projected_gradient", "universal_perturbation",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
