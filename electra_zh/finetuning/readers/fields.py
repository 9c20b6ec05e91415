"""The settings `fields` of a task of texts, and its labels as text.

A task file gives them as

    fields:
      text_a: [sentence1, question1]       # the first name that the file has counts
      text_b: [sentence2, question2]
      columns: [[text_a, text_b, label]]   # of a table without a header
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from electra_zh.errors import UserError
from electra_zh.finetuning.readers.base import ReaderFields
from electra_zh.settings import setting


@dataclasses.dataclass(frozen=True)
class Fields(ReaderFields):
    """Names of the texts, the label and the id in files of texts, and how to read them."""

    NAMED: ClassVar[tuple[str, ...]] = ("text_a", "text_b", "label", "id")

    text_a: tuple[str, ...] = setting((), "names of the first text, the first one present counts")
    text_b: tuple[str, ...] = setting((), "names of the second text, for pairs")
    label: tuple[str, ...] = setting(("label",), "names of the label")
    id: tuple[str, ...] = setting(("id",), "names of the id")
    columns: tuple[tuple[str, ...], ...] = setting(
        (), "columns of tables without a header, of several layouts; _ is a column to ignore"
    )
    only: Mapping[str, str] = dataclasses.field(default_factory=dict)
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    separator: str = setting("", "separator of the columns, tried before TAB and comma")
    join: str = setting(
        " ", "what joins a list of texts; between Chinese texts a space leaves no token"
    )

    def check_together(self) -> None:
        """Checks that the texts are given, and the columns."""
        if not self._has("text_a"):
            raise UserError("text_a is missing; give the name of the text's field")
        if len(self.only) > 1:
            raise UserError(f"only has {len(self.only)} columns; give one")
        allowed = (*self.NAMED, "_")
        for layout in self.columns:
            for name in (*layout, *self.texts()):
                if name not in allowed:
                    raise UserError(f'columns contains "{name}"; allowed: {", ".join(allowed)}')
                if name not in layout:
                    raise UserError(f"columns: [{', '.join(layout)}] does not contain {name}")

    def names(self, field: str) -> tuple[str, ...]:
        """Returns the names that a field, or the column of `only`, may have in the file."""
        return tuple(getattr(self, field))

    def usual_label(self, value: Any) -> str | None:
        """Returns a label as text, an alias as the label's usual name."""
        label = label_text(value)
        return None if label is None else self.aliases.get(label, label)

    def _has(self, name: str) -> bool:
        return bool(getattr(self, name)) or any(name in layout for layout in self.columns)

    def texts(self) -> tuple[str, ...]:
        """Returns the names of the one or two texts."""
        return ("text_a", "text_b") if self._has("text_b") else ("text_a",)

    @classmethod
    def _plain(cls, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the fields with lists for `name|name|0`, as task files and models had it before.

        `only` and `aliases` were `key=value|key=value`; numbers were columns without a header.
        """
        values = dict(fields)
        numbers: dict[str, list[int]] = {}
        for key in [key for key in values if isinstance(values[key], str | int)]:
            words = [word for word in str(values[key]).split("|") if word]
            if key in cls.NAMED:
                values[key] = [word for word in words if not word.isdecimal()]
                numbers[key] = [int(word) for word in words if word.isdecimal()]
            elif key in ("only", "aliases"):
                values[key] = dict(word.split("=", 1) for word in words if "=" in word)
        layouts = []
        for index in range(max(map(len, numbers.values()), default=0)):
            of = {at[min(index, len(at) - 1)]: key for key, at in numbers.items() if at}
            layouts.append([of.get(column, "_") for column in range(max(of) + 1)])
        return {**values, "columns": layouts} if layouts else values


def label_text(value: Any) -> str | None:
    """Returns a label of any JSON type as text (true: `true`, 0: `0`); None if there is none."""
    if isinstance(value, str):
        return value.strip() or None
    is_missing = value is None or value != value  # NaN
    return None if is_missing else json.dumps(value, ensure_ascii=False)
