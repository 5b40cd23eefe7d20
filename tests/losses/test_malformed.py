"""Losses of arguments that are malformed, and of well-formed ones in other types."""

import functools
import inspect
import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import losses
from jaxgen.losses import F_DIVERGENCES, Aggregate, Decomposition
from tests.malformed import examples, outcome, refused

KEY = jax.random.key(0)
SIZES = {"B": 3, "R": 3, "K": 3, "M": 3, "N": 3, "L": 2, "D": 2, "F": 2}
KL = F_DIVERGENCES["kl"]
ANY = "any"
INTEGERS = "integers"
TINY = math.ulp(0.0)


def critic(x):
    return (x**2).sum(tuple(range(1, x.ndim)))


def of_parts(log_likelihood, mutual_information, total_correlation, dimension_wise_kl):
    parts = Decomposition(mutual_information, total_correlation, dimension_wise_kl)
    return losses.negative_decomposed_elbo(log_likelihood, parts)


def of_aggregate(log_posterior, joint, marginals, kl):
    return losses.decompose(log_posterior, Aggregate(joint, marginals), kl)


def of_feature_distance(a, b):
    return losses.feature_distance({"layer": a}, {"layer": b})


def of_moment_style_loss(a, b):
    return losses.moment_style_loss({"layer": a}, {"layer": b})


def of_gram_style_loss(a, b):
    return losses.gram_style_loss({"layer": a}, {"layer": b})


def of_layer_scales(features):
    return losses.layer_scales({"layer": features})


def of_unit_feature_distance(a, b):
    return losses.unit_feature_distance({"layer": a}, {"layer": b})


def of_layers(real, fake):
    return losses.layerwise_feature_matching([real], [fake])


