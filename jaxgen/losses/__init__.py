from jaxgen.losses.adversarial import (
    non_saturating_discriminator,
    non_saturating_generator,
    wasserstein_critic,
    wasserstein_generator,
)
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
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.losses.penalties import gradient_norm, gradient_penalty, interpolate, norm_penalty
from jaxgen.losses.semi_supervised import marginal_bound
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
