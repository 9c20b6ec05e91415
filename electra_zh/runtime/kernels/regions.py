"""The marked regions of a program (`models/regions.py`): kernels in their place, or no marks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import export
from jax.interpreters import mlir
from jax.sharding import AbstractMesh, use_abstract_mesh
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import func, stablehlo

from electra_zh.runtime.kernels import Kernels

_TYPES = {"f32": "float32", "bf16": "bfloat16", "ui32": "uint32", "i32": "int32"}


def load(serialized: bytes, kernels: Kernels | None = None) -> export.Exported:
    """Returns a program of `jax.export` with kernels in place of regions, and without the marks.

    Regions without a kernel keep their operations; all do if `kernels` is None.
    """
    exported = export.deserialize(bytearray(serialized))
    with mlir.make_ir_context() as context, ir.Location.unknown():
        module = stablehlo.deserialize_portable_artifact(context, exported.mlir_module_serialized)
        marks = _find_marks(module)
        if kernels is not None:
            _replace_regions(marks, _Functions(module, kernels))
        for mark in marks:
            mark.remove()
        assert module.operation.verify()
        version = stablehlo.get_current_version()
        text = bytes(stablehlo.serialize_portable_artifact(module, version, True))
    return dataclasses.replace(exported, mlir_module_serialized=text)


class _Mark:
    """The begin or the end of a region."""

    def __init__(self, operation: Any, text: bytes) -> None:
        """Reads the text of the mark, JSON."""
        self.settings = json.loads(text)
        self.number, self.kind, self.is_end = (
            self.settings.pop(key) for key in ("number", "kind", "is_end")
        )
        self.operation = operation

    @property
    def tensors(self) -> list[Any]:
        """The tensors that pass the mark."""
        return list(self.operation.operands)[1:]  # The first is the text.

    def remove(self) -> None:
        """Removes the mark; the tensors pass."""
        pairs = zip(self.operation.results, self.operation.operands, strict=True)
        for result, operand in pairs:
            result.replace_all_uses_with(operand)
        self.operation.erase()


def _find_marks(module: Any) -> list[_Mark]:
    """Returns the marks in their order."""
    found = []

    def visit(operation: Any) -> Any:
        if operation.name == "stablehlo.optimization_barrier":
            owner = operation.operands[0].owner
            owner = getattr(owner, "operation", owner)  # a block for a parameter
            if getattr(owner, "name", "") == "stablehlo.constant":
                value = np.array(ir.DenseElementsAttr(owner.attributes["value"]))
                if value.dtype == np.uint8:
                    found.append(_Mark(operation, value.tobytes()))
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    return found


def _replace_regions(marks: list[_Mark], functions: _Functions) -> None:
    """Calls the kernels before the ends of the regions, and lets their results pass the ends."""
    begins = {mark.number: mark for mark in marks if not mark.is_end}
    ends = {mark.number: mark for mark in marks if mark.is_end}
    assert len(begins) + len(ends) == len(marks)
    for number, end in ends.items():
        inputs = begins[number].tensors
        if not (name := functions.of(end, inputs)):
            continue
        with ir.InsertionPoint(end.operation), end.operation.location:
            types = [value.type for value in end.tensors]
            call = func.CallOp(types, ir.FlatSymbolRefAttr.get(name), inputs)
        for index, value in enumerate(call.results):
            end.operation.operands[index + 1] = value


class _Functions:
    """Kernels as functions of a module, one for all equal regions."""

    def __init__(self, module: Any, kernels: Kernels) -> None:
        self._module, self._kernels = module, kernels
        self._names: dict[str, str] = {}

    def of(self, mark: _Mark, inputs: list[Any]) -> str:
        """Returns the name of the function for a region; empty if it keeps its operations."""
        types = [ir.RankedTensorType(value.type) for value in inputs]
        key = f"{mark.kind} {mark.settings} {types}"
        if key not in self._names:
            structs = [
                jax.ShapeDtypeStruct(tuple(each.shape), _TYPES[str(each.element_type)])
                for each in types
            ]
            kernel = self._kernels.find(mark.kind, structs, mark.settings)
            self._names[key] = self._add(kernel, structs) if kernel else ""
        return self._names[key]

    def _add(self, kernel: Callable[..., Any], structs: list[Any]) -> str:
        """Adds a kernel to the module as a private function, and returns its name."""
        name = f"kernel.{len(self._names)}"
        with use_abstract_mesh(AbstractMesh((), (), abstract_device=self._kernels.device)):
            traced = jax.jit(kernel).trace(*structs)
            lowered = traced.lower(lowering_platforms=(self._kernels.platform,))
        other = ir.Module.parse(str(lowered.compiler_ir()))  # owns its operations
        added = {each.attributes["sym_name"].value: each for each in other.body.operations}
        functions = [own for own, each in added.items() if isinstance(each, func.FuncOp)]
        names = {own: f"{name}.{index}" for index, own in enumerate(functions)} | {"main": name}

        def rename(operation: Any) -> Any:
            if operation.name == "func.call":
                callee = operation.attributes["callee"].value
                operation.attributes["callee"] = ir.FlatSymbolRefAttr.get(names[callee])
            return ir.WalkResult.ADVANCE

        for own, each in added.items():
            if own not in names and own in ir.SymbolTable(self._module.operation):
                continue  # the mesh of several devices, the same in all kernels
            copy = each.operation.clone()
            if own in names:
                copy.attributes["sym_name"] = ir.StringAttr.get(names[own])
                copy.attributes["sym_visibility"] = ir.StringAttr.get("private")
                copy.walk(rename)
            self._module.body.append(copy)
        return name