# Of each loss its arguments: axes, or ANY of them; of integers after INTEGERS.
ARGUMENTS = {
    losses.adaptive_weight: {"of_reference": "B ...", "of_loss": "B ...", "epsilon": 0.5, "greatest": 2.0},
    losses.boundary_seeking_generator: {"fake": ANY},
    losses.hinge_critic: {"real": ANY, "fake": ANY},
    losses.hinge_generator: {"fake": ANY},
    losses.importance_weighted_generator: {"fake": "B"},
    losses.least_squares_critic: {"real": ANY, "fake": ANY},
    losses.least_squares_generator: {"fake": ANY},
    losses.minimax_generator: {"fake": ANY},
    losses.non_saturating_discriminator: {"real": ANY, "fake": ANY},
    losses.non_saturating_generator: {"fake": ANY},
    losses.wasserstein_critic: {"real": ANY, "fake": ANY},
    losses.wasserstein_generator: {"fake": ANY},
    losses.bottleneck: {"kl": "B", "beta": 1.0, "information": 0.5},
    losses.categorical_information: {"logits": "B K", "codes": f"{INTEGERS} B"},
    losses.class_loss: {"logits": "B K", "labels": f"{INTEGERS} B"},
    losses.feature_matching: {"real_features": "B ...", "fake_features": "B ..."},
    losses.moment_matching: {"real": "B ...", "fake": "B ..."},
    losses.next_dual: {"kl": "B", "beta": 1.0, "information": 0.5, "rate": 0.1},
    losses.normal_information: {"mean": "B D", "log_variance": "B D", "codes": "B D"},
    losses.capacity: {"kl": "B", "target": 1.0},
    losses.kl_between_categoricals: {"logits": "B ...", "other_logits": "B ..."},
    losses.kl_between_full_normals: {
        "mean": "B D",
        "factor": "B D D",
        "other_mean": "B D",
        "other_factor": "B D D",
    },
    losses.kl_by_samples: {"log_q": "K B", "log_p": "K B"},
    losses.doubly_reparameterized_bound: {"log_weights": "K B", "path_log_weights": "K B"},
    losses.elbo: {"log_likelihood": "B", "kl": "B"},
    losses.free_bits: {"kl_per_dimension": "B L", "threshold": 0.1},
    losses.importance_weighted_bound: {"log_weights": "K B"},
    losses.kl_between_normals: {
        "mean": "B ...",
        "log_variance": "B ...",
        "other_mean": "B ...",
        "other_log_variance": "B ...",
    },
    losses.kl_per_dimension: {"mean": "B ...", "log_variance": "B ...", "other_mean": "B ..."},
    losses.kl_to_standard_normal: {"mean": "B ...", "log_variance": "B ..."},
    losses.mean_log_weight: {"log_weights": "K B"},
    losses.negative_elbo: {"log_likelihood": "B", "kl": "B"},
    losses.convergence_measure: {"real": "B", "fake": "R"},
    losses.energy_critic: {"real": "B", "fake": "R", "margin": 1.0},
    losses.energy_generator: {"fake": "B"},
    losses.equilibrium_critic: {"real": "B", "fake": "R", "k": 0.5},
    losses.next_equilibrium: {"real": "B", "fake": "R", "k": 0.5},
    losses.pulling_away: {"features": "N F"},
    losses.f_gan_critic: {"real": ANY, "fake": ANY, "divergence": KL},
    losses.f_gan_generator: {"fake": ANY, "divergence": KL},
    losses.bits_per_dim: {"log_prob": ANY, "dims": 4},
    losses.negative_log_likelihood: {"log_prob": "B"},
    losses.consistency_penalty: {"outputs": "B ...", "changed": "B ..."},
    losses.next_path_length: {"target": 1.0, "lengths": "B"},
    losses.path_length_penalty: {"lengths": "B", "target": 1.0},
    losses.path_lengths: {
        "synthesize": lambda w: w[:, :2, :, None] * jnp.ones(2),
        "styles": "B K W",
        "directions": "B H V C",
    },
    losses.dragan_points: {"real": ANY, "key": KEY},
    losses.gradient_norm: {"x": ANY, "critic": critic},
    losses.gradient_penalty: {"real": "B ...", "fake": "B ...", "key": KEY, "critic": critic},
    losses.interpolate: {"real": "B ...", "fake": "B ...", "key": KEY},
    losses.norm_penalty: {"norms": "B"},
    losses.orthonormality: {"jacobian": "B D N"},
    losses.pixel_gradient_penalty: {"real": "B H W C", "fake": "B H W C", "key": KEY, "patches": critic},
    losses.proximal: {"new": "B ...", "old": "B ..."},
    losses.squared_slopes: {"x": ANY, "critic": critic},
    losses.zero_centred_penalty: {"x": ANY, "critic": critic},
    losses.covariance_matrix: {"features": "B H W C"},
    losses.gram_matrix: {"features": "B H W C"},
    losses.spatial_moments: {"features": "B H W C"},
    of_layers: {"real": "B ...", "fake": "R ..."},
    of_feature_distance: {"a": "B ...", "b": "B ..."},
    of_gram_style_loss: {"a": "B H W C", "b": "B H W C"},
    of_layer_scales: {"features": ANY},
    of_moment_style_loss: {"a": "B H W C", "b": "B H W C"},
    of_unit_feature_distance: {"a": "B ...", "b": "B ..."},
    losses.with_gradient: {"value": 1.0, "x": "B ...", "gradient": "B ..."},
    losses.k_plus_one_labelled: {"logits": "B K", "labels": f"{INTEGERS} B"},
    losses.k_plus_one_unlabelled: {"real_logits": "B K", "fake_logits": "R K"},
    losses.marginal_bound: {"log_classes": "B K", "bounds": "B K"},
    losses.boundary_seeking: {"log_probs": "M B", "logits": "M B"},
    losses.effective_sample_size: {"logits": ANY},
    losses.maligan: {"log_probs": "B", "logits": "B", "baseline": 0.5},
    losses.normalized_weights: {"logits": ANY},
    losses.policy_gradient: {"log_probs": "B T", "rewards": "B T", "mask": "B T", "baseline": 0.5},
    losses.policy_gradient_terms: {"log_probs": "B T", "rewards": "B T", "mask": "B T", "baseline": 0.5},
    losses.sequence_log_probs: {"log_probs": "B T", "mask": "B T"},
    losses.teacher_forcing: {"log_probs": "B T", "mask": "B T"},
    of_aggregate: {"log_posterior": "B", "joint": "B", "marginals": "B L", "kl": "B"},
    losses.minibatch_stratified: {"log_density": "B B L", "dataset_size": 9},
    losses.minibatch_weighted: {"log_density": "B B L", "dataset_size": 9},
    of_parts: {
        "log_likelihood": "B",
        "mutual_information": "B",
        "total_correlation": "B",
        "dimension_wise_kl": "B",
    },
    losses.pairwise_log_density: {"z": "B L", "mean": "B L", "log_variance": "B L"},
    losses.averaged_codebook: {"counts": "K", "sums": "K D"},
    losses.codebook_loss: {"z_e": "B ...", "e": "B ..."},
    losses.commitment_loss: {"z_e": "B ...", "e": "B ..."},
    losses.k_means: {"points": "N D", "key": KEY, "k": 2, "iterations": 1},
    losses.nearest_codes: {"z_e": "B D", "codebook": "K D"},
    losses.perplexity: {"counts": "K"},
    losses.restart_dead_codes: {"counts": "K", "sums": "K D", "z_e": "B D", "key": KEY},
    losses.straight_through: {"z_e": "B ...", "e": "B ..."},
    losses.update_averages: {"counts": "K", "sums": "K D", "z_e": "B D", "codes": f"{INTEGERS} B"},
}
# neither of arrays nor a loss
OTHERS = {
    "clip_weights", "cyclical", "warm_up", "decompose", "negative_decomposed_elbo", "feature_distance",
    "layerwise_feature_matching", "match_class_means", "no_averages", "averaged_means",
    "gram_style_loss", "layer_scales", "moment_style_loss", "unit_feature_distance",
}  # fmt: skip


