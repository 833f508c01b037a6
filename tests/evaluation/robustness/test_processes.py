"""A suite measured by two processes of two devices each: stopped, continued, the outcomes of one process."""

import numpy as np
import pytest

from bnn_jax.evaluation import corruptions
from bnn_jax.evaluation.robustness import measure, outcomes
from bnn_jax.evaluation.robustness.request import Request
from tests.evaluation.robustness.made_runs import run
from tests.processes import run_two

NAMES = ("impulse_noise", "jpeg_compression")
LEFT_OUT = tuple(name for name in corruptions.ALL if name not in NAMES)

MEASURE = f"""
    import os, signal, sys, time
    from pathlib import Path

    import jax
    import numpy as np

    from bnn_jax.evaluation import corruptions
    from bnn_jax.evaluation.robustness import generated, measure, outcomes
    from bnn_jax.evaluation.robustness.parts import Reading
    from bnn_jax.training import parallel
    from bnn_jax.training.assembly import assemble
    from tests.training import toy

    port, process, folder, stop = *sys.argv[1:3], Path(sys.argv[3]), sys.argv[4]
    parallel.initialize(f"localhost:{{port}}", 2, int(process))
    assert (jax.process_count(), jax.local_device_count()) == (2, 2)
    recorded, seen = outcomes.Outcomes.record, []

    def watched(self, cell, first, values):
        recorded(self, cell, first, values)
        seen.append((cell, first))
        if stop.isdigit() and len(seen) == int(stop):
            raise KeyboardInterrupt
        if stop == "within" and len(seen) >= 5:
            if len(seen) == 5 and process == "1":
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    if stop == "between":
        measure.measure(folder, measure.Request(leave_out={LEFT_OUT!r}, seed=3))
        if process == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)  # the notice is on its way: a signal is looked for once a second
    outcomes.Outcomes.record = watched
    try:
        measure.measure(folder, measure.Request(leave_out={LEFT_OUT!r}))
    except KeyboardInterrupt:
        assert stop
        print("stopped", flush=True)
    print("recorded", len(seen), flush=True)
    if not stop:
        # Each process stores its own share as JPEG.
        splits = assemble(toy.config()).splits
        chosen = {{"contrast": corruptions.contrast}}
        suite = generated.Generated(splits.test, splits.info.image_shape, chosen, "cifar10_c", 0, True)
        options = {{"process_index": int(process), "process_count": 2, "threads": 0}}
        blank = outcomes.blank({{}}, ("contrast",), len(splits.test))
        part = [part for part in suite.parts(blank, Reading(120, options)) if part.first == 0][3]
        mine = slice(60 * int(process), 60 * int(process) + 60)
        images = corruptions.contrast(jax.random.key(0), splits.test.images[mine], part.cell.severity, "cifar10_c")
        expected = generated.jpeg_files(np.asarray(images), np.array(85))
        np.testing.assert_array_equal(np.asarray(part.batch["image"]).reshape(expected.shape), expected)
"""


UNREADABLE = """
    import sys
    from pathlib import Path

    from bnn_jax.evaluation.robustness import earlier, measure
    from bnn_jax.training import parallel

    port, process, folder = *sys.argv[1:3], Path(sys.argv[3])
    parallel.initialize(f"localhost:{port}", 2, int(process))

    def failing(*_):
        raise OSError(5, "Input/output error")

    if process == "1":
        earlier.resume = failing
    try:
        measure.measure(folder, measure.Request())
    except OSError as error:
        print(error, flush=True)
"""


UNWRITABLE = """
    import sys
    from pathlib import Path

    from bnn_jax.evaluation.robustness import compare, measure
    from bnn_jax.training import parallel

    port, process, folder = *sys.argv[1:3], Path(sys.argv[3])
    parallel.initialize(f"localhost:{port}", 2, int(process))
    try:
        compare.compare([folder / "a", folder / "b"], measure.Request(), str(folder / "file"))
    except PermissionError as error:
        print(error, flush=True)
"""


def test_two_processes_stop_continue_and_find_what_one_finds(tmp_path):
    folder, alone = run(tmp_path / "two"), run(tmp_path / "one")
    # 359 images in batches of 120: the last one is padded. 11 cells of 3 batches.
    first = run_two(MEASURE, folder, 14)
    assert all("stopped" in output for output in first)
    with np.load(folder / "corruptions.npz") as stored:
        before = stored["values"]
    known = int(np.sum(before != outcomes.UNKNOWN))
    assert 0 < known < before.size
    second = run_two(MEASURE, folder, "")
    assert all(f"recorded {33 - 14}" in output for output in second)
    summary, whole = measure.measure(alone, Request(leave_out=LEFT_OUT))
    with np.load(folder / "corruptions.npz") as stored:
        np.testing.assert_array_equal(stored["values"], whole.values)
        assert len(np.unique(stored["values"])) > 1
    again, _ = measure.measure(folder, Request(leave_out=LEFT_OUT))
    assert again == summary


@pytest.mark.parametrize(("when", "least"), [("within", 5), ("between", 0)])
def test_a_signal_to_one_process_stops_both_after_the_same_batch(tmp_path, when, least):
    """Within a measurement, or between two of one process."""
    folder = run(tmp_path / "two")
    told = [output.splitlines()[-2:] for output in run_two(MEASURE, folder, when)]
    assert told[0] == told[1]
    stopped, recorded = told[0]
    assert stopped == "stopped"
    number = int(recorded.split()[-1])
    assert least <= number < 33
    if not number:
        assert not (folder / "corruptions.npz").exists()
        return
    with np.load(folder / "corruptions.npz") as stored:
        # Of the 359 images' batches of 120 the last one is filled up.
        assert np.sum(stored["values"] != outcomes.UNKNOWN) in {120 * number - n for n in range(number + 1)}


def test_where_one_cannot_read_what_was_measured_neither_measures(tmp_path):
    first, second = run_two(UNREADABLE, run(tmp_path / "two"))
    assert "found that it cannot be read (by another process). Try again, or move it away" in first
    assert "found that it cannot be read ([Errno 5] Input/output error). Try again" in second


def test_where_the_first_cannot_write_neither_measures(tmp_path):
    (tmp_path / "file").touch()
    first, second = run_two(UNWRITABLE, tmp_path)
    assert "expected a folder to write the comparison to, found [Errno" in first
    assert "expected a folder to write the comparison to, found that process 0 cannot. Name" in second
