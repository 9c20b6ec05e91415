"""The command that trains a vocabulary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from electra_zh import files, messages, progress
from electra_zh.commands.command import Call, Command, print_next
from electra_zh.commands.loading import load_tensorflow
from electra_zh.data.input_files import InputSettings
from electra_zh.settings import setting
from electra_zh.text.training import VocabularySettings, train_vocabulary


@dataclasses.dataclass(frozen=True)
class BuildVocab(InputSettings):
    """Settings of `electra-zh build-vocab`."""

    output: str = setting(meaning="vocabulary file to write", metavar="FILE")
    vocabulary: VocabularySettings = VocabularySettings()
    overwrite: bool = setting(False, "replace an existing file")

    def check_together(self) -> None:
        """Checks, before all the text is read, that the vocabulary can be written.

        Raises:
          UserError: the output is not the name of a file, or the file exists.
        """
        files.check_output_file(self.output, overwrite=self.overwrite)


def build_vocab(call: Call[BuildVocab]) -> int:
    """Trains a vocabulary."""
    from electra_zh.data import documents, input_files
    from electra_zh.data.bad_lines import report_bad_lines

    settings = call.settings
    inputs = input_files.find_inputs(
        settings.inputs, form=settings.format, text_field=settings.text_field
    )
    units = documents.plan_units(inputs)
    readers = [
        documents.UnitReader(unit, text_field=settings.text_field, strict=settings.strict)
        for unit in units
    ]
    total = sum(unit.size for unit in units)
    with progress.show("build-vocab", total=total, unit=progress.BYTES) as bar:

        def blocks() -> Iterator[str]:
            for reader in readers:
                for block in reader:
                    yield block.text
                    bar.update(block.stored_bytes)

        if settings.vocabulary.kind == "wordpiece-words":
            load_tensorflow()
        trained = train_vocabulary(blocks(), settings.vocabulary)
    trained.vocabulary.save(settings.output)
    logs = [reader.bad_lines for reader in readers]
    bad = report_bad_lines(logs, inputs)
    messages.print_lines([f"{settings.output}: {trained.summary}", *map(str, bad)])
    given = settings.inputs if "-" not in settings.inputs else ["INPUT"]
    print_next("build-data", *given, "--vocab", settings.output, "--output", "DATA")
    return 0


COMMANDS = {"build-vocab": Command(BuildVocab, build_vocab, common=("config",))}
