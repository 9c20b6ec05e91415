"""A new run with its lowered step, for a machine that has JAX but not TensorFlow."""

from __future__ import annotations

from absl import logging

from electra_zh import files
from electra_zh.data import order
from electra_zh.errors import UserError
from electra_zh.pretraining.programs.lower import lower_step
from electra_zh.pretraining.programs.train import PROGRAM, STEP
from electra_zh.pretraining.run import PreparedRun
from electra_zh.pretraining.state import TrainState, variables_by_name
from electra_zh.training.checkpoints import CheckpointStore


def export_step(prepared: PreparedRun) -> None:
    """Writes the run's folder with its first checkpoint, and its step in the folder `program`.

    Raises:
      UserError: the run has phases, which are steps of their own.
    """
    run, config = prepared.run, prepared.run.config
    if len(run.phases) > 1:
        raise UserError("A recipe with phases has several steps, of which only one is exported")
    state = TrainState(config, run.vocabulary)
    program = lower_step(state)
    names = {
        variable.name.partition(":")[0]: name
        for tensors in (variables_by_name(state.objective), state.optimizer.state_tensors())
        for name, variable in tensors.items()
    }
    names[state.optimizer.step.name.partition(":")[0]] = STEP
    run.save()
    program.renamed(names).save(files.join(run.folder, PROGRAM))
    if prepared.first_weights is not None:
        prepared.first_weights.assign(state)
    data = {"fingerprint": run.data_fingerprint, "order": order.VERSION, "examples_read": 0}
    store = CheckpointStore(run.checkpoints, keep=config.keep_checkpoint_max)
    # Without slots of the optimizer that are zeros: a third of the size to move.
    has_slots = run.init is not None and run.init.keep_optimizer
    store.save(
        0,
        model=variables_by_name(state.objective),
        optimizer=state.optimizer.state_tensors() if has_slots else {},
        state={"optimizer_step": 0, "settings": config.to_dict(), "data": data},
    )
    logging.info(
        "Exported the step to %s: %.1f MB, %d variables. Train it with `electra-zh pretrain "
        "--program %s --data DIR --output RUN`, where TensorFlow is not needed.",
        run.folder,
        program.size / 1e6,
        len(program.all_variables),
        run.folder,
    )
