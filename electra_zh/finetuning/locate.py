"""The files of a task below --data, in the layouts of the public zips."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping, Sequence

from electra_zh import files
from electra_zh.data import archives
from electra_zh.errors import UserError
from electra_zh.finetuning.tasks import SPLITS, Split, TaskConfig

# Levels of folders below --data that are searched for a task's own folder.
_SEARCH_DEPTH = 3
_COLUMNAR = (".parquet", ".arrow")
# Names of the splits on Hugging Face's hub.
_EXPORTED: Mapping[Split, tuple[str, ...]] = {
    "train": ("train",),
    "dev": ("validation", "dev", "valid", "validation_matched"),
    "test": ("test", "test_matched"),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """A task's files below --data.

    Attributes:
      folder: the folder that contains them.
      paths: split to its files, for the splits that have any.
      labels: path of the file of labels, or "".
    """

    folder: str
    paths: Mapping[Split, tuple[str, ...]]
    labels: str

    def missing_splits(self) -> list[Split]:
        """Returns the missing splits that training needs."""
        needed: tuple[Split, ...] = ("train", "dev")
        return [split for split in needed if split not in self.paths]


def find(task: TaskConfig, folders: Sequence[str]) -> Found | None:
    """Finds a task's files: in `data` itself, or in one of its folders below `data`.

    A folder fits if it has the file of some split; the one with most splits is chosen. A folder
    named after the task that has train and dev is preferred to `data`, which may contain another
    task's files. Names are compared without regard to case.

    Args:
      task: the task.
      folders: from `folders_below`; the first is `data`.

    Returns:
      The files, or None if no folder fits.
    """
    names = [name.lower() for name in (*task.folders, task.name)]
    last = {folder: folder.rstrip("/").rpartition("/")[2].lower() for folder in folders}
    named = sorted(
        (folder for folder in folders if last[folder] in names),
        key=lambda folder: (names.index(last[folder]), folder.count("/"), folder),
    )
    best = _most_splits([_look_into(task, folder) for folder in named])
    if best is None or best.missing_splits():
        best = _most_splits([best, _look_into(task, folders[0])])
    return best


def _most_splits(found: Sequence[Found | None]) -> Found | None:
    return max(filter(None, found), key=lambda each: len(each.paths), default=None)


def why_missing(task: TaskConfig, found: Found | None, data: str) -> str:
    """Returns the reason why a task has no data to train on, or ""."""
    if found is None:
        searched = ", ".join((*task.folders, *task.files.train[:1]))
        wanted = f"searched for {searched}" if searched else "the task names none"
        return f"no files below {data} ({wanted})"
    for split in found.missing_splits():
        names = ", ".join(getattr(task.files, split))
        wanted = f"searched for {names}" if names else "the task names none"
        return f"no {split} file in {found.folder} ({wanted}); give it as {split}_file=PATH"
    return ""


def folders_below(data: str) -> list[str]:
    """Returns `data` and the folders below it, down to the depth that is searched.

    Raises:
      UserError: `data` is not a folder.
    """
    if not files.is_dir(data):
        raise UserError(f"--data {data} {'is a file' if files.exists(data) else 'does not exist'}")
    level, found = [data.rstrip("/") or "/"], []
    for _ in range(_SEARCH_DEPTH + 1):
        found.extend(level)
        below = [
            files.join(folder, name)
            for folder in level
            for name in files.list_dir(folder)
            if not name.startswith(".")
        ]
        level = [path for path in below if files.is_dir(path)]
    return found


def _look_into(task: TaskConfig, folder: str) -> Found | None:
    names = files.list_dir(folder)
    paths: dict[Split, tuple[str, ...]] = {}
    for split in SPLITS:
        for patterns in getattr(task.files, split):
            whole = [patterns] if _match(folder, names, patterns) else patterns.split("+")
            parts = [_match(folder, names, pattern.strip()) for pattern in whole]
            if all(parts):
                paths[split] = tuple(parts)
                break
    paths = paths or _exported(folder, names)
    labels = _match(folder, names, task.labels.file) if task.labels.file else ""
    return Found(folder, paths, labels) if paths else None


def _match(folder: str, names: Sequence[str], pattern: str) -> str:
    """Returns the path of the first file that matches, or "". A pattern may be a path."""
    if "/" in pattern:
        paths = [pattern, files.join(folder, pattern)]
        return next(filter(files.exists, paths), "")
    if pattern in names:
        return files.join(folder, pattern)
    lower = {name: name.lower() for name in names}
    plain = {name: archives.strip_suffix(lower[name]) for name in names}
    matching = (
        name
        for found in (lower, plain)
        for name in names
        if fnmatch.fnmatchcase(found[name], pattern.lower())
    )
    return next((files.join(folder, name) for name in matching), "")


def _exported(folder: str, names: Sequence[str]) -> dict[Split, tuple[str, ...]]:
    """Returns the splits of a set from Hugging Face's hub, in one or several files each.

    They are Parquet or Arrow files in the folder, in its folder `data`, or in a folder per split,
    as `save_to_disk` makes them.
    """
    found: dict[Split, tuple[str, ...]] = {}
    places = [files.join(folder, name) for name in ("data",) if name in names]
    listed = [(place, files.list_dir(place)) for place in places if files.is_dir(place)]
    for split, spellings in _EXPORTED.items():
        for spelling in spellings:
            form = re.compile(rf"(.*-)?{spelling}(-\d+-of-\d+)?\.(parquet|arrow)")
            paths = [
                files.join(place, name)
                for place, inside in [(folder, names), *listed]
                for name in inside
                if form.fullmatch(name)
            ]
            place = files.join(folder, spelling)
            if not paths and spelling in names and files.is_dir(place):
                shards = [name for name in files.list_dir(place) if not name.startswith("cache-")]
                paths = [files.join(place, each) for each in shards if each.endswith(_COLUMNAR)]
            if paths:
                found[split] = tuple(paths)
                break
    return found
