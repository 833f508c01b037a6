"""What is known of published sets that are not here."""

import pytest

from bnn_jax.data import Absent, cifar10, imagenet, outline_of


class TestOutline:
    def test_it_has_the_facts_of_the_set_that_is_there(self, thousand):
        known, found = (
            outline_of(imagenet)(str(thousand), 64, 70, (0.08, 1.0), (0.75, 1.3)),
            imagenet(str(thousand), 64),
        )
        assert (len(known.train), len(known.test)) == (1_281_167, 50_000)
        for name in ("name", "num_classes", "image_shape", "mean", "std"):
            assert getattr(known.info, name) == getattr(found.info, name)

    def test_cifar10s_too(self):
        known = outline_of(cifar10)("", 500, "cifar10")
        assert (len(known.train), len(known.test), known.info.image_shape) == (500, 10_000, (32, 32, 3))

    def test_there_are_no_examples_in_it(self):
        with pytest.raises(FileNotFoundError, match="this is a dry run"):
            Absent(3)[0]