def test_every_loss_is_tried():
    functions = {name for name, thing in vars(losses).items() if inspect.isfunction(thing)}
    assert (
        functions == {function.__name__ for function in ARGUMENTS if not function.__name__.startswith("of_")} | OTHERS
    )


def axes_of(kind):
    if kind == ANY:
        return (SIZES["B"], 2)
    return tuple(SIZES.get(axis, 2) for axis in kind.removeprefix(INTEGERS).split())


def is_array(kind):
    return isinstance(kind, str)


def well_formed(function, dtype=np.float32):
    """Small whole numbers, which every type holds."""
    rng = np.random.default_rng(0)
    given = {}
    for name, kind in ARGUMENTS[function].items():
        if not is_array(kind):
            given[name] = kind
        elif kind.startswith(INTEGERS):
            given[name] = rng.integers(0, 2, axes_of(kind)).astype(np.int32)
        else:
            given[name] = rng.integers(1, 4, axes_of(kind)).astype(dtype)
            if "factor" in name:
                given[name] = np.broadcast_to(np.eye(2), axes_of(kind)).astype(dtype)
    return given


ANY_ARRAY = [(f, name) for f, kinds in ARGUMENTS.items() for name, kind in kinds.items() if is_array(kind)]
NO_NUMBERS = {
    "words": np.array(["a", "b", "c"]),
    "objects": np.array([{}, {}, {}]),
    "complex": np.ones(3, complex),
    "dates": np.array(["2020-01-01"] * 3, "datetime64[D]"),
    "ragged": [[1.0], [1.0, 2.0], [3.0]],
    "none": None,
    "a key": KEY,
    "a function": critic,
    "a mapping": {"x": 1.0},
}


