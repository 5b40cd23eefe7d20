"""Metrics of samples, features and scores: pure functions of arrays."""

from jaxgen.metrics.angles import angle_agreement
from jaxgen.metrics.bigrams import bigram_divergences
from jaxgen.metrics.choice import choice_accuracy
from jaxgen.metrics.classifier_scores import class_histogram_divergence, inception_score, mode_score
from jaxgen.metrics.collapse import distance_ratio
from jaxgen.metrics.corpus import copied_n_grams, copied_sequences, corpus_bleu, distinct_n_grams, perplexity
from jaxgen.metrics.detection import average_precision, best_f1_threshold, precision_recall, roc_auc, roc_curve
from jaxgen.metrics.distances import (
    data_bandwidth,
    frechet_distance,
    frechet_distance_of_moments,
    kernel_distance,
    mmd_squared,
    sample_distances,
    sliced_wasserstein,
    wasserstein_1d,
    wasserstein_exact,
)
from jaxgen.metrics.distortion import psnr
from jaxgen.metrics.latents import active_units, mutual_information, total_correlation
from jaxgen.metrics.modes import (
    majority_modes,
    mixture_metrics,
    mode_collisions,
    mode_coverage,
    reverse_kl_of_modes,
    stacked_modes,
)
from jaxgen.metrics.neighbours import (
    birthday_duplicates,
    density_coverage,
    nearest_distances,
    one_nearest_neighbour,
    precision_recall_of_manifolds,
)
from jaxgen.metrics.oracle import oracle_metrics
from jaxgen.metrics.paths import perceptual_path_length
from jaxgen.metrics.report import SampleMetrics, feature_metrics, measure
from jaxgen.metrics.retrieval import retrieval_accuracy
from jaxgen.metrics.segmentation import nearest_colours, segmentation_scores
from jaxgen.metrics.sentence_bleu import sentence_bleu
from jaxgen.metrics.sequences import bleu, n_gram_jensen_shannon, self_bleu
from jaxgen.metrics.sharpness import laplacian_energy
from jaxgen.metrics.single_image import pixel_diversity, position_frechet_distances
from jaxgen.metrics.time_series import autocorrelation, autocorrelation_error, nearest_training_ratio

__all__ = [
    "SampleMetrics", "active_units", "angle_agreement", "autocorrelation", "autocorrelation_error", "average_precision",
    "best_f1_threshold", "bigram_divergences", "birthday_duplicates", "bleu", "choice_accuracy",
    "class_histogram_divergence", "copied_n_grams", "copied_sequences", "corpus_bleu", "data_bandwidth",
    "density_coverage", "distance_ratio", "distinct_n_grams", "feature_metrics", "frechet_distance",
    "frechet_distance_of_moments", "inception_score", "kernel_distance", "laplacian_energy", "majority_modes",
    "measure", "mixture_metrics", "mmd_squared", "mode_collisions", "mode_coverage", "mode_score", "mutual_information",
    "n_gram_jensen_shannon", "nearest_colours", "nearest_distances", "nearest_training_ratio", "one_nearest_neighbour",
    "oracle_metrics", "perceptual_path_length", "perplexity", "pixel_diversity", "position_frechet_distances",
    "precision_recall", "precision_recall_of_manifolds", "psnr", "retrieval_accuracy", "reverse_kl_of_modes", "roc_auc",
    "roc_curve", "sample_distances", "segmentation_scores", "self_bleu", "sentence_bleu", "sliced_wasserstein",
    "stacked_modes", "total_correlation", "wasserstein_1d", "wasserstein_exact",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
