"""What is known of a measurement before it is made."""

import pytest

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness import prepare
from bnn_jax.evaluation.robustness.request import Request


def test_extra_corruptions_that_are_not_published_are_not_asked_for(tmp_path):
    (tmp_path / "saturate.npy").touch()
    names = prepare._names(Request("cifar10_c", str(tmp_path)))
    assert names == (*corruptions.COMMON, "saturate")
    for names in ((), tuple(corruptions.COMMON)):
        with pytest.raises(FileNotFoundError, match=r"nowhere: expected the folder .* They are at https:"):
            prepare._names(Request("cifar10_c", str(tmp_path / "nowhere"), names))
    with pytest.raises(ValueError, match=r"found none: .* has none of speckle_noise"):
        prepare._names(Request("cifar10_c", str(tmp_path), (*corruptions.COMMON, "saturate")))
