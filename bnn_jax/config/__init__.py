"""Experiments as data: typed dataclasses whose variable pieces are components."""

from bnn_jax.config.component import Component, component
from bnn_jax.config.experiment import (
    Config,
    DataConfig,
    LossConfig,
    OptimizerConfig,
    RunConfig,
    StageConfig,
    TeacherConfig,
)
from bnn_jax.config.overrides import check, override
from bnn_jax.config.serialize import differences, flatten, from_dict, to_dict

__all__ = [
    "Component",
    "Config",
    "DataConfig",
    "LossConfig",
    "OptimizerConfig",
    "RunConfig",
    "StageConfig",
    "TeacherConfig",
    "check",
    "component",
    "differences",
    "flatten",
    "from_dict",
    "override",
    "to_dict",
]
