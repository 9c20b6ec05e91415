"""The output folder: files that may be replaced, and files that must not be touched.

Only files that a build writes are ever removed. A folder with any other file is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from electra_zh import __version__, files, locks
from electra_zh.data import input_files
from electra_zh.data.build.settings import HELDOUT, WORK, BuildSettings
from electra_zh.data.manifest import MANIFEST, is_shard_name
from electra_zh.errors import UserError, few
from electra_zh.files import is_partial
from electra_zh.text.characters import UNICODE_VERSION
from electra_zh.text.tokenizer import vocabulary_files
from electra_zh.text.vocabulary import Vocabulary

_FINGERPRINT = "build.json"
_REMOVALS = 5
# Settings whose values are short enough to be shown where they differ.
_SHOWN = ("version", "max_seq_length", "packing", "seed", "num_shards", "holdout_every", "words")


@contextlib.contextmanager
def prepared_folder(settings: BuildSettings, fingerprint: Mapping[str, Any]) -> Iterator[None]:
    """Prepares the folder for a new build or for resuming one, and locks it.

    Finished data that is to be replaced stays until the new data is complete. Parts share the lock;
    any other build has it alone.

    Raises:
      UserError: the folder has files that must not be lost, or another process writes to it.
    """
    work = settings.work_folder
    # Before anything is made.
    try:
        check_folder(settings, fingerprint)
    except UserError:
        _remove_leftover(settings)
        raise
    with locks.locked(work, shared=settings.part is not None):
        try:
            if check_folder(settings, fingerprint):
                for name in files.list_dir(work):
                    if name != locks.LOCK:
                        files.remove(files.join(work, name))
        except UserError:
            # Another build ended in between.
            if files.list_dir(work) == [locks.LOCK]:
                files.remove_tree(work)
            raise
        files.make_dirs(work)
        if not files.exists(fingerprint_path(settings)):
            files.write_json(fingerprint_path(settings), fingerprint)
        # Of parts that start at the same time with other settings, the last one is the build.
        check_folder(settings, fingerprint)
        yield


def make_fingerprint(
    settings: BuildSettings, inputs: Sequence[input_files.InputFile], vocabulary: Vocabulary
) -> dict[str, Any]:
    """Returns everything that the bytes of a build depend on."""
    listed = json.dumps([[os.path.basename(path), *rest] for path, *rest in inputs])
    return {
        "version": __version__,
        "Unicode version": UNICODE_VERSION,
        "vocabulary": vocabulary.sha256,
        "input files": files.sha256(listed.encode()),
        **settings.recorded(),
    }


def fingerprint_path(settings: BuildSettings) -> str:
    """Returns the path of the fingerprint of an unfinished build."""
    return files.join(settings.work_folder, _FINGERPRINT)


def check_folder(settings: BuildSettings, fingerprint: Mapping[str, Any]) -> str:
    """Checks that the folder may be written to.

    Returns:
      The settings in which an unfinished build differs that is to be replaced; '' if none.

    Raises:
      UserError: it may not be written to.
    """
    output = settings.output
    if not files.exists(output):
        return ""
    _refuse_foreign(settings)
    if files.exists(files.join(output, MANIFEST)) and not settings.overwrite:
        raise UserError(f"{output} has finished data. Choose another folder, or --overwrite")
    difference = _difference(fingerprint_path(settings), fingerprint)
    if difference and not settings.overwrite:
        raise UserError(
            f"{output} has an unfinished build with other {difference}. Resume it with the same "
            "settings, or --overwrite"
        )
    return difference


def _difference(path: str, fingerprint: Mapping[str, Any]) -> str:
    """Returns the settings in which an unfinished build differs from this one; '' if none."""
    if not files.exists(path):
        return ""
    found = files.read_json_object(path)
    # Some settings are recorded only where they are used.
    names = {**fingerprint, **found}
    different = [name for name in names if found.get(name) != fingerprint.get(name)]
    values = {name: f" ({found.get(name)} there, {fingerprint.get(name)} here)" for name in _SHOWN}
    return ", ".join(name + values.get(name, "") for name in different)


def remove_work(settings: BuildSettings) -> None:
    """Removes an unfinished build, and the folder if nothing else is in it."""
    for left in reversed(range(_REMOVALS)):
        try:
            if files.is_dir(settings.work_folder):
                files.remove_tree(settings.work_folder)
        except OSError:
            # A worker of a cluster that still does an abandoned task adds files.
            if not left:
                raise
            time.sleep(0.2)
    _remove_if_empty(settings.output)


def _remove_leftover(settings: BuildSettings) -> None:
    """Removes the work of finished data, which a killed build did not remove to its end."""
    manifest, work = files.join(settings.output, MANIFEST), settings.work_folder
    if (
        files.exists(manifest)
        and files.is_dir(work)
        and not files.exists(fingerprint_path(settings))
    ):
        with locks.locked(work):
            remove_work(settings)


def remove_fingerprint(settings: BuildSettings) -> None:
    """Removes the work's fingerprint: with the manifest, what is left of the work is useless."""
    if files.exists(fingerprint_path(settings)):
        files.remove(fingerprint_path(settings))


def has_work(settings: BuildSettings) -> bool:
    """Returns whether an unfinished build has any finished units."""
    work = settings.work_folder
    return files.is_dir(work) and any(name.startswith("unit-") for name in files.list_dir(work))


def remove_finished(settings: BuildSettings, *, vocabulary: str) -> None:
    """Removes the data that is replaced, if there is any.

    The manifest is removed last: while it exists, a resumed build removes the old data again, and
    without it the shards in the folder are the new ones. The vocabulary that the new data is made
    with stays, and so does the folder's file `vocabulary`, which is replaced.
    """
    output = settings.output
    if not files.exists(files.join(output, MANIFEST)):
        return
    kept = {
        os.path.realpath(path) for path in (settings.vocabulary, files.join(output, vocabulary))
    }
    for folder in (files.join(output, HELDOUT), output):
        names = files.list_dir(folder) if files.is_dir(folder) else []
        for name in [*filter(is_shard_name, names), *vocabulary_files(), MANIFEST]:
            path = files.join(folder, name)
            if name in names and os.path.realpath(path) not in kept:
                files.remove(path)
        _remove_if_empty(folder)


def _remove_if_empty(folder: str) -> None:
    if files.is_dir(folder) and not files.list_dir(folder):
        files.remove_tree(folder)


def _refuse_foreign(settings: BuildSettings) -> None:
    """Raises a UserError if the folder has files that a build did not write."""
    output = settings.output
    for folder in (output, files.join(output, HELDOUT)):
        names = files.list_dir(folder) if files.is_dir(folder) else []
        known = {MANIFEST, *vocabulary_files()}
        known |= {HELDOUT, WORK} if folder == output else set()
        foreign = [
            name for name in names if not (name in known or is_shard_name(name) or is_partial(name))
        ]
        if folder == output and not {MANIFEST, WORK} & set(names):
            # No file here shows that a build wrote the others.
            own = os.path.abspath(settings.vocabulary)
            foreign = [name for name in names if os.path.abspath(files.join(folder, name)) != own]
        if foreign:
            raise UserError(
                f"{folder} has files that build-data did not write ({few(foreign)}). Choose "
                "another folder"
            )
