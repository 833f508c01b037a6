"""Images per second of the training step, beside the same network in PyTorch where that is installed.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --models resnet18 --rounds 8 --torch compile

Each side runs in a process of its own. They take turns, round by round, so that a change in the machine's
speed hits both alike; the ratio is the median over rounds of JAX / PyTorch. Also: compile time of the step,
peak memory of the process, and images/s of the input pipeline alone (order, gathering). The JAX step also
shuffles, gathers, crops, flips and normalizes; PyTorch's batches lie ready.

Options: --models NAMES, --batch N (default: 128 for resnet20, 64 for the others), --rounds N, --steps N (per
round), --threads N (both sides' own default if 0), --torch eager|compile|none, --json FILE.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BATCH = {"resnet20": 128, "resnet18": 64, "vgg_small": 64}


def images_and_labels(count: int, seed: int = 0):
    """CIFAR-shaped random data, (count, 32, 32, 3) uint8 and (count,) int64."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count)


def synthetic():
    """A data source of CIFAR's shape."""
    from bnn_jax.data import from_arrays

    images, labels = images_and_labels(50000)
    return from_arrays(images, labels, images[:500], labels[:500], 10, name="synthetic")


def jax_side(model: str, batch: int):
    """Yields facts about the JAX step, then seconds for each number of steps it is sent."""
    sys.path.insert(0, str(ROOT))
    from bnn_jax.training.host_memory import keep_freed_memory

    keep_freed_memory()  # as train.py does, before anything starts JAX's backend
    import jax

    from benchmarks.train_step import synthetic as source
    from bnn_jax.config import component
    from bnn_jax.config.file import load
    from bnn_jax.data import train_iterator
    from bnn_jax.training import parallel
    from bnn_jax.training.assembly import assemble

    config = load(ROOT / "configs" / "cifar10" / f"siman_{model}.py")
    config.data.source, config.data.batch_size = component(source), batch
    experiment = assemble(config)
    state = parallel.replicate(experiment.init_state())
    batches = train_iterator(experiment.splits.train, batch_size=batch, seed=0)
    began = time.perf_counter()
    state, metrics = experiment.train_step(state, parallel.split(next(batches)))
    float(metrics.loss)
    compiled = time.perf_counter() - began
    count, began = 2000 * 128 // batch, time.perf_counter()
    for _ in range(count):
        next(batches)
    pipeline = count * batch / (time.perf_counter() - began)
    steps = yield {"compile_s": compiled, "pipeline": pipeline, "device": jax.devices()[0].device_kind}
    while True:
        began = time.perf_counter()
        for _ in range(steps):
            state, metrics = experiment.train_step(state, parallel.split(next(batches)))
        float(metrics.loss)
        steps = yield time.perf_counter() - began


def torch_side(model: str, batch: int, mode: str):
    """The same for PyTorch; random batches lie ready on the device."""
    sys.path.insert(0, str(ROOT))
    import torch

    from benchmarks.torch_twin import build

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = images_and_labels(batch * 4)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous().to(device)
    y = torch.from_numpy(labels).to(device)
    _, step = build(model, device=device)
    step = torch.compile(step) if mode == "compile" else step
    began = time.perf_counter()
    float(step(x[:batch], y[:batch]))
    steps, done = (yield {"compile_s": time.perf_counter() - began, "device": device}), 0
    while True:
        began = time.perf_counter()
        for _ in range(steps):
            part = slice(done % 4 * batch, (done % 4 + 1) * batch)
            loss, done = step(x[part], y[part]), done + 1
        float(loss)
        steps = yield time.perf_counter() - began


class Worker:
    """One side in its own process, which waits silently between rounds."""

    def __init__(self, side: str, model: str, batch: int, threads: int):
        command = [sys.executable, __file__, "--worker", side, "--models", model, "--batch", str(batch)]
        extra = {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads)} if threads else {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **extra}
        )
        self.facts = self._read()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a worker ended early (exit code {self.process.wait()}); its message is above")
        return json.loads(line)

    def seconds(self, steps: int) -> float:
        """Runs some steps and says how long they took."""
        print(steps, file=self.process.stdin, flush=True)
        return self._read()["seconds"]

    def close(self) -> float:
        """Ends the process; returns its peak memory in MiB."""
        print(0, file=self.process.stdin, flush=True)
        peak = self._read()["peak_mib"]
        self.process.wait()
        return peak


def work(side: str, model: str, batch: int) -> None:
    """The loop of a worker process: numbers of steps in, seconds out; 0 ends it."""
    sides = jax_side(model, batch) if side == "jax" else torch_side(model, batch, side)
    print(json.dumps(next(sides)), flush=True)
    for line in sys.stdin:
        if int(line) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"peak_mib": peak}), flush=True)
            return
        print(json.dumps({"seconds": sides.send(int(line))}), flush=True)


def compare(model: str, batch: int, rounds: int, steps: int, torch_mode: str, threads: int) -> dict:
    """Alternates the two sides and returns a row of the table."""
    workers = {"jax": Worker("jax", model, batch, threads)}
    if torch_mode != "none":
        workers["torch"] = Worker(torch_mode, model, batch, threads)
    times: dict[str, list[float]] = {name: [] for name in workers}
    for i in range(rounds + 1):
        for name, worker in workers.items():
            seconds = worker.seconds(steps)
            if i:  # the first round warms up
                times[name].append(batch * steps / seconds)
    row = {"model": model, "batch": batch}
    for name, worker in workers.items():
        row[name] = statistics.median(times[name])
        row[f"{name} compile s"] = worker.facts["compile_s"]
        row[f"{name} peak MiB"] = worker.close()
    row["pipeline"] = workers["jax"].facts["pipeline"]
    if "torch" in times:
        ratios = [a / b for a, b in zip(times["jax"], times["torch"], strict=True)]
        row["ratio"], row["ratio min"], row["ratio max"] = statistics.median(ratios), min(ratios), max(ratios)
    return row


def main() -> None:
    """Parses the command line, runs, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(BATCH), choices=list(BATCH))
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--torch", default="eager", choices=["eager", "compile", "none"])
    parser.add_argument("--json", default="")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.models[0], options.batch)
        return
    mode = options.torch
    if mode != "none" and subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode:
        print("PyTorch is not installed (pip install 'bnn_jax[bench]'): JAX alone\n")
        mode = "none"
    rows = []
    for model in options.models:
        rows.append(compare(model, options.batch or BATCH[model], options.rounds, options.steps, mode, options.threads))
        show(rows[-1], first=len(rows) == 1)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2) + "\n")


def show(row: dict, *, first: bool) -> None:
    """Prints a row of the table, with its head if it is the first."""
    columns = {
        "model": "{}",
        "batch": "{}",
        "jax": "{:.1f}",
        "torch": "{:.1f}",
        "ratio": "{:.2f}",
        "ratio min": "{:.2f}",
        "ratio max": "{:.2f}",
        "jax compile s": "{:.1f}",
        "jax peak MiB": "{:.0f}",
        "torch peak MiB": "{:.0f}",
        "pipeline": "{:,.0f}",
    }
    shown = {name: form.format(row[name]) if name in row else "-" for name, form in columns.items()}
    if first:
        print("images/s of the training step; ratio = jax / torch; pipeline = images/s without the step")
        print("  ".join(name.rjust(max(9, len(name))) for name in shown))
    print("  ".join(text.rjust(max(9, len(name))) for name, text in shown.items()), flush=True)


if __name__ == "__main__":
    main()
