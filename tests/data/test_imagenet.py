"""ImageNet in each of its layouts."""

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import NowhereError, imagenet


class TestImageNet:
    def test_folders_are_found_from_above_and_by_the_environment(self, thousand, monkeypatch):
        for splits in (imagenet(str(thousand)), imagenet(str(thousand / "imagenet"))):
            assert (len(splits.train), len(splits.test), splits.info.num_classes) == (1000, 1000, 1000)
            assert splits.train[999]["label"] == 999
            assert splits.train[999]["image"].shape == (224, 224, 3)
            assert splits.info.class_names[2] == "n00000002"
        monkeypatch.setenv("BNN_JAX_DATA", str(thousand))
        assert len(imagenet().train) == 1000

    @pytest.fixture
    def pets(self, tmp_path):
        """Another set, beside ImageNet."""
        for split in ("train", "val"):
            for name in ("cat", "dog"):
                (tmp_path / split / name).mkdir(parents=True)
                Image.new("RGB", (2, 1)).save(tmp_path / split / name / "x.png")
        return tmp_path

    def test_another_set_is_passed_over_and_named_if_there_is_no_other(self, pets):
        message = rf"(?s)found neither in.*{pets} was passed over: it has 2 classes, not 1,000"
        with pytest.raises(FileNotFoundError, match=message):
            imagenet(str(pets))

    def test_it_is_found_beside_another_set(self, pets, thousand):
        assert imagenet(str(pets)).info.num_classes == 1000

    def test_where_it_is_not_the_error_says_where_was_looked_and_how_to_prepare_it(self, tmp_path, monkeypatch):
        message = r"(?s)expected train/ and val/.*imagenet2012.*download_and_prepare"
        with pytest.raises(FileNotFoundError, match=message) as raised:
            imagenet(str(tmp_path))
        assert not isinstance(raised.value, NowhereError)
        for name in ("BNN_JAX_DATA", "TFDS_DATA_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        with pytest.raises(NowhereError, match=message):
            imagenet()

    @pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
    def test_a_prepared_set_is_read_from_its_files(self, tmp_path, prepare_tfds, make_example, file_format):
        names = [f"n{i:08d}" for i in range(1000)]
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (30 + i, 40, 3), np.uint8) for i in range(7)]
        records = [make_example(image, 10 * i, str(i)) for i, image in enumerate(images)]
        examples = {"train": [records[:3], records[3:]], "validation": [records[:2]]}
        prepare_tfds(tmp_path, "imagenet2012", file_format, examples, names, (None, None, 3), "5.1.0")
        splits = imagenet(str(tmp_path), size=30, resize=30)
        assert (len(splits.train), len(splits.test), splits.info.class_names) == (7, 2, tuple(names))
        for i in (6, 0, 3, 2):
            item = splits.train[i]
            assert item["label"] == 10 * i
            if i == 0:
                np.testing.assert_array_equal(item["image"], images[0][:, 5:35])