@examples(150)
@hypothesis.given(st.sampled_from(ANY_ARRAY), st.sampled_from(sorted(NO_NUMBERS)))
def test_what_is_no_array_of_numbers_is_named(where, kind):
    function, name = where
    hypothesis.assume((name, kind) != ("mask", "none"))  # no mask
    refused(lambda: jax.eval_shape(lambda: function(**{**well_formed(function), name: NO_NUMBERS[kind]})), name)


@examples(200)
@hypothesis.given(st.sampled_from(ANY_ARRAY), st.sampled_from(["column", "row", "scalar", "longer", "short", "empty"]))
def test_other_shapes_are_refused_before_they_broadcast(where, change):
    function, name = where
    given, kind = well_formed(function), ARGUMENTS[where[0]][name]
    value = given[name]
    given[name] = {
        "column": lambda: value[..., None],
        "row": lambda: value[None],
        "scalar": lambda: value.flat[0],
        "longer": lambda: np.concatenate([value, value[:1]]),
        "short": lambda: value[:1],
        "empty": lambda: value[:0],
    }[change]()
    shapes, said = outcome(lambda: jax.eval_shape(lambda: function(**given)))
    if said is not None:
        assert any(other in said for other in given), said
        return
    # a batch of any size, or any shape at all
    alone = sum(is_array(other) for other in ARGUMENTS[function].values()) == 1
    assert change != "empty" and (
        kind == ANY
        or (alone and change in ("longer", "short") and kind.split()[0] not in kind.split()[1:])
        or (change in ("longer", "short") and function in UNEQUAL)
        or (change == "row" and (function, name) in PLACES)
        or (name in ("other_mean", "other_log_variance") and change == "scalar")
    ), shapes


# whose arguments may have batches of different sizes
UNEQUAL = {
    losses.convergence_measure,
    losses.energy_critic,
    losses.equilibrium_critic,
    losses.next_equilibrium,
    losses.feature_matching, losses.moment_matching, of_layers,
    losses.k_plus_one_unlabelled,
    losses.nearest_codes,
    losses.restart_dead_codes,
}
# [..., D], a vector at each place
PLACES = {(losses.restart_dead_codes, "z_e"), (losses.nearest_codes, "z_e")}

TYPES = {
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": jnp.bfloat16,
    "int32": np.int32,
    "uint8": np.uint8,
}


@examples(100)
@hypothesis.given(st.sampled_from(list(ARGUMENTS)), st.sampled_from(list(TYPES)))
def test_other_types_of_numbers_are_taken(function, kind):
    plain = jax.eval_shape(lambda: function(**well_formed(function)))
    got = jax.eval_shape(lambda: function(**well_formed(function, TYPES[kind])))
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, got)


@functools.cache
def plain_answer(function):
    return jax.tree.leaves(function(**well_formed(function)))


# a few operations each: what costs is to compile them
CHEAP = [
    function
    for function in ARGUMENTS
    if function
    not in {losses.k_means, losses.kl_between_full_normals}
    | {
        losses.nearest_codes,
        losses.restart_dead_codes,
        losses.update_averages,
        losses.gradient_penalty,
        losses.pixel_gradient_penalty,
        losses.minibatch_stratified,
        losses.minibatch_weighted,
        losses.dragan_points,
        losses.interpolate,
        losses.gradient_norm,
        losses.squared_slopes,
        losses.zero_centred_penalty,
    }
]


@pytest.mark.slow
@examples(25)
@hypothesis.given(st.sampled_from(CHEAP), st.sampled_from([*TYPES, "lists", "jax"]))
def test_other_types_of_numbers_are_the_same_numbers(function, kind):
    plain = plain_answer(function)
    given = well_formed(function, TYPES.get(kind, np.float32))
    if kind in ("lists", "jax"):
        change = np.ndarray.tolist if kind == "lists" else jnp.asarray
        given = {name: change(v) if isinstance(v, np.ndarray) else v for name, v in given.items()}
    got = jax.tree.leaves(function(**given))
    few = kind in ("float16", "bfloat16")
    for a, b in zip(plain, got, strict=True):
        assert a.shape == b.shape and np.isfinite(np.asarray(b, np.float32)).all()
        np.testing.assert_allclose(np.asarray(b, np.float32), a, rtol=3e-2 if few else 1e-5, atol=5e-2 if few else 1e-5)


