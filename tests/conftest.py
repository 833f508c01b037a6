"""What all tests share: JAX's settings, test data, golden arrays, CIFAR-10, and a helper for subprocesses.

Environment variables:
  BNN_JAX_TEST_DATA: Directory holding `golden/` and `data/` (default: `../shared`). Tests which need it skip
    where it is absent, and fail where CI is "true".
  JAX_PLATFORMS: Where tests run (default: cpu). Subprocesses always run on the CPU.
  JAX_COMPILATION_CACHE_DIR: Where compiled programs are kept between runs (default: the user's cache).
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI") == "true"


def _user_cache() -> Path:
    """The user's cache directory for this project; a temporary one where that cannot be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnn_jax"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home
    except OSError:
        pass
    fallback = Path(tempfile.gettempdir()) / f"bnn_jax-{os.getuid()}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    return fallback


CACHE = _user_cache()

# JAX reads these when it is first imported, below; subprocesses inherit them.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("MPLBACKEND", "agg")
# Several test processes share an accelerator.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax  # noqa: E402 (after its settings)

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if IN_CI else "default")


@pytest.fixture(scope="module", autouse=True)
def _release_programs() -> Iterator[None]:
    """Frees what a module compiled: each program is several memory maps, and Linux allows a process 65,530."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Directory holding `golden/` and `data/`."""
    path = Path(os.environ.get("BNN_JAX_TEST_DATA") or ROOT.parent / "shared").resolve()
    if all((path / part).is_dir() for part in ("golden", "data")):
        return path
    reason = f"no test data: BNN_JAX_TEST_DATA ({path}) must hold golden/ and data/"
    if IN_CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def golden(test_data: Path) -> Callable[[str, str], dict[str, np.ndarray]]:
    """Arrays made by a paper's released code: `golden("siman", "conv_k3s1p1_pct0")["out"]`."""

    def load(paper: str, name: str) -> dict[str, np.ndarray]:
        with np.load(test_data / "golden" / paper / f"{name}.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    return load


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock among processes."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def cifar10_dir(test_data: Path) -> Path:
    """Directory containing `cifar-10-batches-bin`, unpacked once and kept for later runs: read only."""
    unpack = test_data / "data" / "unpack.py"
    manifest = test_data / "data" / "cifar10" / "manifest.json"
    version = hashlib.sha256(unpack.read_bytes() + manifest.read_bytes()).hexdigest()[:12]
    target = CACHE / f"cifar10-{version}"
    target.mkdir(parents=True, exist_ok=True)
    with _locked(target / ".lock"):
        # Files already unpacked whole are left alone, so this is quick when nothing is missing.
        done = subprocess.run([sys.executable, unpack, "cifar10", target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Runs Python in a process of its own: `run_python(code)` or `run_python(["train.py", "--config", ...])`.

    A string is code, dedented; a sequence is the interpreter's arguments. The process sees `devices` CPU
    devices, the repository on its path, and `env` on top of this environment. Returns its standard output;
    the test fails, showing the output, if it exits with an error. With `fails=True` it must exit with an
    error, and what is returned is its standard error.
    """

    def run(
        program: str | Sequence[str | Path],
        *,
        devices: int = 1,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = ROOT,
        timeout: float = 600,
        fails: bool = False,
    ) -> str:
        args = ["-c", textwrap.dedent(program)] if isinstance(program, str) else [str(a) for a in program]
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, *args],
            env={**os.environ, **settings, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if (done.returncode != 0) != fails:
            pytest.fail(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
        return done.stderr if fails else done.stdout

    return run
