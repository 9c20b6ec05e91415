"""The vocabulary, tokenizer settings and fingerprint of a data folder.

Folders of `build-data` have them in their manifest. For folders of reference shards the user names
the vocabulary, and the tokenizer is assumed to be the reference's default.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from electra_zh import files
from electra_zh.data.manifest import Manifest, find_shards, load_manifest
from electra_zh.errors import UserError
from electra_zh.settings import build_settings
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import load_vocabulary, settings_of
from electra_zh.text.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class DataSource:
    """A data folder."""

    folder: str
    vocabulary: Vocabulary
    tokenizer: TokenizerSettings
    fingerprint: str  # SHA-256 that changes with the shards.
    # Counts of the manifest, for people; empty without one.
    counts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def check_fits(
        self, vocabulary: Vocabulary, tokenizer: TokenizerSettings, *, owner: str = "the run"
    ) -> None:
        """Raises a UserError unless the data was made with a vocabulary and tokenizer.

        `owner` names what they belong to.
        """
        if self.vocabulary != vocabulary:
            raise UserError(
                f"The data in {self.folder} has another vocabulary ({self.vocabulary.size} tokens) "
                f"than {owner} ({vocabulary.size} tokens). Build it with the same "
                f"{vocabulary.file_name}"
            )
        if self.tokenizer != tokenizer:
            raise UserError(
                f"The data in {self.folder} was tokenized with {self.tokenizer}, {owner} "
                f"with {tokenizer}. Build it with the same settings"
            )


def open_data_source(
    folder: str, *, vocab: str | None = None, default: Vocabulary | None = None
) -> DataSource:
    """Opens a folder of build-data, or of reference shards.

    Shards without a manifest need `vocab`, the path of their vocabulary file, or a `default`.

    Raises:
      UserError: no such folder, an unfinished build, no shards, or no vocabulary.
    """
    manifest = load_manifest(folder)
    if manifest is not None:
        return _of_manifest(folder, manifest, vocab)
    shards = find_shards(folder)
    if vocab is not None:
        vocabulary = load_vocabulary(vocab)
    elif default is not None:
        vocabulary = default
    else:
        raise UserError(f"{folder} has no manifest. Name its vocabulary file with --vocab")
    sizes = [[path.rpartition("/")[2], files.size(path)] for path in shards]
    settings = settings_of(vocabulary, TokenizerSettings())
    return DataSource(folder, vocabulary, settings, _digest(sizes))


def _of_manifest(folder: str, manifest: Manifest, vocab: str | None) -> DataSource:
    path = files.join(folder, manifest.vocabulary.file)
    vocabulary = load_vocabulary(path)
    if vocabulary.sha256 != manifest.vocabulary.sha256:
        raise UserError(
            f"{path} is not the vocabulary that the data was built with "
            "(the manifest has another SHA-256). Build the data again"
        )
    if vocab is not None and load_vocabulary(vocab) != vocabulary:
        raise UserError(
            f"--vocab {vocab} does not match the vocabulary stored in {folder}. Omit --vocab"
        )
    names = [field.name for field in dataclasses.fields(TokenizerSettings)]
    settings = {name: manifest.settings[name] for name in names if name in manifest.settings}
    tokenizer = build_settings(TokenizerSettings, settings, where=folder)
    fingerprint = _digest([s.sha256 for s in manifest.shards])
    return DataSource(folder, vocabulary, tokenizer, fingerprint, manifest.counts())


def _digest(value: object) -> str:
    return files.sha256(json.dumps(value, ensure_ascii=False).encode())
