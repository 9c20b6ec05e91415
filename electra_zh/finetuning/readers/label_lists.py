"""Examples with any number of labels each: the forms of `table`, with lists of labels."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExampleError, LabelsExample
from electra_zh.finetuning.readers.fields import Fields
from electra_zh.finetuning.readers.tables import Table
from electra_zh.settings import setting


@dataclasses.dataclass(frozen=True)
class ListFields(Fields):
    """The fields of texts, and how a cell is split into labels."""

    label_separator: str = setting(",", "what separates the labels of a cell")

    def check_together(self) -> None:
        """Checks that there is a separator."""
        super().check_together()
        if not self.label_separator:
            raise UserError("label_separator is empty; give the text between two labels")


class LabelLists(Table, name="label_lists"):
    """A table or JSON as of `table`, with any number of labels per example.

    In JSON they are a list, or text as a cell of a table, where `label_separator` is between them;
    a cell may be a JSON array, too. An empty list or cell is an example with none of the labels.
    """

    example_type = LabelsExample
    fields_type = ListFields
    fields: ListFields

    def _label(self, value: Any) -> str | None:
        if value is None:
            return None
        values = self._split(value) if isinstance(value, str) else value
        if not isinstance(values, list):
            values = [values]
        names = [self.fields.usual_label(each) for each in values]
        if any(isinstance(each, list | dict) for each in values) or None in names:
            received = json.dumps(value, ensure_ascii=False)[:40]
            raise BadExampleError("not a list of labels", f"received {received}")
        return json.dumps(list(dict.fromkeys(names)), ensure_ascii=False)

    def _split(self, cell: str) -> list[Any]:
        """Returns the labels of a cell."""
        if cell.strip().startswith("["):
            try:
                return list(json.loads(cell))
            except ValueError:
                pass  # The first label begins with a bracket.
        return [each for each in cell.split(self.fields.label_separator) if each.strip()]

    def _is_label(self, label: str) -> bool:
        return all(map(super()._is_label, (str(each).strip() for each in self._split(label))))
