"""Losses of the papers: pure functions of arrays, to be minimised."""

from jaxgen.losses.adaptive_weight import adaptive_weight, with_gradient
from jaxgen.losses.adversarial import (
    boundary_seeking_generator,
    f_gan_critic,
    f_gan_generator,
    hinge_critic,
    hinge_generator,
    importance_weighted_generator,
    least_squares_critic,
    least_squares_generator,
    minimax_generator,
    non_saturating_discriminator,
    non_saturating_generator,
    wasserstein_critic,
    wasserstein_generator,
)
from jaxgen.losses.auxiliary import (
    bottleneck,
    categorical_information,
    class_loss,
    feature_matching,
    layerwise_feature_matching,
    moment_matching,
    next_dual,
    normal_information,
)
from jaxgen.losses.clipping import clip_weights
from jaxgen.losses.divergences import capacity, kl_between_categoricals, kl_between_full_normals, kl_by_samples
from jaxgen.losses.elbo import (
    cyclical,
    doubly_reparameterized_bound,
    elbo,
    free_bits,
    importance_weighted_bound,
    kl_between_normals,
    kl_per_dimension,
    kl_to_standard_normal,
    mean_log_weight,
    negative_elbo,
    warm_up,
)
from jaxgen.losses.energies import (
    convergence_measure,
    energy_critic,
    energy_generator,
    equilibrium_critic,
    next_equilibrium,
    pulling_away,
)
from jaxgen.losses.f_divergences import F_DIVERGENCES, Divergence
from jaxgen.losses.feature_means import averaged_means, match_class_means, no_averages
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.losses.path_length import next_path_length, path_length_penalty, path_lengths
from jaxgen.losses.penalties import (
    consistency_penalty,
    dragan_points,
    gradient_norm,
    gradient_penalty,
    interpolate,
    norm_penalty,
    orthonormality,
    pixel_gradient_penalty,
    proximal,
    squared_slopes,
    zero_centred_penalty,
)
from jaxgen.losses.perceptual import (
    Features,
    covariance_matrix,
    feature_distance,
    gram_matrix,
    gram_style_loss,
    layer_scales,
    moment_style_loss,
    spatial_moments,
    unit_feature_distance,
)
from jaxgen.losses.semi_supervised import k_plus_one_labelled, k_plus_one_unlabelled, marginal_bound
from jaxgen.losses.sequences import (
    boundary_seeking,
    effective_sample_size,
    maligan,
    normalized_weights,
    policy_gradient,
    policy_gradient_terms,
    sequence_log_probs,
    teacher_forcing,
)
from jaxgen.losses.total_correlation import (
    Aggregate,
    Decomposition,
    decompose,
    minibatch_stratified,
    minibatch_weighted,
    negative_decomposed_elbo,
    pairwise_log_density,
)
from jaxgen.losses.vector_quantization import (
    averaged_codebook,
    codebook_loss,
    commitment_loss,
    k_means,
    nearest_codes,
    perplexity,
    restart_dead_codes,
    straight_through,
    update_averages,
)

__all__ = [
    "Aggregate", "Decomposition", "Divergence", "F_DIVERGENCES", "Features", "adaptive_weight", "averaged_codebook",
    "averaged_means", "bits_per_dim", "bottleneck", "boundary_seeking", "boundary_seeking_generator", "capacity",
    "categorical_information", "class_loss", "clip_weights", "codebook_loss", "commitment_loss", "consistency_penalty",
    "convergence_measure", "covariance_matrix", "cyclical", "decompose", "doubly_reparameterized_bound",
    "dragan_points", "effective_sample_size", "elbo", "energy_critic", "energy_generator", "equilibrium_critic",
    "f_gan_critic", "f_gan_generator", "feature_distance", "feature_matching", "free_bits", "gradient_norm",
    "gradient_penalty", "gram_matrix", "gram_style_loss", "hinge_critic", "hinge_generator",
    "importance_weighted_bound", "importance_weighted_generator", "interpolate", "k_means", "k_plus_one_labelled",
    "k_plus_one_unlabelled", "kl_between_categoricals", "kl_between_full_normals", "kl_between_normals",
    "kl_by_samples", "kl_per_dimension", "kl_to_standard_normal", "layer_scales", "layerwise_feature_matching",
    "least_squares_critic", "least_squares_generator", "maligan", "marginal_bound", "match_class_means",
    "mean_log_weight", "minibatch_stratified", "minibatch_weighted", "minimax_generator", "moment_matching",
    "moment_style_loss", "nearest_codes", "negative_decomposed_elbo", "negative_elbo", "negative_log_likelihood",
    "next_dual", "next_equilibrium", "next_path_length", "no_averages", "non_saturating_discriminator",
    "non_saturating_generator", "norm_penalty", "normal_information", "normalized_weights", "orthonormality",
    "pairwise_log_density", "path_length_penalty", "path_lengths", "perplexity", "pixel_gradient_penalty",
    "policy_gradient", "policy_gradient_terms", "proximal", "pulling_away", "restart_dead_codes", "sequence_log_probs",
    "spatial_moments", "squared_slopes", "straight_through", "teacher_forcing", "unit_feature_distance",
    "update_averages", "warm_up", "wasserstein_critic", "wasserstein_generator", "with_gradient",
    "zero_centred_penalty",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
