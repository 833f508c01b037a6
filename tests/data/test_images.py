"""Images that are decoded as they are needed: their views, and batches of them."""

import threading

import numpy as np
import pytest
from PIL import Image

from bnn_jax.data import image_folder, pipeline, train_iterator
from bnn_jax.data.images import View


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size"),
        ({"size": 300}, "size <= resize"),
        ({"scale": (0.5, 0.1)}, "scale"),
        ({"scale": (0.0, 0.1)}, "scale"),
        ({"scale": (1.1, 1.2)}, "begin at 1"),
        ({"ratio": (-1.0, 2.0)}, "ratio"),
    ],
)
def test_a_view_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        View(**options)


class TestTraining:
    def batches(self, folder, processes, steps=5, threads=1, start=0):
        """The global batches of some steps."""
        made = []
        source = image_folder(str(folder), size=16, resize=20).train
        for process in range(processes):
            iterator = train_iterator(
                source, batch_size=4, seed=3, process_index=process, process_count=processes, threads=threads
            )
            iterator.set_state({"next_index": start})
            made.append([next(iterator) for _ in range(steps - start)])
        return [np.concatenate([part[i]["image"] for part in made]) for i in range(steps - start)]

    @pytest.fixture
    def textured(self, tmp_path):
        root, rng = tmp_path / "textured", np.random.default_rng(0)
        for split in ("train", "val"):
            for name in "ab":
                (root / split / name).mkdir(parents=True)
                for i in range(3):
                    pixels = rng.integers(0, 256, (30 + i, 40, 3), np.uint8)
                    Image.fromarray(pixels).save(root / split / name / f"{i}.png")
        return root

    def test_views_do_not_depend_on_processes_threads_or_where_the_run_began(self, textured):
        whole = self.batches(textured, 1)
        for other in (self.batches(textured, 2), self.batches(textured, 1, threads=4)):
            np.testing.assert_array_equal(whole, other)
        np.testing.assert_array_equal(whole[3:], self.batches(textured, 2, start=3))

    def test_an_example_is_seen_otherwise_in_every_epoch_and_at_every_place(self, textured):
        flat = np.concatenate(self.batches(textured, 1, steps=6)).reshape(24, -1)
        assert len(np.unique(flat, axis=0)) == 24

    def test_threads_draw_the_order_of_an_epoch_once(self, textured, monkeypatch):
        drawn, together = [], threading.Barrier(4)

        class Slow:
            def __len__(self):
                return 8

            def __getitem__(self, index):
                return {"image": np.zeros((2, 2, 1), np.uint8), "label": 0}

            def draw(self, index, seed):
                together.wait(5)
                return self[index]

        def counted(n, seed, stream=0):
            drawn.append(stream)
            return np.arange(n)

        monkeypatch.setattr(pipeline, "permutation", counted)
        batches = train_iterator(Slow(), batch_size=1, seed=0, threads=4, prefetch=4)
        for _ in range(8):
            next(batches)
        assert drawn[0] == 0
        assert len(drawn) == len(set(drawn))
