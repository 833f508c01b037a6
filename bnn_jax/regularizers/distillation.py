"""Distillation: the network's logits drawn to a teacher's (Hinton et al. 2015, arXiv 1503.02531)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from bnn_jax.losses import Outputs
from bnn_jax.ops.divergence import softmax_divergence

KINDS = ("soft_cross_entropy", "kl")
TEMPERATURE, REDUCTION = 4.0, "batch"


def soft_cross_entropy(student: Array, teacher: Array) -> Array:
    """-mean over the batch of sum_c softmax(teacher)_c log softmax(student)_c.

    The gradient is that of the Kullback-Leibler divergence at temperature 1; the value is larger by the teacher's
    entropy. ReActNet's distribution loss.

    Args:
      student: Logits, (batch, classes).
      teacher: Logits of the same shape; no gradient flows to them.

    Returns:
      Scalar, float32 or wider.

    Raises:
      ValueError: If the shapes differ.
    """
    student, teacher = _logits(student, teacher)
    return -jnp.mean(jnp.sum(jax.nn.softmax(teacher) * jax.nn.log_softmax(student), axis=-1))


def kl_divergence(
    student: Array, teacher: Array, temperature: float = TEMPERATURE, reduction: str = REDUCTION
) -> Array:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)).

    Args:
      student: Logits, (batch, classes).
      teacher: Logits of the same shape; no gradient flows to them.
      temperature: T.
      reduction: Mean over the "batch", as it is defined; or also over the classes ("elements"), as BD-BNN's release
        has it, which makes it smaller by their number.

    Returns:
      Scalar, float32 or wider, 0 or more.

    Raises:
      ValueError: If the shapes differ, or an argument is out of range.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, found {temperature}")
    if reduction not in ("batch", "elements"):
        raise ValueError(f"unknown reduction {reduction!r}: expected 'batch' or 'elements'")
    student, teacher = _logits(student, teacher)
    each = softmax_divergence(student / temperature, teacher / temperature, (-1,))
    return temperature**2 * (jnp.sum(each) / student.size if reduction == "elements" else jnp.mean(each))


def _logits(student: Array, teacher: Array) -> tuple[Array, Array]:
    if student.shape != teacher.shape:
        raise ValueError(
            f"distillation needs logits of the same images and classes, found {student.shape} of the student, "
            f"{teacher.shape} of the teacher"
        )
    wide = jnp.promote_types(jnp.result_type(student, teacher), jnp.float32)
    return student.astype(wide), lax.stop_gradient(teacher.astype(wide))


def distillation_term(
    kind: str = "soft_cross_entropy", temperature: float = TEMPERATURE, reduction: str = REDUCTION
) -> Callable[[Outputs], Array]:
    """Distillation from the teacher's logits as a term of the loss.

    Args:
      kind: "soft_cross_entropy", which knows no temperature, or "kl".
      temperature: Of "kl".
      reduction: Of "kl": "batch" or "elements".

    Returns:
      `Outputs -> scalar`. It raises ValueError if there is no teacher, else as `soft_cross_entropy` or `kl_divergence`.

    Raises:
      ValueError: For an unknown kind, or other options of "kl" than its defaults with another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: expected one of {KINDS}")
    if kind != "kl" and (temperature, reduction) != (TEMPERATURE, REDUCTION):
        raise ValueError(f"temperature and reduction are options of kind 'kl', and would do nothing in {kind!r}")

    def term(outputs: Outputs) -> Array:
        teacher = outputs.require_teacher("distillation").logits
        if kind == "kl":
            return kl_divergence(outputs.logits, teacher, temperature, reduction)
        return soft_cross_entropy(outputs.logits, teacher)

    return term
