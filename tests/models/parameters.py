import jax
import numpy as np

KEY = jax.random.key(0)


def drawn(model, batch):
    """Variables of the model's shapes, everything in them drawn anew: a network of zeros would pass too much."""
    rng = np.random.default_rng(7)

    def draw(path, leaf):
        a = 0.3 * rng.normal(size=leaf.shape).astype(np.float32)
        return 0.5 + np.abs(a) if path[-1].key == "var" else a

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(model.init, KEY, batch))


def batch_for(model, rows=6):
    """Data of the model's kind: real numbers, or integers over all of its levels."""
    rng = np.random.default_rng(3)
    shape = (rows, *model.event_shape)
    if model.levels is None:
        return {"x": rng.normal(size=shape).astype(np.float32)}
    return {"x": rng.integers(0, model.levels, shape).astype(np.uint8 if model.levels <= 256 else np.int32)}
