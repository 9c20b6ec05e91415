"""Where a task's files are below --data, in the layouts that the public zips really have."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.finetuning.tasks import SPLITS, Split, TaskConfig

# Folders below --data that are looked into for a task's own folder.
_SEARCH_DEPTH = 3


@dataclasses.dataclass(frozen=True)
class Found:
    """A task's files below --data.

    Attributes:
      folder: the folder that they are in.
      paths: split to the files that make it; a split that is not there is left out.
      labels: path of the file of labels, or "".
    """

    folder: str
    paths: Mapping[Split, tuple[str, ...]]
    labels: str

    def lacks(self) -> list[Split]:
        """Returns the splits that training needs and that are not there."""
        needed: tuple[Split, ...] = ("train", "dev")
        return [split for split in needed if split not in self.paths]


def find(task: TaskConfig, folders: Sequence[str]) -> Found | None:
    """Finds a task's files: in `data` itself, or in one of its folders below `data`.

    A folder fits where it has the file of some split. One named after the task that has train and
    dev wins over `data` itself, which may hold another task's; otherwise the one with most splits
    does. Names are compared without regard to case.

    Args:
      task: the task.
      folders: from `folders_below`; the first is `data`.

    Returns:
      The files, or None where nothing fits.
    """
    wanted = {name.lower() for name in (*task.folders, task.name)}
    data, named = folders[0], [each for each in folders if _last(each).lower() in wanted]
    order = {name.lower(): index for index, name in enumerate((*task.folders, task.name))}
    named.sort(key=lambda folder: (order[_last(folder).lower()], folder.count("/"), folder))
    best = _best(task, named)
    if best is not None and not best.lacks():
        return best
    return _best(task, [*named, data])


def _best(task: TaskConfig, folders: Sequence[str]) -> Found | None:
    """Returns the first of the folders with most splits."""
    found = [each for each in (_look_into(task, folder) for folder in folders) if each is not None]
    return max(found, key=lambda each: len(each.paths), default=None)


def lack(task: TaskConfig, place: Found | None, data: str) -> str:
    """Returns what a task lacks to be trained on, or ""."""
    if place is None:
        wanted = ", ".join((*task.folders, *task.files.train[:1]))
        return f"no files below {data} (looked for {wanted})"
    for split in place.lacks():
        names = ", ".join(getattr(task.files, split)) or f"none: give {split}_file=PATH"
        return f"no {split} file in {place.folder} ({names})"
    return ""


def _last(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]


def folders_below(data: str) -> list[str]:
    """Returns `data` and the folders below it, down to the depth that is searched.

    Raises:
      UserError: `data` is no folder.
    """
    if not files.is_dir(data):
        raise UserError(f"--data {data} {'is a file' if files.exists(data) else 'does not exist'}")
    level, found = [data.rstrip("/") or "/"], []
    for _ in range(_SEARCH_DEPTH + 1):
        found.extend(level)
        level = [
            files.join(folder, name)
            for folder in level
            for name in files.list_dir(folder)
            if not name.startswith(".") and files.is_dir(files.join(folder, name))
        ]
    return found


def _look_into(task: TaskConfig, folder: str) -> Found | None:
    names = files.list_dir(folder)
    paths: dict[Split, tuple[str, ...]] = {}
    for split in SPLITS:
        for patterns in getattr(task.files, split):
            parts = [_match(folder, names, pattern.strip()) for pattern in patterns.split("+")]
            if all(parts):
                paths[split] = tuple(parts)
                break
    if not paths:
        return None
    labels = _match(folder, names, task.labels.file) if task.labels.file else ""
    return Found(folder, paths, labels)


def _match(folder: str, names: Sequence[str], pattern: str) -> str:
    """Returns the path of the first file that matches, or "". A pattern may be a path."""
    if "/" in pattern:
        if files.exists(pattern):
            return pattern
        path = files.join(folder, pattern)
        return path if files.exists(path) else ""
    for name in names:
        if fnmatch.fnmatchcase(name.lower(), pattern.lower()):
            return files.join(folder, name)
    return ""
