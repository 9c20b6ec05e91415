"""The output folder: what may be written over, what must not be touched.

Only files that a build writes are ever removed, and a folder that holds anything else is refused.
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
from electra_zh.data.manifest import HELDOUT, MANIFEST, WORK, is_shard_name
from electra_zh.data.settings import BuildSettings
from electra_zh.errors import UserError
from electra_zh.text.characters import UNICODE_VERSION
from electra_zh.text.tokenizer import vocabulary_files
from electra_zh.text.vocabulary import Vocabulary

_FINGERPRINT = "build.json"
_REMOVALS = 5
_REMOVAL_SECONDS = 0.2
# Settings whose values are short enough to be shown where they differ.
_SHOWN = ("version", "max_seq_length", "packing", "seed", "num_shards", "holdout_every", "words")


@contextlib.contextmanager
def prepared_folder(
    settings: BuildSettings, inputs: Sequence[input_files.InputFile], vocabulary: Vocabulary
) -> Iterator[locks.Lock]:
    """Makes the folder ready for a new build, or for going on with the same one, and holds it.

    Finished data that is to be replaced stays until its successor is complete. Parts hold the
    folder together, any other build alone.

    Raises:
      UserError: the folder holds something that must not be lost, or another build is at work.
    """
    work = settings.work_folder
    fingerprint = _fingerprint(settings, inputs, vocabulary)
    # Nothing is made where it is refused.
    _check(settings, fingerprint)
    with locks.locked(work, shared=settings.part is not None) as lock:
        try:
            if _check(settings, fingerprint):
                _remove_built(work)
        except UserError:
            # Another build ended in between.
            if files.list_dir(work) == [locks.LOCK]:
                files.remove_tree(work)
            raise
        files.make_dirs(work)
        # Parts may begin at once, each with settings of its own: the first one's are the build's.
        text = json.dumps(fingerprint, ensure_ascii=False, indent=2) + "\n"
        files.create(fingerprint_path(settings), text.encode())
        _check(settings, fingerprint)
        yield lock


def fingerprint_path(settings: BuildSettings) -> str:
    """Returns the file that says what an unfinished build was asked for."""
    return files.join(settings.work_folder, _FINGERPRINT)


def _check(settings: BuildSettings, fingerprint: Mapping[str, Any]) -> str:
    """Raises a UserError where the folder must not be written to.

    Returns:
      In what an unfinished build differs that is to be replaced; '' if in nothing.
    """
    output = settings.output
    if not files.exists(output):
        return ""
    _refuse_foreign(settings)
    if files.exists(files.join(output, MANIFEST)) and not settings.overwrite:
        raise UserError(f"{output} holds finished data; choose another folder, or --overwrite")
    difference = _difference(fingerprint_path(settings), fingerprint)
    if difference and not settings.overwrite:
        raise UserError(
            f"{output} holds an unfinished build with other {difference}; start it with those "
            "to go on, or --overwrite"
        )
    return difference


def _remove_built(work: str) -> None:
    for name in files.list_dir(work):
        if name != locks.LOCK:
            files.remove(files.join(work, name))


def remove_work(settings: BuildSettings) -> None:
    """Removes what an unfinished build has, and the folder where nothing else is in it."""
    for left in reversed(range(_REMOVALS)):
        try:
            if files.is_dir(settings.work_folder):
                files.remove_tree(settings.work_folder)
        except OSError:
            # A task that is still done somewhere, for an engine that has given it up, adds files.
            if not left:
                raise
            time.sleep(_REMOVAL_SECONDS)
    _remove_if_empty(settings.output)


def is_begun(settings: BuildSettings) -> bool:
    """Returns whether an unfinished build has anything that would be lost."""
    return any(name.startswith("unit-") for name in files.list_dir(settings.work_folder))


def remove_finished(settings: BuildSettings, *, vocabulary: str) -> None:
    """Removes the data that is being replaced, if there is any.

    The manifest goes last. While it is there, this has not been finished and is done again; once it
    is gone, the shards in the folder are the new ones.

    Args:
      settings: of the new data.
      vocabulary: the name of its vocabulary's file. A file of the other kind goes, unless the new
        data is made with it.
    """
    output = settings.output
    if not files.exists(files.join(output, MANIFEST)):
        return
    for folder in (files.join(output, HELDOUT), output):
        if not files.is_dir(folder):
            continue
        for name in files.list_dir(folder):
            if is_shard_name(name):
                files.remove(files.join(folder, name))
        names = [*vocabulary_files(), MANIFEST]
        if folder == output:
            own = os.path.realpath(settings.vocabulary)
            names.remove(vocabulary)
            names = [name for name in names if os.path.realpath(files.join(folder, name)) != own]
        for name in names:
            if files.exists(files.join(folder, name)):
                files.remove(files.join(folder, name))
        _remove_if_empty(folder)


def _remove_if_empty(folder: str) -> None:
    if files.is_dir(folder) and not files.list_dir(folder):
        files.remove_tree(folder)


def _fingerprint(
    settings: BuildSettings, inputs: Sequence[input_files.InputFile], vocabulary: Vocabulary
) -> dict[str, Any]:
    listed = json.dumps([[os.path.basename(path), *rest] for path, *rest in inputs])
    return {
        "version": __version__,
        "Unicode version": UNICODE_VERSION,
        "vocabulary": vocabulary.sha256,
        "input files": files.sha256(listed.encode()),
        **settings.recorded(),
    }


def _difference(path: str, fingerprint: Mapping[str, Any]) -> str:
    """Returns in what an unfinished build differs from the one that is wanted; '' if in nothing."""
    if not files.exists(path):
        return ""
    found = files.read_json(path)
    # Some settings are named only where they are asked for.
    names = {**fingerprint, **found}
    different = [name for name in names if found.get(name) != fingerprint.get(name)]
    return ", ".join(
        f"{name} ({found.get(name)} there, {fingerprint.get(name)} here)"
        if name in _SHOWN
        else name
        for name in different
    )


def _refuse_foreign(settings: BuildSettings) -> None:
    """Raises a UserError where the folder holds what a build has not written."""
    output = settings.output
    for folder in (output, files.join(output, HELDOUT)):
        names = files.list_dir(folder) if files.is_dir(folder) else []
        known = {MANIFEST, *vocabulary_files()}
        known |= {HELDOUT, WORK} if folder == output else set()
        foreign = [
            name
            for name in names
            if name not in known and not is_shard_name(name) and not files.is_partial(name)
        ]
        if folder == output and not {MANIFEST, WORK} & set(names):
            # Nothing says that these were written by a build.
            own = os.path.abspath(settings.vocabulary)
            foreign = [name for name in names if os.path.abspath(files.join(folder, name)) != own]
        if foreign:
            shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
            raise UserError(
                f"{folder} holds files that are not build-data's ({shown}); choose another folder"
            )
