"""The folder of a run: made by one config, refused to any other."""

import json
import os
from pathlib import Path
from typing import Any

from bnn_jax.config import Config, differences, from_dict, to_dict

CONFIG = "config.json"
_SHOWN = 12  # differences between two configs


def verify(workdir: Path, config: Config) -> bool:
    """Checks that a run of `config` may use `workdir`.

    Returns:
      Whether there is a run of this config already.

    Raises:
      ValueError: If another config made it (the message lists what differs), or it holds something else.
    """
    if _has_run(workdir):
        changed = differences(read_config(workdir), config)
        if changed:
            shown = changed[:_SHOWN] + ([f"and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else [])
            lines = "\n  ".join(shown)
            raise ValueError(
                f"{workdir} holds a run of another config (there -> now):\n  {lines}\n"
                "Use another --workdir for this config, or the same config to continue that run."
            )
        return True
    if (workdir / CONFIG).exists():
        return False
    # A run that was killed while it wrote its config leaves no more than this.
    part = _part(workdir / CONFIG)
    if workdir.exists() and (not workdir.is_dir() or any(path != part for path in workdir.iterdir())):
        raise ValueError(f"{workdir} is there already, but holds no {CONFIG} of a run: use a new or empty folder")
    return False


def claim(workdir: Path, config: Config) -> None:
    """Makes `workdir` the folder of `config`."""
    workdir.mkdir(parents=True, exist_ok=True)
    # Also where it is there: what has no bearing on the result (the data's place) may have changed.
    write_json(workdir / CONFIG, to_dict(config))


def _has_run(workdir: Path) -> bool:
    """Whether any training was done here, or in a stage; a config alone is of a run that could not start."""
    in_stage = any(_has_run(path.parent) for path in workdir.glob(f"*/{CONFIG}"))
    log = workdir / "metrics.jsonl"
    saved = workdir / "checkpoints"
    done = (log.is_file() and log.stat().st_size > 0) or (saved.is_dir() and any(saved.iterdir()))
    return (workdir / CONFIG).exists() and (done or in_stage)


def read_config(workdir: Path) -> Config:
    """The config that made a workdir.

    Raises:
      FileNotFoundError: If `workdir` is not the folder of a run.
      ValueError: If its config cannot be read.
    """
    path = workdir / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{workdir} is not the folder of a run: there is no {path}; train one with train.py")
    try:
        config = from_dict(json.loads(path.read_text()))
        if not isinstance(config, Config):
            raise TypeError(f"found {config!r}")
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{path} is not a config of this version of bnn_jax: {error}") from error
    return config


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all."""
    part = _part(path)
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")
