"""GAN compression: the loss against its equation, what it moves, what a student starts from, and the search."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn

import jaxgen
from jaxgen.contracts import Clock, Model
from jaxgen.data import ArraySource, Paired
from jaxgen.models.hybrids import DistilledPix2Pix, multiply_adds, search_channels, taught_by
from jaxgen.models.translation import CycleGAN, Domain, ImagePool, Pix2Pix
from jaxgen.nets import InstanceNorm, PatchCritic, SlimmableTranslator
from jaxgen.training import Settings, fit
from tests.models.parameters import drawn

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
A, B = Domain((8, 8, 1)), Domain((8, 8, 2))
BATCH = {
    name: {"x": RNG.integers(0, 256, (6, *domain.event_shape)).astype(np.uint8)}
    for name, domain in (("a", A), ("b", B))
}
LARGE, SMALL = ((4, 6, 5, 4), (2, 4, 3, 3))
FIELDS = {"a": A, "b": B, "critic": PatchCritic((3, 4), (2, 1), norm=InstanceNorm), "jitter": None}


def network(channels, **fields):
    return SlimmableTranslator(channels, halvings=1, kernel_size=3, **fields)


TEACHER = Pix2Pix(**FIELDS, generator=network(LARGE))
STUDENT = DistilledPix2Pix(**FIELDS, generator=network(SMALL), teacher=network(LARGE), layers=(0, 1))


@pytest.fixture(scope="module")
def variables():
    return drawn(STUDENT, BATCH)


@pytest.fixture(scope="module")
def taught():
    return drawn(TEACHER, BATCH)


def scaled(x):
    return x / np.float32(127.5) - 1


def loss_of(model, variables):
    return jax.jit(lambda v: model.generator_loss(v, BATCH, KEY, Clock()))(variables)


def test_the_loss_is_the_papers(variables):
    assert isinstance(STUDENT, Model) and set(variables) == {"generator", "critic", "teacher", "maps"}
    x, y = scaled(BATCH["a"]["x"]), scaled(BATCH["b"]["x"])

    @jax.jit
    def computed(v):
        fake, stages = STUDENT._staged(STUDENT.generator).apply(v["generator"], x)
        example, teacher_stages = STUDENT._staged(STUDENT.teacher).apply(v["teacher"], x)
        return fake, stages, example, teacher_stages, STUDENT._critic.apply(v["critic"], fake, x)

    fake, stages, example, teacher_stages, scores = computed(variables)
    assert stages[0].shape == (6, 4, 4, 4) and teacher_stages[0].shape == (6, 4, 4, 6)
    distances = []
    for i, (stage, target) in enumerate(zip(stages, teacher_stages, strict=True)):
        weights = variables["maps"]["params"][f"map_{i}"]
        distances.append(((stage @ weights["kernel"][0, 0] + weights["bias"] - target) ** 2).mean().item())
    found = loss_of(STUDENT, variables)
    assert found.metrics["distillation"] == pytest.approx(sum(distances), rel=1e-4)
    l1, fooled = float(np.abs(y - fake).mean()), float(np.logaddexp(0, -scores).mean())
    assert found.value == pytest.approx(fooled + 100 * l1 + sum(distances), rel=1e-4)
    weighted = dataclasses.replace(STUDENT, distillation_weight=3.0, layers=(1,))
    one = {**variables, "maps": {"params": {"map_0": variables["maps"]["params"]["map_1"]}}}
    assert loss_of(weighted, one).value == pytest.approx(fooled + 100 * l1 + 3 * distances[1], rel=1e-4)
    # without pairs, the teacher's translation takes the place of the truth
    unpaired = loss_of(dataclasses.replace(STUDENT, target="teacher"), variables)
    to_teacher = float(np.abs(example - fake).mean())
    assert unpaired.metrics["l1"] == pytest.approx(to_teacher, rel=1e-4) and abs(to_teacher - l1) > 0.01


def test_distillation_moves_the_student_and_the_maps_and_not_the_teacher(variables):
    def distillation(v):
        return STUDENT.generator_loss(v, BATCH, KEY, Clock()).metrics["distillation"]

    grads = jax.jit(jax.grad(distillation))(variables)
    slopes = {player: max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree)) for player, tree in grads.items()}
    assert slopes["generator"] > 1e-3 and slopes["maps"] > 1e-3 and slopes["teacher"] == slopes["critic"] == 0
    plays = STUDENT.plays()
    assert plays["generator"].players == ("generator", "maps") and plays["critic"].players == ("critic",)
    # maps that nothing moves are no players
    alone = dataclasses.replace(STUDENT, distillation_weight=0.0)
    assert alone.plays()["generator"].players == ("generator",)
    assert "distillation" not in loss_of(alone, variables).metrics


@pytest.mark.slow
def test_a_student_starts_from_the_teacher(taught, variables):
    x = BATCH["a"]["x"]
    example = np.int32(jax.jit(lambda v: TEACHER.translate(v, x))(taught))
    same = dataclasses.replace(STUDENT, generator=network(LARGE))
    start = same.start(TEACHER, taught, BATCH)
    complete = {**drawn(same, BATCH), **start}
    assert np.abs(np.int32(same.translate(complete, x)) - example).max() <= 1 < example.std()
    np.testing.assert_array_equal(np.int32(same.teach(complete, x)), example)
    assert start["critic"] is taught["critic"] and "maps" not in start
    assert same.evaluate(complete, BATCH, KEY)["l1_to_teacher"] < 1e-2
    # a smaller one is cut from it, its channels sorted, not the first as they are
    start = STUDENT.start(TEACHER, taught, BATCH)
    assert jax.tree.map(np.shape, start["generator"]) == jax.tree.map(np.shape, variables["generator"])
    kernel = taught["generator"]["params"]["network"]["halving_1"]["kernel"]
    first, halving = (start["generator"]["params"]["network"][name]["kernel"] for name in ("first", "halving_1"))
    important = np.argsort(-np.abs(kernel).sum((0, 1, 3)))[:2]
    np.testing.assert_array_equal(first, taught["generator"]["params"]["network"]["first"]["kernel"][..., important])
    assert np.abs(np.asarray(halving) - kernel[:, :, :2, :4]).max() > 0
    with pytest.raises(ValueError, match="`shapes` must"):
        dataclasses.replace(STUDENT, generator=network((5, 6, 5, 4))).start(TEACHER, taught, BATCH)


@pytest.mark.slow
def test_a_generator_of_a_cycle_gan_is_a_teacher():
    cycle = CycleGAN(
        network(LARGE), FIELDS["critic"], A, B, pool=ImagePool(0), cycle_weight=0.0, identity_weight=0.0, head_size=5
    )
    trained, x = drawn(cycle, BATCH), BATCH["a"]["x"]
    source, taught = taught_by(cycle, trained)
    example = np.int32(jax.jit(lambda v: cycle.translate(v, x))(trained))
    np.testing.assert_array_equal(np.int32(jax.jit(lambda v: source.translate(v, x))(taught)), example)
    # a student as large begins as the teacher, and the critic goes on as it was
    student = dataclasses.replace(
        STUDENT, generator=network(LARGE), target="teacher", head_size=5, head_padding="REFLECT",
        **{name: getattr(source, name) for name in ("critic_condition", "adversarial_loss", "critic_weight")},
    )  # fmt: skip
    complete = {**drawn(student, BATCH), **student.start(source, taught, BATCH)}

    @jax.jit
    def losses(complete, trained):
        both = cycle.critics_loss(trained, BATCH, KEY, Clock())
        return student.critic_loss(complete, BATCH, KEY, Clock()), both, student.evaluate(complete, BATCH, KEY)

    found, both, metrics = losses(complete, trained)
    assert set(metrics) == {"l1_to_teacher"} and metrics["l1_to_teacher"] < 1e-2
    for name in ("real", "fake"):
        assert found.metrics[name] == pytest.approx(both.metrics[f"{name}_b"].item(), rel=1e-3)
    scored = dict(trained["critic_b"])
    assert scored.pop("pool") is not None and taught["critic"].keys() == scored.keys()
    real = cycle.critic.apply(scored, scaled(BATCH["b"]["x"]))
    fake = cycle.critic.apply(scored, scaled(cycle.translate(trained, x).astype(np.float32)))
    assert found.value == pytest.approx(float(((real - 1) ** 2).mean() + (fake**2).mean()) / 2, rel=2e-2)


@pytest.mark.slow
def test_a_cut_network_goes_on_as_the_limited_one(variables):
    choices = tuple((small, large) for small, large in zip(SMALL, LARGE, strict=True))
    largest = dataclasses.replace(STUDENT, generator=network(LARGE, choices=choices))
    whole, x = drawn(largest, BATCH), BATCH["a"]["x"]
    start = STUDENT.start(largest, whole, BATCH)
    assert set(start) == {"generator", "critic", "teacher", "maps"} and start["teacher"] is whole["teacher"]
    limited = np.int32(jax.jit(lambda v: largest.translate_within(v, x, np.int32(SMALL)))(whole))
    assert np.abs(np.int32(STUDENT.translate(start, x)) - limited).max() <= 1 < limited.std()
    assert np.abs(np.int32(largest.translate(whole, x)) - limited).mean() > 1
    # the loss, too, is that of a network with these channels
    fixed = dataclasses.replace(largest, generator=network(LARGE, choices=tuple((n,) for n in SMALL)))
    np.testing.assert_allclose(loss_of(fixed, whole).value, loss_of(STUDENT, start).value, rtol=1e-4)


@pytest.mark.slow
def test_a_run_resumes_and_leaves_the_teacher_as_it_was(taught, tmp_path):
    choices = tuple((1, n) for n in SMALL)
    model = dataclasses.replace(STUDENT, generator=network(SMALL, choices=choices))
    data = Paired({name: ArraySource(part, levels=256) for name, part in BATCH.items()})
    start = model.start(TEACHER, taught, BATCH)
    settings = Settings(steps=5, batch_size=2, steps_per_call=3, checkpoint_every=2, ema=0.5)
    whole = fit(model, data, settings, start=start, progress=False)
    fit(model, data, settings, steps=2, start=start, out=tmp_path, progress=False)
    resumed = fit(model, data, settings, start=start, out=tmp_path, resume=True, progress=False)
    for one, other in zip(jax.tree.leaves(whole.variables), jax.tree.leaves(resumed.variables), strict=True):
        np.testing.assert_array_equal(one, other)
    pairs = zip(jax.tree.leaves(whole.variables["teacher"]), jax.tree.leaves(taught["generator"]), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    for player in ("generator", "critic", "maps"):
        before = start.get(player, model.init(KEY, BATCH)[player])
        pairs = zip(jax.tree.leaves(whole.variables[player]), jax.tree.leaves(before), strict=True)
        assert max(np.abs(np.asarray(one) - other).max() for one, other in pairs) > 0
    x = BATCH["a"]["x"]
    np.testing.assert_array_equal(jaxgen.load(tmp_path).translate(x), whole.translate(x))


def test_networks_that_do_not_fit_are_refused():
    for fields, said in (
        ({"teacher": SlimmableTranslator.uniform(2, 1, 2)}, "`generator` and `teacher` must"),
        ({"layers": (0, 2)}, "`layers` must be from 0 to blocks=1"),
        ({"distillation_weight": -1.0}, "`distillation_weight` must"),
        ({"target": "both"}, "`target` must"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(STUDENT, **fields)


CHOICES = ((1, 2, 3, 4, 5, 6),) * 5


def cost(channels):
    return float(np.dot(channels, channels[1:] + (1,)))


def test_the_search_stays_within_the_budget_and_finds_what_is_best():
    wanted, scored = np.array((6, 1, 5, 2, 3)), []
    budget = cost((6, 1, 5, 2, 3))

    def score(channels):
        scored.append(channels)
        return np.abs(wanted - channels).sum()

    found = search_channels(CHOICES, cost, score, budget, population=30, generations=20)
    assert found[0].channels == tuple(wanted) and found[0].score == 0
    assert all(0.9 * budget <= one.cost == cost(one.channels) <= budget for one in found)
    assert [one.score for one in found] == sorted(one.score for one in found)
    assert len(scored) == len(set(scored)) == len(found)
    assert search_channels(CHOICES, cost, score, budget, population=30, generations=20) == found
    # at as many evaluations, evolution is better than random candidates
    random = search_channels(CHOICES, cost, score, budget, population=200, generations=0)
    evolved = search_channels(CHOICES, cost, score, budget, population=20, generations=9)
    assert len(evolved) <= 200 and evolved[0].score <= random[0].score
    alone = [search_channels(CHOICES, cost, score, budget, i, population=1, generations=0) for i in range(5)]
    assert all(len(one) == 1 for one in alone) and len({one[0].channels for one in alone}) > 1


def test_a_budget_that_nothing_meets_is_refused():
    for budget in (1.0, 1e6):
        with pytest.raises(ValueError, match="`budget` must allow channels"):
            search_channels(CHOICES, cost, lambda channels: 0.0, budget)
    with pytest.raises(ValueError, match="`population` must"):
        search_channels(CHOICES, cost, cost, 30.0, population=0)


def test_multiply_adds_of_layers_have_their_closed_form():
    x = jax.ShapeDtypeStruct((2, 8, 8, 3), np.float32)
    layer = nn.Conv(5, (3, 3), padding="VALID", use_bias=False)
    kernel = jax.eval_shape(layer.init, KEY, x)
    assert multiply_adds(layer.apply, kernel, x) == 2 * 36 * 9 * 3 * 5
    assert multiply_adds(lambda a, b: a @ b, np.zeros((8, 16)), np.zeros((16, 4))) == 8 * 16 * 4
    # of a whole generator: beside the products, normalisations and the like
    wide = SlimmableTranslator.uniform(16, 2, 2)
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    whole = multiply_adds(wide.apply, jax.eval_shape(wide.init, KEY, x), x)
    assert 1 < whole / wide.multiply_adds((32, 32, 3)) < 1.1
