"""Ablations: variants of an experiment, each over several seeds, as one config, one command and one picture."""

from bnn_jax.ablation.record import Ablation, Measure

__all__ = ["Ablation", "Measure"]
