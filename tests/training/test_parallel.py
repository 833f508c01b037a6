"""A step over one, two and eight devices; and over two processes."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from bnn_jax.training import parallel
from tests.conftest import ROOT
from tests.processes import free_port, run_two
from tests.training import toy

STEPS = 12  # an epoch and a bit

TRAIN = f"""
    import json, sys
    import jax, numpy as np
    from bnn_jax import binarizers
    from bnn_jax.config import component
    from bnn_jax.data import train_iterator
    from bnn_jax.training import parallel
    from bnn_jax.training.assembly import assemble
    from tests.training import toy

    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **about: events.append(event.rpartition("/")[2])
    )
    made = toy.config(epochs=2)
    made.model.weights = component(getattr(binarizers, "BINARIZER"))
    made.optimizer.learning_rate *= FASTER
    experiment = assemble(made)
    batches = train_iterator(experiment.splits.train, batch_size=16, seed=0)
    state, losses, deleted, traces, compiles = parallel.replicate(experiment.init_state()), [], [], [], []
    gammas = []
    for step in range({STEPS}):
        old, before = state, len(events)
        state, metrics = experiment.train_step(state, parallel.split(next(batches)))
        losses.append(float(metrics.loss))
        deleted.append(all(leaf.is_deleted() for leaf in jax.tree.leaves(old)))
        traces.append(events[before:].count("jaxpr_trace_duration"))
        compiles.append(events[before:].count("backend_compile_duration"))
        leaves = jax.tree_util.tree_leaves_with_path(state.memory)
        gammas.append(max((float(np.max(leaf)) for path, leaf in leaves if "gamma" in str(path)), default=0.0))
    host = jax.device_get(state)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(host)]
    leaves = [np.asarray(leaf, np.float64).ravel().tolist() for leaf in jax.tree.leaves(host)]
    refusals = []
    for field in ("batch_size", "eval_batch_size"):
        config = toy.config()
        setattr(config.data, field, 20)
        try:
            assemble(config)
            refusals.append("")
        except ValueError as error:
            refusals.append(str(error))
    print(json.dumps({{
        "devices": jax.device_count(), "losses": losses, "names": names, "leaves": leaves, "deleted": deleted,
        "traces": traces, "compiles": compiles, "refusals": refusals, "gammas": gammas,
        "split": {{k: v.shape for k, v in parallel.split({{"image": np.zeros((16, 2, 2, 1))}}).items()}},
    }}))
