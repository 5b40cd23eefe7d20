"""State, step, loop, devices, checkpoints and reporting, for every model that follows `jaxgen.contracts.Model`."""

from jaxgen.contracts import Phase
from jaxgen.training.devices import jit_step, make_mesh, pmap_step
from jaxgen.training.evaluation import evaluate
from jaxgen.training.folder import RunFolder
from jaxgen.training.load import load
from jaxgen.training.loop import fit, fit_seeds, seed_folder
from jaxgen.training.settings import Settings
from jaxgen.training.signals import Interrupted
from jaxgen.training.state import TrainState, enter_phase, init_state
from jaxgen.training.step import make_train_step, many_steps
from jaxgen.training.step_metrics import NonFiniteLoss
from jaxgen.training.trained import TrainedModel

__all__ = [
    "Interrupted", "NonFiniteLoss", "Phase", "RunFolder", "Settings", "TrainState", "TrainedModel", "enter_phase",
    "evaluate", "fit", "fit_seeds", "init_state", "jit_step", "load", "make_mesh", "make_train_step", "many_steps",
    "pmap_step", "seed_folder",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
