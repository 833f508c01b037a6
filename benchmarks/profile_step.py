"""Where the time of a training step goes: share of each kind of operation; page faults and system time.

    python benchmarks/profile_step.py --config configs/cifar10/siman_resnet20.py

Kinds are the names XLA gives to the operations of the compiled program, less their numbers. Operations run beside each
other, and a loop's time holds that of its body: shares are of the sum over all, not of the time on the clock.
Options: --batch N (default 128), --steps N, --top N (kinds printed), --give_back_memory (as if `keep_freed_memory`
were not there).
"""

import argparse
import re
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bnn_jax.training.host_memory import keep_freed_memory  # noqa: E402

if "--give_back_memory" not in sys.argv:
    keep_freed_memory()  # before JAX starts its backend

import jax  # noqa: E402
from jax.profiler import ProfileData  # noqa: E402

from benchmarks.steps import Step  # noqa: E402
from bnn_jax.config.file import load  # noqa: E402


def one_by_one(step: Step, steps: int) -> float:
    """Seconds of some steps, each begun when the one before has ended: those in flight together need memory each."""
    return sum(step.seconds(1) for _ in range(steps))


def profile(step: Step, steps: int) -> Counter[str]:
    """Milliseconds per step of each kind of operation."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            one_by_one(step, steps)
        [path] = Path(folder).rglob("*.xplane.pb")
        data = ProfileData.from_file(str(path))
    spent: Counter[str] = Counter()
    for event in (e for plane in data.planes for line in plane.lines for e in line.events):
        stats = dict(event.stats)
        if "hlo_op" in stats:
            spent[re.sub(r"[.\d]+$", "", str(stats["hlo_op"]))] += event.duration_ns / 1e6 / steps
    return spent


def main() -> None:
    """Parses the command line, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--top", type=int, default=16)
    parser.add_argument("--give_back_memory", action="store_true")
    options = parser.parse_args()
    step = Step(load(options.config), options.batch)
    one_by_one(step, 3)  # compiles, and settles
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = one_by_one(step, options.steps) / options.steps
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{seconds * 1e3:10,.0f} ms a step")
    print(f"{(after.ru_stime - before.ru_stime) / options.steps * 1e3:10,.0f} ms of system time a step")
    print(f"{(after.ru_minflt - before.ru_minflt) / options.steps:10,.0f} page faults a step")
    spent = profile(step, options.steps)
    for kind, milliseconds in spent.most_common(options.top):
        print(f"{milliseconds:10,.1f} ms  {milliseconds / spent.total():5.1%}  {kind}")


if __name__ == "__main__":
    main()
