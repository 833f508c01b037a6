"""Training on images that are decoded as they are needed."""

import shutil

import numpy as np
import pytest
from PIL import Image

from bnn_jax.config import DataConfig, component
from bnn_jax.data import image_folder
from bnn_jax.training import loop
from bnn_jax.training.outcome import DataError
from bnn_jax.training.session import Session
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


def test_a_crop_of_random_parts_is_refused(photographs):
    made = config(photographs)
    made.data.crop_padding = 4
    with pytest.raises(ValueError, match=r"data\.crop_padding must be 0, found 4: photographs0? shows random parts"):
        toy.run(made, photographs)


@pytest.fixture
def copied(photographs, tmp_path):
    """A copy whose images may be damaged, and a way to mend one."""
    root = tmp_path / "copied"
    shutil.copytree(photographs, root)
    return root, lambda path: shutil.copy(photographs / path, root / path)


def test_a_training_image_that_cannot_be_read_stops_the_run_which_goes_on_once_it_is_mended(copied, whole, tmp_path):
    root, mend = copied
    (root / "train" / "bee" / "7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)bee/7\.png: expected an encoded image.*Saved after step \d: the same"):
        toy.run(config(root), tmp_path / "run")
    mend("train/bee/7.png")
    assert toy.run(config(root), tmp_path / "run").step == 9
    toy.assert_same_run(tmp_path / "run", whole[0], config(root))


@pytest.mark.parametrize(("eval_every", "step"), [(1, 3), (3, 9)], ids=["first epoch", "last epoch"])
def test_a_test_image_that_cannot_be_read_costs_no_epoch_and_no_evaluation(eval_every, step, copied, whole, tmp_path):
    root, mend = copied
    made = config(root, eval_every=eval_every)
    (root / "val" / "cow" / "2.png").write_bytes(b"")
    Session(made, tmp_path / "run").claim()
    for _ in range(2):
        with pytest.raises(DataError, match=rf"(?s)cow/2\.png.*Saved after step {step}"):
            toy.run(made, tmp_path / "run")
        assert not Session(made, tmp_path / "run").finished
    mend("val/cow/2.png")
    outcome = toy.run(made, tmp_path / "run")
    assert [record["step"] for record in toy.records(tmp_path / "run", "eval")] == list(range(step, 10, 3))
    assert Session(made, tmp_path / "run").finished
    if eval_every == 1:
        assert outcome == whole[1]
        toy.assert_same_run(tmp_path / "run", whole[0], made)


def test_a_set_that_has_changed_is_refused(copied, tmp_path, monkeypatch):
    root, _ = copied
    stop_after(4, monkeypatch)
    toy.run(config(root), tmp_path / "run")
    monkeypatch.undo()
    (root / "train" / "ape" / "0.png").unlink()
    with pytest.raises(DataError, match="the run began with 48 training examples, found 47"):
        toy.run(config(root), tmp_path / "run")


def test_threads_have_no_bearing_on_the_result(photographs, whole, tmp_path):
    toy.run(config(photographs, read_threads=3), tmp_path)
    toy.assert_same_run(tmp_path, whole[0], config(photographs))


def stop_after(number, monkeypatch):
    """Lets runs stop after a step, as by a signal."""

    class After(StopRequest):
        def requested(self, step):
            self.signal = 15 if step == number else 0
            return bool(self.signal)

    monkeypatch.setattr(loop, "StopRequest", After)


def test_a_run_that_was_stopped_sees_the_same_views(photographs, whole, tmp_path, monkeypatch):
    stop_after(4, monkeypatch)
    assert toy.run(config(photographs), tmp_path).step == 4
    monkeypatch.undo()
    assert toy.run(config(photographs), tmp_path).step == 9
    toy.assert_same_run(tmp_path, whole[0], config(photographs))
