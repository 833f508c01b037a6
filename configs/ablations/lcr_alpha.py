"""How strongly to retain the Lipschitz constant? LCR-BNN with ResNet-20 on the common budget, by its coefficient alpha.

    python -m bnn_jax.ablation --config configs/ablations/lcr_alpha.py --workdir runs/ablation_lcr

8 is the released value, 0 is IR-Net's recipe alone. One teacher serves all 12 runs.
"""

from bnn_jax.ablation import Ablation
from bnn_jax.ablation.measures import lipschitz_gaps
from bnn_jax.regularizers import released_weight
from configs.ablations._budget import budget
from configs.cifar10 import lcr_resnet20

ALPHAS = (0, 0.8, 8, 80)


def get_config() -> Ablation:
    """The ablation."""
    return Ablation(
        base=budget(lcr_resnet20.get_config()),
        variants={f"alpha {alpha:g}": {"losses[1].weight": released_weight(alpha, batch_size=128)} for alpha in ALPHAS},
        seeds=(0, 1, 2),
        shared=("teacher",),
        measures=(lipschitz_gaps,),
    )
