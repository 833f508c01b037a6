"""Which weights of a network a regularizer looks at: chosen from any pytree by path."""

import re
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.tree_util import keystr, tree_flatten_with_path

# The first convolution of this library's networks, full precision as in every paper.
FIRST = r"^(stem_conv|conv0)/"


def kernels(params: Any, where: str = "", skip: str = "", *, whose: str = "the parameters") -> dict[str, Array]:
    """The chosen arrays of a pytree by path ("stage1_block1/conv1/kernel"), in the order of the paths.

    Args:
      params: Any pytree.
      where: Regular expression, matched anywhere in a path (`re.search`): the arrays that are chosen. "": those of
        three or more dimensions, the kernels of convolutions.
      skip: Regular expression: which of these are left out. "": none.
      whose: They are, for messages.

    Returns:
      One or more of the leaves, as they are, by path.

    Raises:
      ValueError: If a rule is no regular expression, matches nothing, or nothing is left (lists the paths); or if a
        chosen array is not floating point (names it).
    """
    for name, rule in (("where", where), ("skip", skip)):
        check_rule(rule, f"{name} = {rule!r}")
    leaves = {keystr(path, simple=True, separator="/"): leaf for path, leaf in tree_flatten_with_path(params)[0]}
    found = {
        path: leaf for path, leaf in sorted(leaves.items()) if (re.search(where, path) if where else jnp.ndim(leaf) > 2)
    }
    if not found:
        wanted = (
            f"where = {where!r} matches none of {whose}" if where else f"none of {whose} has three or more dimensions"
        )
        raise ValueError(f"{wanted}: give a regular expression for some of {sorted(leaves)}")
    kept = {path: leaf for path, leaf in found.items() if not (skip and re.search(skip, path))}
    if skip and len(kept) in (0, len(found)):
        which = "every one" if not kept else "none"
        raise ValueError(f"skip = {skip!r} matches {which} of the weights chosen from {whose}: they are {list(found)}")
    other = {path: str(jnp.result_type(leaf)) for path, leaf in kept.items() if not _is_floating(leaf)}
    if other:
        raise ValueError(f"expected floating-point weights, found {other} in {whose}: choose others by where or skip")
    return kept


def check_rule(rule: str, what: str) -> None:
    """Refuses what is no regular expression.

    Raises:
      ValueError: If it is none; says so of `what`.
    """
    try:
        re.compile(rule)
    except re.error as error:
        raise ValueError(f"{what} is no regular expression: {error}") from error


def _is_floating(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating))
