from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
