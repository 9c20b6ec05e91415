"""A training step of TensorFlow as a program that JAX can call on every device.

TensorFlow's own compiler writes the step as one StableHLO module. Variables become parameters after
the batch, and those that the step writes become results. `jax.export` holds the module, so that
only public functions of JAX run it: the export of a function of the same signature is made, and its
module replaced.

Call `prepare` before TensorFlow is imported: with its constant folding the module has literals of
megabytes, which every device would hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

import electra_zh
from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.runtime.program import StepProgram, TensorInfo, jax_type

_FLAG = "--tf_xla_disable_constant_folding=true"


def prepare() -> None:
    """Sets the flag of TensorFlow's compiler, before TensorFlow is imported."""
    given = os.environ.get("TF_XLA_FLAGS", "")
    if _FLAG not in given:
        os.environ["TF_XLA_FLAGS"] = f"{given} {_FLAG}".strip()


def cached(key: Any, make: Callable[[], StepProgram]) -> StepProgram:
    """Returns the program of a key, from the user's cache or made and kept there.

    `key` is plain values that the step follows from, next to the code and its libraries.
    """
    versions = [importlib.metadata.version(name) for name in ("tensorflow", "jax", "jaxlib")]
    text = json.dumps([key, versions, _code_digest()], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = files.join(files.cache_folder("programs"), digest)
    with contextlib.suppress(UserError):
        return StepProgram.load(folder)
    start = time.perf_counter()
    logging.info("Lowering the step; it is kept for the next time.")
    program = make()._replace(key=digest)
    size, seconds = program.size / 1e6, time.perf_counter() - start
    logging.info("Lowered the step: %.1f MB in %.0f s.", size, seconds)
    try:
        program.save(folder)
    except OSError as error:
        logging.warning("The lowered step cannot be kept (%s).", error)
    return program


def _code_digest() -> str:
    """Returns a digest of the package's code."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(electra_zh.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def lower(
    step: Callable[[dict[str, Any]], Any],
    batch: Mapping[str, Sequence[int]],
    variables: Sequence[Any],
    *,
    full_precision: bool,
    types: Mapping[str, str] | None = None,
) -> StepProgram:
    """Returns the program of a step.

    Args:
      step: takes a batch, tensors by name, and returns a nest of sums; may write variables.
      batch: static shapes by name.
      variables: all that the step uses, of different names.
      full_precision: ask for products in full float32, which a TPU or a GPU would shorten.
      types: of tensors of the batch that are not int32, by name.
    """
    import tensorflow as tf

    from electra_zh.models import split

    names, types = list(batch), types or {}
    infos = [TensorInfo(name, tuple(batch[name]), types.get(name, "int32")) for name in names]
    specs = [tf.TensorSpec(info.shape, info.dtype, name=info.name) for info in infos]

    def flat_step(*values: tf.Tensor) -> Any:
        return step(dict(zip(names, values, strict=True)))

    function = tf.function(flat_step, jit_compile=True, autograph=False)
    with split.split_batch():
        concrete = function.get_concrete_function(*specs)
    by_handle = {id(variable.handle): variable for variable in variables}
    captured = [by_handle[id(handle)] for handle in concrete.captured_inputs]
    read_ir = function.experimental_get_compiler_ir(*specs)
    header = read_ir(stage="hlo", platform_name="CPU").partition("\n")[0]
    aliases = {int(p): int(o) for o, p in re.findall(r"\{(\d+)\}: \((\d+),", header)}
    program = StepProgram(
        b"",
        tuple(infos),
        tuple(_info(value.name.partition(":")[0], value) for value in captured),
        tuple(_info("", value) for value in tf.nest.flatten(concrete.structured_outputs)),
        tuple(aliases.get(len(specs) + index, -1) for index in range(len(captured))),
    )
    assert len({info.name for info in program.variables}) == len(captured)
    module = read_ir(stage="stablehlo_serialized", platform_name="CPU")
    return program._replace(exported=_export(module, program, full_precision=full_precision))


def _info(name: str, value: Any) -> TensorInfo:
    return TensorInfo(name, tuple(value.shape.as_list()), value.dtype.name)


def _export(module: bytes, program: StepProgram, *, full_precision: bool) -> bytes:
    import jax
    import jax.numpy as jnp
    from jax import export

    from electra_zh.runtime.placement import struct

    ins = [struct(info) for info in (*program.batch, *program.variables)]
    results = zip(program.written, program.variables, strict=True)
    outs = [*program.sums, *(info for place, info in sorted(results) if place >= 0)]
    same_signature = jax.jit(
        lambda *_: tuple(jnp.zeros(info.shape, jax_type(info.dtype)) for info in outs),
        keep_unused=True,
    )
    checks = [export.DisabledSafetyCheck.platform()]
    exported = export.export(same_signature, platforms=["cpu"], disabled_checks=checks)(*ins)
    portable = _rewrite(module, full_precision=full_precision)
    return bytes(dataclasses.replace(exported, mlir_module_serialized=portable).serialize())


def _rewrite(module: bytes, *, full_precision: bool) -> bytes:
    """Returns the module in StableHLO alone, with 32-bit integers at its border."""
    from jax.interpreters import mlir
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    with mlir.make_ir_context() as context, ir.Location.unknown():
        parsed = stablehlo.deserialize_portable_artifact(context, module)
        _to_stablehlo(parsed, full_precision=full_precision)
        _narrow(parsed)
        assert parsed.operation.verify()
        version = stablehlo.get_current_version()
        return bytes(stablehlo.serialize_portable_artifact(parsed, version, True))


def _to_stablehlo(module: Any, *, full_precision: bool) -> None:
    """Replaces what TensorFlow leaves in another dialect, which only JAX's own CPU accepts."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    foreign, products = [], []

    def visit(operation: Any) -> Any:
        if operation.name.startswith("mhlo."):
            foreign.append(operation)
        if operation.name in ("stablehlo.dot_general", "stablehlo.dot"):
            products.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    for operation in foreign:
        _replace(operation)
    attributes = module.operation.attributes
    names = [entry if isinstance(entry, str) else entry.name for entry in attributes]
    for name in names:
        if name.startswith("mhlo."):
            del attributes[name]
    highest = stablehlo.PrecisionAttr.get("HIGHEST")
    for product in products if full_precision else []:
        product.attributes["precision_config"] = ir.ArrayAttr.get([highest, highest])


def _replace(operation: Any) -> None:
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import chlo

    if operation.name == "mhlo.copy":
        new = operation.operands[0]
    elif operation.name == "mhlo.erf":
        with ir.InsertionPoint(operation), operation.location:
            new = chlo.ErfOp(operation.operands[0]).result
    else:
        raise NotImplementedError(f"{operation.name} in the program of a step")
    operation.results[0].replace_all_uses_with(new)
    operation.erase()


def _narrow(module: Any) -> None:
    """Makes int64 parameters and results of the module int32, converted inside."""
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    main: Any = ir.SymbolTable(module.operation)["main"]
    block = main.entry_block
    narrow, wide = (ir.IntegerType.get_signless(bits) for bits in (32, 64))

    def with_element(kind: Any, element: Any) -> Any:
        return ir.RankedTensorType.get(ir.RankedTensorType(kind).shape, element)

    def is_wide(kind: Any) -> bool:
        return bool(ir.RankedTensorType(kind).element_type == wide)

    for argument in block.arguments:
        if is_wide(kind := argument.type):
            argument.set_type(with_element(kind, narrow))
            with ir.InsertionPoint.at_block_begin(block):
                converted = stablehlo.ConvertOp(kind, argument)
            argument.replace_all_uses_except(converted.result, converted.operation)
    results = block.operations[len(block.operations) - 1]
    for index, value in enumerate(results.operands):
        if is_wide(value.type):
            with ir.InsertionPoint(results):
                kind = with_element(value.type, narrow)
                results.operands[index] = stablehlo.ConvertOp(kind, value).result
    inputs = [argument.type for argument in block.arguments]
    outputs = [value.type for value in results.operands]
    main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, outputs))