NUMBERS = {
    ("steps", lambda v: losses.warm_up(3, v)): (1, math.inf),
    ("steps", lambda v: losses.cyclical(3, v)): (1, math.inf),
    ("rising", lambda v: losses.cyclical(3, 5, rising=v)): (TINY, 1),
    ("weight", lambda v: losses.norm_penalty(np.ones(3), weight=v)): (0, math.inf),
    ("weight", lambda v: losses.gradient_penalty(critic, np.ones((3, 2)), np.ones((3, 2)), KEY, weight=v)): (
        0,
        math.inf,
    ),
    ("weight", lambda v: losses.zero_centred_penalty(critic, np.ones((3, 2)), v)): (0, math.inf),
    ("weight", lambda v: losses.consistency_penalty(np.ones(3), np.ones(3), v)): (0, math.inf),
    ("weight", lambda v: losses.proximal(np.ones(3), np.ones(3), v)): (0, math.inf),
    ("weight", lambda v: losses.capacity(np.ones(3), 1.0, v)): (0, math.inf),
    ("real_label", lambda v: losses.non_saturating_discriminator(np.ones(3), np.ones(3), v)): (0, 1),
    ("dims", lambda v: losses.bits_per_dim(np.ones(3), v)): (1, math.inf),
    ("levels", lambda v: losses.bits_per_dim(np.ones(3), 2, v)): (1, math.inf),
    ("decay", lambda v: losses.update_averages(np.ones(2), np.ones((2, 1)), np.ones((3, 1)), np.zeros(3, int), v)): (
        0,
        1,
    ),
    ("smoothing", lambda v: losses.averaged_codebook(np.ones(2), np.ones((2, 1)), v)): (0, math.inf),
    ("k", lambda v: losses.k_means(KEY, np.ones((3, 1)), v)): (1, math.inf),
    ("bound", lambda v: losses.clip_weights(v)): (TINY, math.inf),
    ("epsilon", lambda v: losses.adaptive_weight(np.ones(3), np.ones(3), v)): (0, math.inf),
    ("greatest", lambda v: losses.adaptive_weight(np.ones(3), np.ones(3), greatest=v)): (0, math.inf),
}


@examples(80)
@hypothesis.given(st.sampled_from(list(NUMBERS)), st.data())
def test_numbers_out_of_range_are_named(where, data):
    name, call = where
    least, most = NUMBERS[where]
    outside = st.one_of(
        st.floats(max_value=least, exclude_max=True, allow_infinity=True),
        st.just(float("nan")),
        *([st.floats(min_value=most, exclude_min=True)] if most < math.inf else []),
    )
    refused(lambda: jax.eval_shape(lambda: call(data.draw(outside))), name)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x,
        lambda x: x.sum(),
        lambda x: x.sum(1, keepdims=True),
        lambda x: x[:-1, 0],
        lambda x: None,
        lambda x: (x[:, 0], x[:, 1]),
        lambda x: x[:, 0] > 0,
        lambda x: jnp.int32(x[:, 0]),
        lambda x: 1.0,
        lambda x: "no",
    ],
)
@pytest.mark.parametrize("penalty", ["squared_slopes", "gradient_norm", "zero_centred_penalty", "gradient_penalty"])
def test_a_critic_that_does_not_score_each_row_is_refused(wrong, penalty):
    x, function = np.ones((3, 2), np.float32), getattr(losses, penalty)
    more = (x, KEY) if penalty == "gradient_penalty" else ()
    refused(lambda: jax.eval_shape(lambda: function(wrong, x, *more)), "critic(x)")


def test_nothing_counted_is_not_nan():
    assert float(losses.perplexity(np.zeros(4))) == 1
