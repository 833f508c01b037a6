"""Training on images that are decoded as they are needed."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.config import DataConfig, component
from bnn_jax.data import image_folder
from bnn_jax.training import loop
from bnn_jax.training.signals import StopRequest
from tests.training import toy


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Three classes of 16 and 5 images of several sizes."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 5)):
        for label, name in enumerate(("ape", "bee", "cow")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (14 + i % 3, 20 - i % 5, 3)) // 3 + 80 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return root


def config(root, **run):
    source = component(image_folder, directory=str(root), size=8, resize=10)
    data = DataConfig(source, batch_size=16, eval_batch_size=8, crop_padding=0, flip=True)
    made = toy.config(data=data, epochs=3)
    for name, value in run.items():
        setattr(made.run, name, value)
    return made


@pytest.fixture(scope="module")
def whole(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, toy.run(config(photographs), folder)


def test_it_learns_and_evaluates_every_image(whole):
    folder, outcome = whole
    assert outcome.step == outcome.total_steps == 9
    assert outcome.best_accuracy > 0.6
    evaluated = toy.records(folder, "eval")
    assert [round(record["accuracy"] * 15, 6) % 1 for record in evaluated] == [0, 0, 0]


def test_threads_have_no_bearing_on_the_result(photographs, whole, tmp_path):
    toy.run(config(photographs, read_threads=3), tmp_path)
    toy.assert_same_run(tmp_path, whole[0], config(photographs))


def test_a_run_that_was_stopped_sees_the_same_views(photographs, whole, tmp_path, monkeypatch):
    class AfterFour(StopRequest):
        def requested(self, step):
            self.signal = 15 if step == 4 else 0
            return bool(self.signal)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "StopRequest", AfterFour)
        assert toy.run(config(photographs), tmp_path).step == 4
    assert toy.run(config(photographs), tmp_path).step == 9
    toy.assert_same_run(tmp_path, whole[0], config(photographs))
