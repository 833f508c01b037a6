"""Does a learned scale need to be reconstructed, and how strongly? ReBNN with ResNet-20 on the common budget, by gamma.

    python -m bnn_jax.ablation --config configs/ablations/rebnn_gamma.py --workdir runs/ablation_rebnn

Mean|w| as the scale (ReActNet, whose weight gradient is not multiplied by it), a learned scale without reconstruction
(gamma 0), with constant ones (2e-4 is the released value), with the paper's, which follows the flips, and all as
released. One teacher and one network of real weights serve all. Columns "remembered ..." are means over channels of
what the paper's rule remembers of a step: gamma, the share of flips and the largest gradient.
"""

from bnn_jax.ablation import Ablation
from bnn_jax.ablation.measures import oscillation
from bnn_jax.binarizers import reactnet, rebnn
from bnn_jax.config import component
from configs.ablations._budget import budget
from configs.cifar10 import rebnn_resnet20

GAMMAS = (0.0, 2e-4, 2e-3, 2e-2)


def get_config() -> Ablation:
    """The ablation."""
    base = budget(rebnn_resnet20.get_config())
    base.run.telemetry_every = 3  # steps: a third of all
    constant = {f"gamma {g:g}": component(rebnn, gamma="constant", constant=g) for g in GAMMAS}
    others = {"adaptive": component(rebnn), "released": component(rebnn, gamma="released")}
    binarizers = {"mean scale": component(reactnet), **constant, **others}
    return Ablation(
        base=base,
        variants={name: {"model.weights": binarizer} for name, binarizer in binarizers.items()},
        seeds=(0, 1, 2),
        shared=("teacher", "real_weights"),
        measures=(oscillation,),
    )
