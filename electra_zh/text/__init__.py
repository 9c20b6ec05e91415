"""Text to token ids, and vocabularies: nothing here loads TensorFlow."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def find_modules(name: str) -> Iterator[Any]:
    """Yields the modules of one name in the folders here: each folder is a kind of tokenizer."""
    for folder in map(Path, __path__):
        for path in sorted(folder.glob(f"*/{name}.py"), reverse=True):
            yield importlib.import_module(f"{__name__}.{path.parent.name}.{name}")
