from jaxgen.losses.adversarial import (
    non_saturating_discriminator,
    non_saturating_generator,
    wasserstein_critic,
    wasserstein_generator,
)
from jaxgen.losses.elbo import (
    cyclical,
    elbo,
    free_bits,
    importance_weighted_bound,
    kl_between_normals,
    kl_per_dimension,
    kl_to_standard_normal,
    negative_elbo,
    warm_up,
)
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.losses.penalties import gradient_norm, gradient_penalty, interpolate, norm_penalty
