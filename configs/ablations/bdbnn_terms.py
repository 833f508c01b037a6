"""What do kurtosis and mimicking bring? BD-BNN's terms one by one, with ResNet-20 on the common budget.

    python -m bnn_jax.ablation --config configs/ablations/bdbnn_terms.py --workdir runs/ablation_bdbnn

Cross-entropy alone; with the kurtosis drawn to 1.2, 1.8 or 3 in all layers; with the weight distributions of a
network mimicked whose real weights were shaped by the same 1.8; and the whole recipe, which starts from these weights
and learns from that network's logits too. Only the last does not start from random weights.
"""

from copy import deepcopy
from typing import Any

from bnn_jax.ablation import Ablation
from bnn_jax.ablation.measures import weight_shapes
from bnn_jax.config import Config, component
from bnn_jax.regularizers import kurtosis_term
from configs.ablations._budget import budget
from configs.cifar10 import bdbnn_resnet20

TARGETS = (1.2, 1.8, 3.0)


def get_config() -> Ablation:
    """The ablation."""
    base = budget(bdbnn_resnet20.get_config())
    base.stages[0].config.losses = _losses(base.stages[0].config, 1.8)
    variants = {"cross-entropy": _without_teacher(base, None)}
    variants |= {f"kurtosis {target:g}": _without_teacher(base, target) for target in TARGETS}
    mimicking = _losses(base, 1.8, "mimicking")
    variants["kurtosis 1.8, mimicking"] = {"losses": mimicking, "init_from": ""}
    variants["whole recipe"] = {"losses": _losses(base, 1.8, "mimicking", "distillation")}
    return Ablation(base, variants, shared=("real_weights",), measures=(weight_shapes,))


def _losses(base: Config, target: float | None, *more: str) -> list[Any]:
    names = ("cross_entropy", *more, *(() if target is None else ("kurtosis",)))
    chosen = [deepcopy(loss) for loss in base.losses if loss.name in names]
    for loss in chosen:
        if loss.name == "kurtosis":
            loss.term = component(kurtosis_term, target=target)
    return chosen


def _without_teacher(base: Config, target: float | None) -> dict[str, Any]:
    return {"losses": _losses(base, target), "init_from": "", "teacher": None}
