"""Task files in Parquet and Arrow, as Hugging Face's datasets and pandas write them.

Class labels, integers in such files, become names: the features in the metadata of the schema have
them. -1, which stands for an unknown label there, becomes None.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from electra_zh.data import columnar
from electra_zh.finetuning.readers.streams import Record, TaskFile

_PLAIN = (str, int, float, bool, list, dict, type(None))


def columnar_records(file: TaskFile, known_labels: Collection[str]) -> Iterator[Record]:
    """Yields the rows of a file as JSON objects.

    Args:
      file: a file whose form is Parquet or Arrow.
      known_labels: the labels of the task. Class labels stay numbers if only the numbers are among
        them, as in GLUE's own files.

    Raises:
      UserError: pyarrow is not installed, or the file is damaged.
    """
    number = 0
    with columnar.open_table(file.read_bytes(), file.path) as table:
        names = _label_names(table.metadata, known_labels)
        for rows, _ in table.batches:
            for row in rows:
                number += 1
                value = {key: _plain(row[key], names.get(key, ())) for key in row}
                yield Record(value, f"{file.path}, row {number}")


def _plain(value: Any, names: Sequence[str]) -> Any:
    """Returns a value as JSON has it, class labels by their names."""
    if names and isinstance(value, list):
        return [_plain(each, names) for each in value]
    if names and type(value) is int:
        return names[value] if 0 <= value < len(names) else None if value == -1 else value
    return value if isinstance(value, _PLAIN) else str(value)


def _label_names(metadata: Mapping[bytes, bytes], known: Collection[str]) -> dict[str, list[str]]:
    """Returns the names of the class labels of each column that has such labels."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {key: _class_names(feature) for key, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {key: _chosen(names, known) for key, names in found.items() if names}


def _class_names(feature: Any) -> list[str]:
    """Returns the names in the description of a feature, or of the items of a sequence."""
    while isinstance(feature, list) or (isinstance(feature, dict) and "names" not in feature):
        feature = feature[0] if isinstance(feature, list) else feature.get("feature")
    return [str(name) for name in feature["names"]] if isinstance(feature, dict) else []


def _chosen(names: Sequence[str], known: Collection[str]) -> list[str]:
    numbers = [str(number) for number in range(len(names))]
    only_numbers = set(numbers) <= set(known) and not set(names) <= set(known)
    return numbers if only_numbers else list(names)
