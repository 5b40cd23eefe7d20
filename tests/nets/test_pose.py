"""Heat maps, masks and similarities of limbs, the five steps, and augmentation: drawn limbs and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets import (
    DirectSynthesis,
    LimbSynthesis,
    PoseAugmentation,
    PoseCritic,
    PoseUNet,
    Skeleton,
    limb_masks,
    limb_similarities,
    no_motion,
    pose_maps,
)
from jaxgen.nets.pose_networks import half_size_maps

RNG = np.random.default_rng(0)
SIDE = 32
ARM = Skeleton(("shoulder", "elbow", "hand"), ((0, 1), (1, 2)), ((0, 2),))
BENT = np.array([[[6.0, 5], [6, 15], [16, 15]]], np.float32)
STRAIGHT = np.array([[[6.0, 26], [16, 26], [26, 26]]], np.float32)


def drawn(first, last, radius=2.0, side=SIDE):
    """A limb by distances to its segment: [side, side]."""
    y, x = np.mgrid[:side, :side]
    first, along = np.asarray(first), np.subtract(last, first)
    t = np.clip(((x - first[0]) * along[0] + (y - first[1]) * along[1]) / (along**2).sum(), 0, 1)
    return (np.hypot(x - first[0] - t * along[0], y - first[1] - t * along[1]) < radius).astype(np.float32)


def synthesis(**fields):
    return LimbSynthesis(*(PoseUNet(2, 4) for _ in range(3)), skeleton=ARM, **fields)


@pytest.fixture(scope="module")
def made():
    """A synthesis with random parameters."""
    image = RNG.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    joints, target = np.concatenate([BENT, STRAIGHT]) / 2, np.concatenate([STRAIGHT, BENT]) / 2
    network = synthesis()
    variables = jax.jit(network.init)(jax.random.key(0), image, joints, target)
    variables = jax.tree.map(lambda a: a + 0.1 * np.random.default_rng(1).normal(size=a.shape), variables)
    return network, variables, image, joints, target


def test_a_heat_map_peaks_at_its_joint_in_the_row_y_and_the_column_x():
    maps = pose_maps(jnp.array([[[5.0, 2.0], [3.5, 1.0]]]), 7, 9, 1.5)
    assert maps.shape == (1, 7, 9, 2) and float(maps[0, 2, 5, 0]) == 1
    x, y = 7, 4
    np.testing.assert_allclose(maps[0, y, x, 1], np.exp(-((x - 3.5) ** 2 + (y - 1) ** 2) / (2 * 1.5**2)), rtol=1e-5)


@pytest.mark.parametrize("joint", [(-0.1, 3.0), (9.0, 3.0), (3.0, 6.5), (np.nan, 3.0), (3.0, np.inf)])
def test_joints_that_are_outside_or_unknown_have_zero_maps(joint):
    maps = pose_maps(jnp.array([[joint, (3.0, 3.0)]]), 7, 9, 1.0)
    assert not np.asarray(maps[..., 0]).any() and float(maps[..., 1].max()) == 1
    gradient = jax.jit(jax.grad(lambda j: pose_maps(j, 7, 9, 1.0).sum()))(jnp.array([[joint, (3.2, 3.1)]]))
    assert np.isfinite(gradient).all() and np.asarray(gradient[:, 1]).any()


def test_maps_scale_with_the_image():
    # the paper's: 7/4 pixels at half of 256
    large = half_size_maps(jnp.full((1, 1, 2), 100.0), 256, 256)
    assert large.shape == (1, 128, 128, 1)
    np.testing.assert_allclose(large[0, 50, 52, 0], np.exp(-(2**2) / (2 * 1.75**2)), rtol=1e-5)
    small = half_size_maps(jnp.full((1, 1, 2), 20.0), 64, 64)
    np.testing.assert_allclose(small[0, 10, 11, 0], np.exp(-0.5), rtol=1e-5)  # not narrower than a pixel


def test_a_limbs_mask_is_a_gaussian_along_it():
    masks = limb_masks(jnp.asarray(BENT), ARM, 256, 256)  # at the paper's size
    assert masks.shape == (1, 256, 256, 2) and float(masks.max((1, 2)).min()) == 1
    # the first limb runs down, from (6, 5) to (6, 15); the second to the right
    variance = 100 / 1.5
    np.testing.assert_allclose(masks[0, 18, 9, 0], np.exp(-(8**2) / (2 * variance) - 3**2 / (2 * 11**2)), rtol=1e-4)
    np.testing.assert_allclose(masks[0, 18, 9, 1], np.exp(-(2**2) / (2 * variance) - 3**2 / (2 * 11**2)), rtol=1e-4)


def test_a_torso_runs_from_the_middle_of_shoulders_to_that_of_hips():
    joints = jnp.full((1, 14, 2), jnp.nan).at[0, jnp.array([2, 5, 8, 11])].set(
        jnp.array([[100.0, 60], [140, 60], [110, 160], [130, 160]])
    )
    masks = limb_masks(joints, Skeleton(), 256, 256)
    assert not np.asarray(masks[..., :9]).any()  # limbs with unknown joints
    variance = 100**2 / 1.5
    expected = np.exp(-(30**2) / (2 * variance) - 5**2 / (2 * 13**2))
    np.testing.assert_allclose(masks[0, 140, 125, 9], expected, rtol=1e-4)


def test_the_same_pose_has_the_identity_similarity_and_another_takes_joints_to_joints():
    joints = jnp.asarray(RNG.uniform(0, SIDE, (3, 14, 2)).astype(np.float32))
    same = limb_similarities(joints, joints, Skeleton())
    identity = np.broadcast_to(np.eye(2, 3), (3, 10, 2, 3))
    np.testing.assert_allclose(same, identity, atol=1e-4)
    np.testing.assert_array_equal(no_motion(joints, joints + 3, Skeleton()), identity)
    others = jnp.asarray(RNG.uniform(0, SIDE, (3, 14, 2)).astype(np.float32))
    matrices = limb_similarities(joints, others, Skeleton())
    for i, limb in enumerate(Skeleton().limbs[:9]):
        for joint in limb:
            moved = jnp.einsum("bij,bj->bi", matrices[:, i, :, :2], joints[:, joint]) + matrices[:, i, :, 2]
            np.testing.assert_allclose(moved, others[:, joint], atol=1e-3)


def test_a_drawn_limb_lands_on_the_limb_of_the_target():
    network = synthesis()
    masks = np.stack([drawn(*BENT[0, :2]), drawn(*BENT[0, 1:])], -1)[None]
    image = np.ones((1, SIDE, SIDE, 3), np.float32)

    def move(target, network=network):
        return np.asarray(network.apply({}, image, masks, BENT, target, method="move"))[..., 0]

    limbs = move(STRAIGHT)
    for i in range(2):
        expected = drawn(STRAIGHT[0, i], STRAIGHT[0, i + 1]) > 0.5
        found = limbs[0, :, :, i] > 0.5
        assert (found & expected).sum() / (found | expected).sum() > 0.8
    np.testing.assert_allclose(move(BENT)[0], masks[0], atol=1e-3)  # the same pose: where they were
    np.testing.assert_array_equal(move(STRAIGHT, synthesis(motion=no_motion))[0], masks[0])
    # a limb that is unknown in the target is not drawn, the other is
    unknown = move(STRAIGHT + np.array([[0, 0], [0, 0], [np.nan, 0]], np.float32))
    assert not unknown[..., 1].any() and unknown[..., 0].sum() > 10


def test_masks_sum_to_one_and_the_output_is_composed(made):
    network, variables, image, joints, target = made
    out = jax.jit(network.apply)(variables, image, joints, target)
    assert out.masks.shape == (2, 16, 16, 3) and out.limbs.shape == (2, 16, 16, 2, 3)
    np.testing.assert_allclose(out.masks.sum(-1), 1, rtol=1e-5)
    assert float(out.masks[0, 5, 3, 1]) > float(out.masks[0, 5, 13, 1])  # the prior: on the limb and far from it
    m = out.foreground_mask
    np.testing.assert_allclose(out.output, m * out.foreground + (1 - m) * out.background, atol=1e-6)
    assert out.foreground_mask.shape == (2, 16, 16, 1) and float(jnp.abs(out.output).max()) < 1
    np.testing.assert_array_equal(out.source_pose[0], half_size_maps(joints, 16, 16)[0])
    np.testing.assert_array_equal(out.target_pose[0], half_size_maps(target, 16, 16)[0])


def test_each_step_can_be_called_alone(made):
    network, variables, image, joints, target = made

    @jax.jit
    def alone(variables):
        out = jax.jit(network.apply)(variables, image, joints, target)
        masks = network.apply(variables, image, joints, out.source_pose, method="segment")
        limbs = network.apply(variables, image, masks[..., 1:], joints, target, method="move")
        foreground, _ = network.apply(variables, limbs, out.target_pose, method="draw_foreground")
        background = network.apply(variables, image, masks[..., :1], out.source_pose, method="fill_background")
        return (limbs, foreground, background), (out.limbs, out.foreground, out.background)

    for found, expected in zip(*alone(variables), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_unknown_joints_leave_outputs_and_gradients_finite(made):
    network, variables, image, joints, target = made
    joints, target = joints.copy(), target.copy()
    joints[0, 2], target[1, 0] = np.nan, np.nan

    def loss(variables, image):
        out = jax.jit(network.apply)(variables, image, joints, target)
        return (out.output**2).sum(), out

    gradients, out = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables, image)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((out, gradients)))
    assert not np.asarray(out.source_pose[0, ..., 2]).any()


def test_the_baseline_sees_both_poses(made):
    _, _, image, joints, target = made
    network = DirectSynthesis(PoseUNet(2, 8))
    variables, apply = jax.jit(network.init)(jax.random.key(0), image, joints, target), jax.jit(network.apply)
    out = apply(variables, image, joints, target)
    assert out.masks is None and out.output.shape == image.shape
    assert float(jnp.abs(out.output - apply(variables, image, joints, joints).output).max()) > 1e-4
    assert float(jnp.abs(out.output - apply(variables, image, target, target).output).max()) > 1e-4


def test_widths_and_resolutions_are_the_papers_at_256():
    image, pose = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((1, 256, 256, 3), (1, 128, 128, 14)))
    shapes = jax.eval_shape(lambda *x: PoseUNet(last=32).init(jax.random.key(0), *x), image, pose)["params"]
    kernels = {name: value["kernel"].shape for name, value in shapes.items()}
    encoder = [kernels[f"Conv_{i}"] for i in range(11)]
    assert [k[-1] for k in encoder] == [64] * 2 + [128] * 9 and encoder[0][:2] == (7, 7) and encoder[2][2] == 64 + 14
    assert [kernels[f"Conv_{i}"][-1] for i in range(11, 16)] == [128] * 4 + [32]
    shapes = jax.eval_shape(lambda *x: PoseCritic().init(jax.random.key(0), *x), image, pose, pose)["params"]
    assert [shapes[f"Conv_{i}"]["kernel"].shape[::3] for i in range(6)] == [
        (5, 64), (5, 128), (3, 256), (3, 256), (3, 256), (3, 256)
    ]  # fmt: skip
    assert shapes["Conv_1"]["kernel"].shape[2] == 64 + 28 and shapes["hidden_0"]["kernel"].shape == (8 * 8 * 256, 256)


def test_a_flip_exchanges_left_and_right_in_the_image_and_among_joints():
    only_flip = PoseAugmentation((1.0, 1.0), 0.0, 0.0, 1.0, 0.0)
    image = jnp.asarray(RNG.uniform(-1, 1, (2, 16, 20, 3)).astype(np.float32))
    joints = jnp.asarray(RNG.uniform(0, 15, (2, 14, 2)).astype(np.float32))
    ((flipped, moved),) = jax.jit(only_flip)(jax.random.key(0), (image, joints))
    np.testing.assert_allclose(flipped, image[:, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(moved[:, 2], jnp.stack([19 - joints[:, 5, 0], joints[:, 5, 1]], -1), atol=1e-5)
    np.testing.assert_allclose(moved[:, 13, 0], 19 - joints[:, 10, 0], atol=1e-5)
    np.testing.assert_allclose(moved[:, 0, 0], 19 - joints[:, 0, 0], atol=1e-5)  # the head stays the head


def test_what_is_drawn_at_a_joint_stays_there_and_frames_move_alike():
    augmentation = PoseAugmentation((0.7, 1.3), 40.0, 0.1, 0.5, 0.0, ARM)
    joints = jnp.asarray(RNG.uniform(24, 40, (6, 3, 2)).astype(np.float32))
    spots = 2 * pose_maps(joints, 64, 64, 2.0) - 1
    (x, moved), (y, others) = jax.jit(augmentation)(jax.random.key(3), (spots, joints), (spots[..., ::-1], joints + 1))
    order = np.asarray(ARM.swapped(jnp.arange(3.0)[:, None].repeat(2, 1)))[:, 0].astype(int)
    swapped = 0
    for b in range(6):
        peaks = [np.unravel_index(np.argmax(x[b, ..., j]), (64, 64)) for j in range(3)]
        place = np.array([peak[::-1] for peak in peaks])
        exchanged = np.abs(np.asarray(moved[b]) - place[order]).max() < np.abs(np.asarray(moved[b]) - place).max()
        swapped += exchanged
        np.testing.assert_allclose(moved[b], place[order] if exchanged else place, atol=1.1)
    assert 0 < swapped < 6
    np.testing.assert_allclose(y, x[..., ::-1], atol=1e-6)  # one transform for all frames
    assert float(jnp.abs(others - moved).max()) < 2


def test_saturation_multiplies_and_clips():
    augmentation = PoseAugmentation((1.0, 1.0), 0.0, 0.0, 0.0, 0.5)
    image = jnp.full((40, 16, 16, 1), 0.8)
    ((x, _),) = jax.jit(augmentation)(jax.random.key(0), (image, jnp.zeros((40, 14, 2))))
    assert float(x.max()) == 1 and 0.4 <= float(x.min()) < 0.6 and float(jnp.abs(x - x[:, :1, :1]).max()) < 1e-6


def test_images_must_be_divisible():
    for shape in ((1, 12, 12, 3), (1, 34, 48, 3)):
        with pytest.raises(ValueError, match="`image` must have sides of at least 16, divisible by"):
            PoseUNet(2, 4).init(jax.random.key(0), jnp.zeros(shape), jnp.zeros((1, shape[1] // 2, shape[2] // 2, 3)))
    for joints in (10, 16):  # indices out of range would be clamped
        with pytest.raises(ValueError, match="`joints` must be the 14 of the skeleton"):
            limb_masks(jnp.zeros((2, joints, 2)), Skeleton(), 8, 8)
    with pytest.raises(ValueError, match="`limbs` must have two or four joints"):
        Skeleton(limbs=((0, 1, 2),))