"""


def train(run_python, binarizer, devices, *, faster=1):
    """What the program above prints, of a learning rate so many times as high."""
    env = {"XLA_FLAGS": toy.XLA_FLAGS.format(devices)}
    program = TRAIN.replace("BINARIZER", binarizer).replace("FASTER", str(faster))
    return json.loads(run_python(program, env=env).splitlines()[-1])


@pytest.fixture(scope="module")
def trained(run_python):
    """What it prints, by number of devices."""
    return {n: train(run_python, "siman", n) for n in (1, 2, 8)}


class TestDevices:
    @pytest.mark.parametrize("devices", [2, 8])
    def test_losses_and_state_are_those_of_one_device(self, trained, devices):
        """Sums over devices are rounded in another order (float32: 6e-8), which 12 steps amplify somewhat."""
        one, found = trained[1], trained[devices]
        assert found["devices"] == devices
        assert len(set(one["losses"])) == STEPS
        np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-5)
        assert found["names"] == one["names"]
        for name, leaf, expected in zip(one["names"], found["leaves"], one["leaves"], strict=True):
            np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-5, err_msg=name)

    def test_so_are_those_of_a_binarizer_that_sees_the_gradient_of_its_code(self, run_python):
        # At this rate bits flip in a step before the last: gamma is 0 otherwise, and holds nothing.
        one, two = (train(run_python, "rebnn", n, faster=2) for n in (1, 2))
        assert one["names"] == two["names"]
        assert any(one["gammas"][:-1])
        np.testing.assert_allclose(two["gammas"], one["gammas"], rtol=1e-4)
        for name, leaf, expected in zip(one["names"], two["leaves"], one["leaves"], strict=True):
            np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        for found in (one, two):
            assert found["compiles"] == [1] + [0] * (STEPS - 1)
            assert found["deleted"] == [True] * STEPS

    @pytest.mark.parametrize("devices", [1, 2, 8])
    def test_the_step_is_traced_and_compiled_once_over_epochs(self, trained, devices):
        first, *later = trained[devices]["traces"]
        assert first >= 1
        assert later == [0] * (STEPS - 1)
        assert trained[devices]["compiles"] == [1] + [0] * (STEPS - 1)

    @pytest.mark.parametrize("devices", [1, 2, 8])
    def test_the_old_states_buffers_are_given_up(self, trained, devices):
        assert trained[devices]["deleted"] == [True] * STEPS

    def test_a_batch_is_split_into_contiguous_parts(self, trained):
        assert trained[8]["split"] == {"image": [8, 2, 2, 2, 1]}

    def test_a_batch_size_that_does_not_divide_is_refused_with_one_that_does(self, trained):
        assert trained[1]["refusals"] == ["", ""]
        assert trained[2]["refusals"] == ["", ""]
        for field, message in zip(("batch_size", "eval_batch_size"), trained[8]["refusals"], strict=True):
            assert message == f"data.{field} = 20 cannot be split over 8 devices: use a multiple, e.g. 16"


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match=r"data\.batch_size = 0 cannot be split over 1 devices: .* e\.g\. 1"):
        parallel.check_batch_size(0, "data.batch_size")


def test_splitting_keeps_the_order_of_the_examples():
    batch = {"label": np.arange(6)}
    np.testing.assert_array_equal(parallel.split(batch)["label"].ravel(), np.arange(6))


def test_a_replicated_tree_keeps_its_values_and_shapes():
    tree = {"a": np.arange(3.0, dtype=np.float32), "b": np.ones((), bool)}
    placed = parallel.replicate(tree)
    assert placed["a"].is_fully_replicated
    jax.tree.map(np.testing.assert_array_equal, placed, tree)


@pytest.mark.parametrize(
    "arguments", [("localhost:1", 0, -1), ("localhost:1", 2, -1), ("", 2, 0), ("", 0, 1), ("localhost:1", 0, 0)]
)
def test_a_part_of_what_several_processes_need_is_refused(arguments):
    with pytest.raises(ValueError, match="several processes need all of --coordinator"):
        parallel.initialize(*arguments)


def launch(workdir, *, processes, devices, env=None, arguments=None, config=None):
    """Runs train.py in one or two processes, `env` in the first, `arguments` by process: status and output of each."""
    config = config or toy.config_file(workdir.parent)
    command = [sys.executable, "train.py", "--config", config, "--workdir", workdir]
    port, running = free_port(), []
    for index in range(processes):
        several = ["--coordinator", f"localhost:{port}", "--processes", "2", "--process", str(index)]
        flags = toy.XLA_FLAGS.format(devices)
        settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
        running.append(
            subprocess.Popen(
                [
                    *command,
                    *(several if processes > 1 else []),
                    "--config.epochs",
                    "2",
                    *(arguments or {}).get(index, []),
                ],
                env={**os.environ, **settings, **(env or {} if index == 0 else {})},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    outputs = [process.communicate()[0] for process in running]
    return [(process.returncode, output) for process, output in zip(running, outputs, strict=True)]


def last_state(workdir):
    return toy.stored(workdir, toy.config(epochs=2))[0]


def assert_close(found, expected):
    """Log records: the same keys, and numbers to rounding."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            if isinstance(value, dict):
                for name, layer in value.items():
                    assert layer == pytest.approx(other[key][name], rel=1e-4, abs=1e-6)
            else:
                assert value == (other[key] if isinstance(value, str) else pytest.approx(other[key], rel=1e-5))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By number of devices: folder of a run by two processes and one by one, and how the former ended."""
    made = {}

    def of(devices):
        if devices not in made:
            folder = tmp_path_factory.mktemp(f"devices{devices}")
            [(status, output)] = launch(folder / "one", processes=1, devices=2 * devices)
            assert status == 0, output
            made[devices] = folder, launch(folder / "two", processes=2, devices=devices)
        return made[devices]

    return of


@pytest.mark.parametrize("devices", [1, 2])
class TestTwoProcesses:
    def test_both_end_well_with_the_log_and_the_state_of_one_process_with_as_many_devices(self, runs, devices):
        """The sum over processes may be rounded in another order than that over devices."""
        folder, ended = runs(devices)
        assert [status for status, _ in ended] == [0, 0], ended
        assert_close(toy.records(folder / "two"), toy.records(folder / "one"))
        found, expected = last_state(folder / "two"), last_state(folder / "one")
        assert int(found.step) == 20
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)

    def test_only_the_first_process_writes_and_speaks(self, runs, devices):
        folder, ((_, first), (_, second)) = runs(devices)
        assert f"{2 * devices} cpu in 2 process(es)" in first
        assert "test accuracy" in first
        spoken = [line for line in second.splitlines() if line.strip() and "[Gloo]" not in line]
        assert spoken == []
        steps = [(r["kind"], r["step"]) for r in toy.records(folder / "two")]
        assert len(steps) == len(set(steps))


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_to_one_process_stops_both_after_the_same_step_and_one_process_continues_to_the_same_end(
    runs, tmp_path, number
):
    stopped = launch(tmp_path / "run", processes=2, devices=1, env={"BNN_TOY_AMBUSH": f"{number}@9"})
    assert [status for status, _ in stopped] == [143, 143], stopped
    step = int(last_state(tmp_path / "run").step)
    assert 0 < step < 20
    [(status, output)] = launch(tmp_path / "run", processes=1, devices=2)
    assert status == 0, output
    assert f"continue after step {step}" in output
    assert_close(toy.records(tmp_path / "run"), toy.records(runs(1)[0] / "one"))


def test_two_processes_with_different_configs_are_refused_before_anything_is_written(tmp_path):
    ended = launch(tmp_path / "run", processes=2, devices=1, arguments={1: ["--config.seed", "1"]})
    assert all(status != 0 for status, _ in ended)
    assert "the processes differ in the config" in ended[0][1] + ended[1][1]
    assert not (tmp_path / "run").exists()


MEET = """
    import sys
    import jax
    from bnn_jax.training import parallel

    port, process = sys.argv[1], int(sys.argv[2])
    parallel.initialize(f"localhost:{port}", 2, process)
    assert parallel.gather(2**32 - 1 - process).tolist() == [2**32 - 1, 2**32 - 2]
    parallel.barrier("here")
    try:
        parallel.barrier(f"door {process}")
    except ValueError as error:
        print(error)
"""


def test_processes_that_meet_hear_each_other_in_order_and_are_told_of_a_barrier_that_is_anothers():
    for process, output in enumerate(run_two(MEET)):
        assert f"the processes differ in the barrier they wait at; process {process} has door {process}" in output
