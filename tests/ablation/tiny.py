"""An ablation small enough to be run in seconds: a teacher that all runs share, and how strongly to mimic it."""

from pathlib import Path

from bnn_jax.ablation import Ablation
from bnn_jax.config import StageConfig, TeacherConfig
from bnn_jax.training.checkpoint import Checkpoints
from bnn_jax.training.state import LOSSES
from tests.training import toy

CONFIG_FILE = "from tests.ablation import tiny\n\ndef get_config():\n    return tiny.ablation()\n"


def gain(workdir: Path) -> dict[str, float]:
    """What the loss learned; leaves a line in the folder each time it is asked."""
    with (workdir / "asked.txt").open("a") as file:
        file.write("gain\n")
    checkpoints = Checkpoints(workdir, read_only=True)
    learned = checkpoints.variables(checkpoints.step_of("last"))["params"][LOSSES]["mimic"]
    checkpoints.close()
    return {"gain": learned["gain"].item()}


def ablation(**changes) -> Ablation:
    """Two variants, two seeds, one teacher; a run has 20 steps, the teacher 10."""
    float_ = toy.config(epochs=1, seed=5)
    float_.model.weights = float_.model.activations = None
    base = toy.config(
        epochs=2,
        losses=[*toy.config().losses, toy.mimic_loss()],
        teacher=TeacherConfig("teacher"),
        stages=[StageConfig("teacher", float_)],
    )
    options = {
        "variants": {"as it is": {}, "mimic = 0.5": {"losses[1].weight": 0.5}},
        "seeds": (0, 1),
        "shared": ("teacher",),
        "measures": (gain,),
    }
    return Ablation(base, **{**options, **changes})


def config_file(folder: Path) -> Path:
    """A file of `ablation()`."""
    path = folder / "tiny_ablation.py"
    path.write_text(CONFIG_FILE)
    return path
