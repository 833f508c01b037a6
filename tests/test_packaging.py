"""The house rules that a machine can check: what is declared, what imports what, names, sizes, configs."""

import ast
import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bnn_jax"
# Others are what several configs share.
CONFIGS = sorted(p for p in (ROOT / "configs").rglob("*.py") if not p.name.startswith("_"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _sources() -> list[Path]:
    """Python files that git tracks or would track; without git, those at the agreed places."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return sorted(p for p in (ROOT / name for name in listed.stdout.split("\0") if name) if p.exists())
    patterns = ("*.py", "bnn_jax/**/*.py", "configs/**/*.py", "tests/**/*.py", "benchmarks/**/*.py")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


SOURCES = _sources()


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- What is declared --------------------------------------------------------------------------------------


def _requirements(lines: list[str]) -> list[Requirement]:
    return [Requirement(line) for line in (line.partition("#")[0].strip() for line in lines) if line]


CORE = _requirements((ROOT / "requirements.txt").read_text().splitlines())
EXTRAS = {extra: _requirements(lines) for extra, lines in PROJECT["optional-dependencies"].items()}


def test_requirements_are_read_from_one_file():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert PROJECT["dynamic"] == ["dependencies"]
    assert setuptools["dynamic"]["dependencies"] == {"file": ["requirements.txt"]}


def test_requirements_are_sorted_lower_bounds():
    names = [canonicalize_name(r.name) for r in CORE]
    assert names == sorted(set(names))
    upper = {r.name for r in CORE if any(s.operator != ">=" for s in r.specifier)}
    assert upper == {"orbax-checkpoint"}


def test_extras_agree_with_requirements():
    """An extra may add to what a requirement brings (jax[cuda12]), with the same bounds."""
    bounds = {canonicalize_name(r.name): r.specifier for r in CORE}
    repeated = [r for extra in EXTRAS.values() for r in extra if canonicalize_name(r.name) in bounds]
    assert {r.name for r in repeated} == {"jax"}
    assert all(r.extras and r.specifier == bounds[canonicalize_name(r.name)] for r in repeated)


def test_python_versions_agree():
    minors = [int(m) for c in PROJECT["classifiers"] for m in re.findall(r"Python :: 3\.(\d+)$", c)]
    assert PROJECT["requires-python"] == f">=3.{min(minors)}"
    assert minors == list(range(min(minors), max(minors) + 1))
    makefile = (ROOT / "Makefile").read_text()
    candidates = re.search("^candidates := .*", makefile, re.MULTILINE).group()
    assert sorted(int(m) for m in re.findall(r"python3\.(\d+)", candidates)) == minors
    assert f"(3, {min(minors)}) <= sys.version_info[:2] <= (3, {max(minors)})" in makefile


def test_version_agrees():
    import bnn_jax

    assert bnn_jax.__version__ == PROJECT["version"]


def test_a_checkout_beside_the_users_script_does_not_hide_the_package(tmp_path):
    """Python takes any folder of that name for a package, unless a real one lies on its path."""
    checkout, script = tmp_path / "bnn_jax", tmp_path / "own.py"
    checkout.mkdir()
    script.write_text("import bnn_jax; print(bnn_jax.__version__)")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == PROJECT["version"], done.stderr


def _imports(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every import as (module, node), `from bnn_jax import ste` as bnn_jax.ste; relative ones fail."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write it out from bnn_jax"
            if node.module == "bnn_jax":
                yield from ((f"bnn_jax.{alias.name}", node) for alias in node.names)
            else:
                yield node.module, node


def _at_import_time(tree: ast.Module) -> set[ast.AST]:
    """Nodes outside functions and `if TYPE_CHECKING`: what runs when the module is imported."""
    reached, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting.extend(node.orelse)
            continue
        reached.add(node)
        waiting.extend(ast.iter_child_nodes(node))
    return reached


def test_every_import_is_declared():
    """At import time only requirements; inside a function also what an extra brings."""
    distributions = importlib.metadata.packages_distributions()
    core = {canonicalize_name(r.name) for r in CORE}
    runtime = [r for extra, rs in EXTRAS.items() if extra != "dev" for r in rs]
    optional = core | {canonicalize_name(r.name) for r in runtime}
    undeclared = []
    for path in SOURCES:
        if path.parts[len(ROOT.parts)] not in ("bnn_jax", "configs", "train.py", "eval.py"):
            continue
        tree = ast.parse(path.read_text())
        first = _at_import_time(tree)
        for module, node in _imports(tree):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in ("bnn_jax", "configs"):
                continue
            named = {canonicalize_name(d) for d in distributions.get(top, [top])}
            if not named & (core if node in first else optional):
                undeclared.append(f"{_name(path)}:{node.lineno} {module}")
    assert not undeclared


# --- What imports what -------------------------------------------------------------------------------------

# Imports point down. Modules not listed (a summary, a plot) stand with models; data imports only itself.
RANKS = {
    **dict.fromkeys(["ops", "ste"], 0),
    "binarizers": 1,
    "losses": 2,
    **dict.fromkeys(["regularizers", "transform"], 3),
    **dict.fromkeys(["layers", "nonlinearities"], 4),
    "models": 5,
    **dict.fromkeys(["data", "training"], 6),
    **dict.fromkeys(["evaluation", "convert"], 7),
    "ablation": 8,
}
PURE = ("ops", "ste", "binarizers", "losses", "regularizers", "transform")
NOT_PURE = {"flax", "haiku", "equinox", "ml_collections", "absl", "grain", "tensorflow_datasets", "orbax"}


def _part(module: str) -> str:
    return module.split(".")[1]


def _forbidden(importer: str, module: str) -> bool:
    """Whether a part of the package may not import `module`."""
    if not module.startswith("bnn_jax."):
        return importer in PURE and module.partition(".")[0] in NOT_PURE
    imported = _part(module)
    if importer == imported or imported.startswith("__"):
        return False
    if importer == "data":
        return True
    return RANKS.get(imported, 5) > RANKS.get(importer, 5) or importer == "ste"


def test_imports_point_one_way():
    wrong = []
    for path in SOURCES:
        if not path.is_relative_to(PACKAGE) or path == PACKAGE / "__init__.py":
            continue
        importer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for module, node in _imports(ast.parse(path.read_text())):
            if _forbidden(importer, module):
                wrong.append(f"{_name(path)}:{node.lineno} {module}")
    assert not wrong


@pytest.mark.parametrize(
    ("importer", "module"),
    [
        ("ste", "bnn_jax.binarizers"),
        ("binarizers", "bnn_jax.layers"),
        ("binarizers", "flax.linen"),
        ("transform", "ml_collections"),
        ("nonlinearities", "bnn_jax.models"),
        ("layers", "bnn_jax.data.pipeline"),
        ("models", "bnn_jax.training"),
        ("data", "bnn_jax.models"),
        ("training", "bnn_jax.convert.torchvision"),
        ("summary", "bnn_jax.training.state"),
        ("evaluation", "bnn_jax.ablation.record"),
    ],
)
def test_the_rule_of_imports_forbids(importer, module):
    assert _forbidden(importer, module)


def test_importing_the_package_is_light(run_python):
    """No framework but JAX, no flags, nothing to plot with: the package is for notebooks as well."""
    loaded = run_python(
        """
        import sys
        import bnn_jax
        print(*{name.partition(".")[0] for name in sys.modules}, *sys.modules)
        """
    ).split()
    heavy = {"absl.app", "flax", "grain", "matplotlib", "ml_collections", "orbax", "sklearn"}
    heavy |= {"tensorflow", "tensorflow_datasets", "torch"}
    assert not heavy & set(loaded)


def test_pure_parts_work_without_flax(run_python):
    run_python(
        """
        import sys
        sys.modules.update(dict.fromkeys(["flax", "ml_collections", "absl", "grain", "tensorflow_datasets"]))
        import jax, bnn_jax
        slope = jax.grad(lambda x: bnn_jax.ste.sign(x, gradient=bnn_jax.ste.polynomial))(0.25)
        assert slope == 1.5, slope
        """
    )


# --- Names and sizes ---------------------------------------------------------------------------------------


def test_files_hold_one_idea():
    long = {_name(p): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 350}
    assert not long


def test_no_open_ends():
    words = re.compile("TODO|FIXME|NotImplementedError")
    found = [
        f"{_name(path)}:{number} {line.strip()}"
        for path in SOURCES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert not found


def test_methods_are_named_in_their_own_files_only():
    """A further paper changes none of these. Names of config files (siman_resnet20) are not meant."""
    methods = re.compile(r"\b(siman|rebnn|lcr([-_ ]?bnn)?|bd[-_ ]?bnn|ir[-_ ]?net)\b", re.IGNORECASE)
    common = ("layers.py", "losses.py", "transform.py", "training", "data", "evaluation", "ablation")
    files = [p for p in SOURCES if p in (ROOT / "train.py", ROOT / "eval.py")]
    files += [p for p in SOURCES if p.is_relative_to(PACKAGE) and p.relative_to(PACKAGE).parts[0] in common]
    found = [
        f"{_name(path)}:{number} {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if methods.search(line)
    ]
    assert not found


# --- What CONTRIBUTING.md and configs promise ---------------------------------------------------------------


def test_the_worked_binarizer_of_contributing_works():
    import jax
    import jax.numpy as jnp

    [source] = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    namespace = {}
    exec(textwrap.dedent(source), namespace)
    w = jax.random.normal(jax.random.key(0), (3, 3, 4, 5))
    binarizer = namespace["xnor"]()
    binary, _ = binarizer.quantize(w, {}, {}, train=True, progress=0.0)
    assert set(jnp.unique(binary.code).tolist()) == {-1.0, 1.0}
    assert jnp.allclose(binary.scale, jnp.abs(w).mean((0, 1, 2)))
    slope = jax.grad(lambda w: binarizer.apply(w).sum())(w)
    assert jnp.all(jnp.isfinite(slope))
    assert jnp.any(slope != 0)


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_config_loads_and_gives_its_command(path, monkeypatch):
    spec = importlib.util.spec_from_file_location("config_under_test", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    config = module.get_config()
    assert dataclasses.is_dataclass(config)
    assert not isinstance(config, type)
    program = "-m bnn_jax.ablation" if path.parent.name == "ablations" else "train.py"
    assert f"python {program} --config {_name(path)}" in " ".join(module.__doc__.replace("\\\n", " ").split())
