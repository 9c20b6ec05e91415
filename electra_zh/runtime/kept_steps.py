"""Compiled steps that are kept in a folder, for a run on devices like those they are for.

- `compiled.json`: what they were compiled for, and a checksum
- `step.executable`: the steps, as JAX serializes them. Loading them runs code of the file.
"""

from __future__ import annotations

import json
from typing import Any

import jax
import jaxlib
from absl import logging
from jax.experimental import serialize_executable

from electra_zh import files, machine
from electra_zh.errors import UserError
from electra_zh.runtime import kernels
from electra_zh.runtime.placement import Placement

_JSON, _STEPS = "compiled.json", "step.executable"


def check_output(folder: str) -> None:
    """Checks that a folder is missing, empty, or has compiled steps.

    Raises:
      UserError: it has other files.
    """
    files.check_output(folder)
    if files.exists(folder) and set(files.list_dir(folder)) - {_JSON, _STEPS}:
        raise UserError(f"{folder} has other files than compiled steps: choose another --output")


def save(folder: str, compiled: jax.stages.Compiled, placement: Placement) -> None:
    """Writes the compiled steps of a placement."""
    steps, _, _ = serialize_executable.serialize(compiled)
    files.make_dirs(folder)
    with files.atomic_write(files.join(folder, _STEPS)) as file:
        file.write(steps)
    values = {**_conditions(placement), "sha256": files.sha256(steps)}
    files.write_json(files.join(folder, _JSON), values)
    logging.info("The compiled step is in %s: %.1f MB.", folder, len(steps) / 1e6)


def load(folder: str, placement: Placement) -> jax.stages.Compiled | None:
    """Returns the compiled steps of a folder; None if they are for something else, which is logged.

    Raises:
      UserError: there are none, they are damaged, or another user could have written them.
    """
    if not files.exists(files.join(folder, _JSON)):
        raise UserError(f"{folder} has no compiled step: make it with electra-zh compile --output")
    for path in (folder, files.join(folder, _STEPS)):
        if files.exists(path) and not files.is_own(path):
            raise UserError(
                f"{path} belongs to another user, or all may write to it, and loading a compiled "
                "step runs its code. Compile it again, or copy the folder if you trust it"
            )
    values = files.read_json_object(files.join(folder, _JSON))
    steps = files.read_bytes(files.join(folder, _STEPS))
    if files.sha256(steps) != values.get("sha256"):
        raise UserError(f"{folder}: {_STEPS} does not match its checksum. Compile it again")
    reason = _difference(values, _conditions(placement))
    if not reason:
        try:
            found = _deserialize(steps, placement)
        except Exception as error:  # of any kind: only the compiler knows the form
            reason = f"it cannot be loaded: {str(error).splitlines()[0]}"
        else:
            logging.info("Using the compiled step in %s.", folder)
            return found
    logging.warning("The compiled step in %s is not used: %s.", folder, reason)
    return None


def _deserialize(steps: bytes, placement: Placement) -> jax.stages.Compiled:
    program, leaf = placement.program, 0.0
    state = dict.fromkeys(placement.state, leaf)
    batches = {info.name: leaf for info in program.batch}
    sums = [leaf for _ in program.parts[-1].sums]
    devices = list(placement.everywhere.mesh.devices.flat)
    return serialize_executable.deserialize_and_load(
        steps,
        jax.tree.structure(((state, batches, leaf, leaf), {})),
        jax.tree.structure((state, sums)),
        backend=devices[0].client,
        execution_devices=devices,
    )


def _conditions(placement: Placement) -> dict[str, Any]:
    """Returns the conditions of compiled steps as plain values."""
    devices = list(placement.everywhere.mesh.devices.flat)
    processes = len({device.process_index for device in devices})
    places = {name: str(place.spec) for name, place in sorted(placement.state.items())}
    return {
        "devices": f"{len(devices)} x {_kind(devices[0])}",
        "processes": processes,
        "versions": f"JAX {jax.__version__}, jaxlib {jaxlib.__version__}",
        "kernels": kernels.version(devices),
        "state_sharding": files.sha256(json.dumps(places).encode()),
        "step": placement.program.digest,
        "block": placement.program.block,
    }


def _kind(device: Any) -> str:
    """Returns a device's name; a GPU's is its architecture, which its description need not name."""
    if device.platform == "cpu":
        return " ".join(["cpu", *machine.cpu().instruction_sets])
    if hasattr(device, "compute_capability"):
        return f"{device.platform} {device.compute_capability} of {device.core_count} cores"
    build = str(device.client.platform_version).splitlines()[-1]
    return f"{device.device_kind} ({build})"


# Differences of conditions that need not be shown to be understood.
_OTHERS = {
    "step": "it is another step: compile it with the --config, settings and --data of the run",
    "state_sharding": "its state_sharding is another one",
    "block": "its block is another one",
    "kernels": "its kernels are not those of this run: compile it with this version of electra-zh "
    f"and the same {kernels.SWITCH}",
}


def _difference(kept: dict[str, Any], here: dict[str, Any]) -> str:
    """Returns the first difference as a clause; empty for none."""
    name = next((name for name, value in here.items() if kept.get(name) != value), "")
    if not name or name in _OTHERS:
        return _OTHERS.get(name, "")
    return f"it is for {name.rstrip('s')} {kept.get(name)}, and this is {here[name]}"
