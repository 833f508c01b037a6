"""Lipschitz continuity retention (LCR-BNN, Shang et al., ECCV 2022, arXiv 2207.06540).

A binary network amplifies what disturbs its input more than a full-precision one. The regularizer draws the
spectral norm s_i of each retention matrix (`bnn_jax.regularizers.spectral`) of the binary network, built
from features i and i + 1 of N, to the norm t_i of the full-precision network:

    L = sum over i = 1 .. N - 1 of 2^-(N - i) mean over samples of (s_i - t_i)^2
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax.numpy as jnp
from jax import Array, lax

from bnn_jax import ste
from bnn_jax.losses import Learning, Outputs, named_features
from bnn_jax.regularizers.spectral import retention_norm

KINDS = ("difference", "ratio")


def lipschitz_retention(
    features: Sequence[Array],
    targets: Sequence[Array],
    *,
    n_iter: int = 1,
    kind: str = "difference",
    scales: Array | None = None,
) -> Array:
    """How far the spectral norms between consecutive features are from those of a full-precision network.

    Args:
      features: N feature maps of the binary network, from input to output, each (batch, height, width, channels).
      targets: As many of the full-precision network, for the same images; no gradient flows to them.
      n_iter: Power iterations, see `power_iteration_norm`; 1 as released.
      kind: "difference", (s - t)^2, as released; "ratio", (t / s - 1)^2, which does not grow with the width of
        the network.
      scales: (N,), learnable factors of the binary network's features; None for 1.

    Returns:
      Scalar, float32 or wider. Zero maps give finite values and gradients; ratios are cut off at 1,000.

    Raises:
      ValueError: For lists of different or too short length, shapes that do not fit, or an unknown kind.

    Example:
      >>> loss = cross_entropy + 6e-6 * lipschitz_retention(features, teacher_features)
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}: expected one of {KINDS}")
    if len(features) != len(targets) or len(features) < 2:
        raise ValueError(
            "expected two or more feature maps, and as many targets, found "
            f"{len(features)} features and {len(targets)} targets"
        )
    if scales is not None and scales.shape != (len(features),):
        raise ValueError(f"scales must hold one factor per feature map, ({len(features)},), found {scales.shape}")
    found, wanted = norms(features, n_iter=n_iter), [lax.stop_gradient(t) for t in norms(targets, n_iter=n_iter)]
    if found[0].shape != wanted[0].shape:
        raise ValueError(
            f"features and targets must be of the same images, found batches of {found[0].shape[0]} and "
            f"{wanted[0].shape[0]}"
        )
    if scales is not None:
        # Of scaled maps; cheaper than scaling them.
        found = [jnp.abs(scales[i] * scales[i + 1]) * s for i, s in enumerate(found)]
    terms = [
        2.0 ** (i - len(found)) * jnp.mean(_distance(s, t, kind))
        for i, (s, t) in enumerate(zip(found, wanted, strict=True))
    ]
    return sum(terms[1:], terms[0])


def released_weight(alpha: float, batch_size: int) -> float:
    """The released coefficient of the regularizer in the loss, alpha / batch_size / 10,000.

    `lipschitz_retention` is a mean over the batch already. Alpha was 8 and the batch 128 on ImageNet; as the
    norms grow with the width of a network, so must the coefficient be chosen anew.

    Args:
      alpha: The paper's coefficient.
      batch_size: Images in the global batch.

    Returns:
      What to multiply `lipschitz_retention` with.
    """
    return alpha / batch_size / 1e4


def norms(features: Sequence[Array], *, n_iter: int = 1) -> list[Array]:
    """The retention norm of each pair of consecutive feature maps.

    Args:
      features: N feature maps, from input to output, each (batch, height, width, channels), floating point.
      n_iter: Power iterations, see `power_iteration_norm`.

    Returns:
      N - 1 arrays (batch,), float32 or wider.

    Raises:
      ValueError: If a map is larger than the one before or of another batch, or `n_iter` is less than 1.
    """
    return [retention_norm(a, b, n_iter) for a, b in pairwise(features)]


def _distance(found: Array, wanted: Array, kind: str) -> Array:
    if kind == "difference":
        return jnp.square(found - wanted)
    # A map that is almost dead counts as one a thousand times too small: its true ratio may have no finite gradient.
    bounded = jnp.maximum(found, 1e-3 * wanted)
    safe = jnp.where(bounded > 0, bounded, 1.0)
    return jnp.where(bounded > 0, jnp.square(wanted / safe - 1.0), 0.0)


def lipschitz_term(
    features: tuple[str, ...] = ("stage1", "stage2", "stage3"),
    n_iter: int = 1,
    kind: str = "difference",
    source: str = "teacher",
    learn_scales: bool = True,
) -> Learning | Callable[[Outputs], Array]:
    """`lipschitz_retention` as a term of the loss.

    Args:
      features: Names of the network's features, from input to output.
      n_iter: Power iterations.
      kind: "difference" (as released) or "ratio".
      source: Whose constants are to be retained. "teacher": the teacher's, features of the same names (as
        released). "latent": the network's own, of the features as they are, against those of their signs (the
        paper's figure): the sign is taken at zero, also where the network's activations shift (`rsign`) or standardize
        their inputs first, and its gradient is that of `ste.clip`.
      learn_scales: Whether to learn a factor for each of the network's features, as the release does.

    Returns:
      `Outputs -> scalar`, a `Learning` (one scale for each feature, 1 at first) where `learn_scales`. It raises
      ValueError if the outputs lack a feature, or the teacher that "teacher" needs; else as `lipschitz_retention`.

    Raises:
      ValueError: For an unknown source, or fewer than two features.
    """
    if source not in ("teacher", "latent"):
        raise ValueError(f"unknown source {source!r}: expected 'teacher' or 'latent'")
    if len(features) < 2:
        raise ValueError(f"lipschitz needs two or more features, from input to output, found {features}")

    def term(outputs: Outputs) -> Array:
        own = named_features(outputs.features, features, "the network")
        if source == "latent":
            targets, own = own, [ste.sign(map_, gradient=ste.clip) for map_ in own]
        else:
            targets = named_features(outputs.require_teacher("lipschitz").features, features, "the teacher")
        scales = outputs.learned["scales"] if learn_scales else None
        return lipschitz_retention(own, targets, n_iter=n_iter, kind=kind, scales=scales)

    return Learning(term, lambda: {"scales": jnp.ones(len(features))}) if learn_scales else term
