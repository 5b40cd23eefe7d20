"""Pure functions of samples or features that say how close a model came."""

from jaxgen.metrics.detection import average_precision, best_f1_threshold, precision_recall, roc_auc, roc_curve
from jaxgen.metrics.distances import mmd_squared, sample_distances, sliced_wasserstein, wasserstein_1d
from jaxgen.metrics.distortion import psnr
from jaxgen.metrics.latents import active_units, mutual_information, total_correlation
from jaxgen.metrics.modes import mixture_figures, mode_coverage
