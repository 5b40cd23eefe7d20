"""The zoo: `flows`, `vaes`, `gans`, `hybrids`, `translation`, `sequences`, and the classifier whose features judge
samples."""

from typing import TYPE_CHECKING

from jaxgen.lazy import lazy

if TYPE_CHECKING:
    from jaxgen.models import flows, gans, hybrids, sequences, translation, vaes
    from jaxgen.models.classifier import Classifier

__all__ = ["Classifier", "flows", "gans", "hybrids", "sequences", "translation", "vaes"]
__getattr__, __dir__ = lazy(__name__, __all__, {"Classifier": "jaxgen.models.classifier"})
