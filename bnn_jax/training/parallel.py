"""Running a step over all devices of all hosts, and starting up on several hosts."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bnn_jax.training.step import AXIS


def parallelize(step: Callable[..., Any], *, donate: bool = False, stay: bool = False) -> Callable[..., Any]:
    """Maps `step(state, batch)` over the devices: state replicated, batch split, results replicated.

    Args:
      step: A function written for the axis "batch".
      donate: Whether the state's buffers may be reused for the result.
      stay: Whether results stay split as the batch is: what another such step takes as its batch.
    """
    out_axes = 0 if stay else None
    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=out_axes, donate_argnums=(0,) if donate else ())


def replicate(tree: Any) -> Any:
    """Places a host-side pytree on every local device, as `parallelize` expects and returns it."""
    # jax_utils.replicate adds an axis and makes the step compile twice.
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(n, ...) arrays of this host to (local devices, n / local devices, ...)."""
    devices = jax.local_device_count()
    return {key: value.reshape(devices, -1, *value.shape[1:]) for key, value in batch.items()}


def check_batch_size(batch_size: int, name: str) -> None:
    """Refuses a global batch size the devices cannot share evenly.

    Raises:
      ValueError: If it is not a positive multiple of the number of devices.
    """
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        near = max(devices, round(batch_size / devices) * devices)
        raise ValueError(f"{name} = {batch_size} cannot be split over {devices} devices: use a multiple, e.g. {near}")


def gather(value: int) -> np.ndarray:
    """What each process holds, (processes,) uint32; returns when all local devices are done.

    Args:
      value: An unsigned 32-bit number.
    """
    # multihost_utils returns once one local device is done: a process that ends then destroys the client under the
    # others, which hangs or aborts it.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(devices).reshape(jax.process_count(), -1), ("process", "device"))
    mine = NamedSharding(mesh, PartitionSpec("process"))
    everyone = NamedSharding(mesh, PartitionSpec())
    values = jax.make_array_from_process_local_data(mine, np.array([value], np.uint32))
    gathered = jax.block_until_ready(jax.jit(lambda values: values, out_shardings=everyone)(values))
    return np.asarray(gathered.addressable_data(0))


def barrier(name: str) -> None:
    """Waits until every process has come here.

    Raises:
      ValueError: If another process waits at a barrier of another name.
    """
    check_agreement("the barrier they wait at", name)


def check_agreement(what: str, value: str) -> None:
    """Checks that all processes hold the same `value`.

    Raises:
      ValueError: If they do not.
    """
    if jax.process_count() == 1:
        return
    # Not int64: JAX would cut it to 32 bits and every comparison would fail.
    mine = zlib.crc32(value.encode())
    if np.any(gather(mine) != mine):
        raise ValueError(f"the processes differ in {what}; process {jax.process_index()} has {value}")


def initialize(coordinator: str = "", processes: int = 0, process: int = -1) -> bool:
    """Starts JAX's distributed runtime, before anything else touches a device.

    Args:
      coordinator: host:port of process 0; empty to detect a cluster (TPU pod, SLURM, ...), if there is one.
      processes: Number of processes; needed with `coordinator`.
      process: Index of this process; needed with `coordinator`.

    Returns:
      Whether this run spans several processes.

    Raises:
      ValueError: If only some of the three are given.
    """
    given = (bool(coordinator), processes > 0, process >= 0)
    if any(given) and not all(given):
        raise ValueError(
            "several processes need all of --coordinator host:port, --processes N and --process I "
            f"(0 <= I < N), found coordinator={coordinator!r}, processes={processes}, process={process}"
        )
    if all(given):
        jax.distributed.initialize(coordinator, processes, process)
        return processes > 1
    try:
        jax.distributed.initialize()
    except ValueError as error:
        # What JAX says where it detects no cluster; anything else is a cluster set up wrongly.
        if "coordinator_address should be defined" not in str(error):
            raise
    return jax.process_count() > 1
