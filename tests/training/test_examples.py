"""Opening the data of configs."""

from bnn_jax.config import DataConfig, component
from bnn_jax.data import digits
from bnn_jax.training.examples import opener
from tests.training import toy


def test_the_same_set_is_opened_once_and_another_apart():
    find = opener()
    first = find(DataConfig(component(digits)))
    assert find(DataConfig(component(digits), batch_size=3)) is first
    few = find(DataConfig(component(toy.few_digits, count=32)))
    assert len(few.train) == 32
    assert len(find(DataConfig(component(toy.few_digits, count=48))).train) == 48
