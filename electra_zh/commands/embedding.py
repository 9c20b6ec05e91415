"""The command that writes a vector per text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Literal

from electra_zh import files, messages, progress
from electra_zh.commands.command import Call, Command
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UserError, counted
from electra_zh.settings import Settings, setting

if TYPE_CHECKING:
    import numpy as np

    from electra_zh.finetuning.readers.streams import Record


@dataclasses.dataclass(frozen=True)
class Embed(Settings):
    """Settings of `electra-zh embed`."""

    model: str = setting(
        meaning="a run, a fine-tuned model or a model of another tool",
        positional=True,
        metavar="MODEL",
    )
    input: str = setting(
        meaning="file of text, one text per line, also compressed; - is standard input",
        positional=True,
        metavar="INPUT",
    )
    output: str = setting(meaning="NumPy file to write, float32 [texts, width]", metavar="FILE")
    pool: Literal["mean", "cls"] = setting(
        "mean", "vector of a text: mean over its tokens, or the output at [CLS]"
    )
    layer: int | None = setting(
        None, "layer from 1, or from -1 backwards; the last by default", metavar="N"
    )
    max_seq_length: int | None = setting(
        None, "tokens of a text, longer ones are cut; by default as trained", at_least=3
    )
    batch_size: int = setting(32, "texts per step", at_least=1)
    checkpoint: int | None = setting(
        None, "step of the checkpoint; the newest by default", metavar="STEP"
    )
    overwrite: bool = setting(False, "replace an existing file")

    def check_together(self) -> None:
        """Checks the output before TensorFlow is loaded.

        Raises:
          UserError: the output exists, is remote or has no folder.
        """
        if files.is_remote(self.output) or self.output == "-":
            raise UserError(f"--output {self.output}: name a local file, which is written in place")
        files.check_output_file(self.output, overwrite=self.overwrite)


def embed(call: Call[Embed]) -> int:
    """Writes a vector for each line of a file."""
    from electra_zh.convert.source import check_source
    from electra_zh.finetuning.readers.streams import TaskFile

    settings = call.settings
    check_source(settings.model, checkpoint=settings.checkpoint)
    source = TaskFile(settings.input)
    load_tensorflow()
    from electra_zh import api

    encoder = api.load_encoder(
        settings.model,
        checkpoint=settings.checkpoint,
        layer=settings.layer,
        max_seq_length=settings.max_seq_length,
        batch_size=settings.batch_size,
    )
    texts = (_checked(record) for record in source.lines())
    with (
        files.atomic_write(settings.output) as file,
        progress.show("embed", total=0, unit="text") as bar,
    ):

        def vectors() -> Iterator[np.ndarray]:
            for block in encoder.stream(texts, pool=settings.pool):
                yield block
                bar.update(len(block))

        count = write_npy(file, vectors(), width=encoder.hidden_size)
        if not count:
            raise UserError(f"{settings.input} has no text")
    if encoder.cut:
        limit = encoder.max_seq_length
        messages.hint(f"{counted(encoder.cut, 'text')} cut to {limit} tokens (--max-seq-length)")
    print(f"{settings.output}: {counted(count, 'vector')} of {encoder.hidden_size} numbers")
    return 0


def _checked(record: Record) -> str:
    """Returns the text of a line, which must be UTF-8."""
    from electra_zh.finetuning.examples import BadExampleError
    from electra_zh.finetuning.readers.streams import check_text

    text = str(record.value)
    try:
        check_text(text)
    except BadExampleError as error:
        raise UserError(f"{record.place}: {error.reason}") from None
    return text


def write_npy(file: BinaryIO, blocks: Iterator[np.ndarray], *, width: int) -> int:
    """Writes blocks float32 [some, width] as one array; returns the number of its rows.

    NumPy leaves room in the header for any number of rows, which is known at the end.
    """
    import numpy as np

    def write_header(rows: int) -> None:
        head = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, head)

    write_header(0)
    start, count = file.tell(), 0
    for block in blocks:
        file.write(np.ascontiguousarray(block, "<f4").tobytes())
        count += len(block)
    file.seek(0)
    write_header(count)
    assert file.tell() == start, "the header has grown"
    return count


COMMANDS = {"embed": Command(Embed, embed, batch_size="batch_size")}
