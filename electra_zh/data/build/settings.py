"""Settings of build-data."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal, NamedTuple, get_args

from electra_zh import files
from electra_zh.data.input_files import AUTO, InputSettings
from electra_zh.errors import UsageError
from electra_zh.settings.declaration import setting
from electra_zh.text.settings import TokenizerSettings, WordSettings

# Names of the splits; held-out data is in a folder of that name.
TRAIN, HELDOUT = "train", "heldout"
# Folder of an unfinished build.
WORK = ".work"

Packing = Literal["full", "joined", "reference"]
LOCAL, DASK = "local", "dask"
_PART = re.compile(r"([0-9]+)/([0-9]+)")
_RECORDED = ("max_seq_length", "packing", "num_shards", "gzip", "seed", "text_field", "strict")


class Part(NamedTuple):
    """Part `number` (from 1) of `total` parts of a build, each done by one machine."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Reads `i/n`; raises UsageError for another form."""
        match = _PART.fullmatch(text)
        part = cls(int(match[1]), int(match[2])) if match else None
        if part is None or not 1 <= part.number <= part.total:
            raise UsageError(
                f"--part {text} is not i/n: give the number of this part, from 1 to n, and the "
                "number of parts"
            )
        return part

    def owner(self, index: int) -> str:
        """Returns the part that does task `index`, as the user gives it."""
        return str(self._replace(number=index % self.total + 1))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclasses.dataclass(frozen=True)
class BuildSettings(InputSettings):
    """Settings of one build."""

    output: str = setting(meaning="folder to write", metavar="DIR")
    vocabulary: str = setting(
        meaning="vocabulary file, or SentencePiece model: that of the model to start from, or one "
        "of build-vocab",
        flags=("--vocab",),
        metavar="FILE",
    )
    max_seq_length: int = setting(128, "tokens per example", at_least=8, at_most=4096)
    packing: Packing = setting(
        "full",
        "full keeps every token; joined does too, and fills examples with several documents, [SEP] "
        "between them; reference is the official example builder, which truncates",
        choices=get_args(Packing),
    )
    num_shards: int | None = setting(
        None, "number of shards; by default chosen from the number of examples", at_least=1
    )
    gzip: bool = setting(False, "compress the shards")
    seed: int = setting(0, "random seed; the same input and seed give the same bytes", at_least=0)
    tokenizer: TokenizerSettings = TokenizerSettings()
    case_is_chosen: bool = setting(
        False, "keep lower_case, even if it does not fit the vocabulary", listed=False
    )
    num_processes: int | None = setting(
        None,
        "worker processes; by default one per core",
        at_least=1,
        flags=("--processes",),
    )
    overwrite: bool = setting(False, "replace finished data, or an unfinished build")
    holdout_every: int | None = setting(
        None, "hold out one document in N, in OUTPUT/heldout", at_least=2, metavar="N"
    )
    words: WordSettings | None = setting(
        None,
        "store where words begin, for whole word masking: cut by jieba, at the spaces of the text, "
        "or by a file of words, one per line",
        plain="kind",
        metavar="{jieba,none,spaces,FILE}",
    )
    unit_bytes: int | None = setting(
        None,
        "bytes of text per unit of work; by default chosen from the corpus",
        at_least=1,
        listed=False,
    )
    runner: str = setting(
        LOCAL, "local processes, or a Dask cluster", choices=(LOCAL, DASK), group="several machines"
    )
    scheduler: str | None = setting(
        None,
        "address of a running Dask scheduler (tcp://host:8786) or its scheduler file (.json); "
        "by default --runner dask starts workers on this machine",
        metavar="ADDRESS",
        group="several machines",
    )
    part: Part | None = setting(
        None,
        "do only part i of n, on machines that share the output folder; run the command without "
        "--part to finish",
        metavar="I/N",
        parse=Part.parse,
        group="several machines",
    )

    def check_together(self) -> None:
        """Checks that the settings of runners and parts do not contradict each other."""
        if self.scheduler is not None and self.runner != DASK:
            raise UsageError("--scheduler is the address of a Dask cluster; add --runner dask")
        if self.scheduler is not None and self.num_processes is not None:
            raise UsageError(
                "--processes sets local workers only; with --scheduler the cluster sets their "
                "number. Remove --processes"
            )
        if self.part is not None and self.runner != LOCAL:
            raise UsageError(f"--runner {self.runner} assigns all tasks itself; remove --part")
        if self.part is not None and self.overwrite:
            raise UsageError(
                "--overwrite would remove the work of other parts; remove it, or choose another "
                "folder"
            )

    def recorded(self) -> dict[str, Any]:
        """Returns the settings that the result depends on, for the manifest."""
        values = {name: getattr(self, name) for name in _RECORDED}
        values.update(dataclasses.asdict(self.tokenizer))
        values.update(holdout_every=self.holdout_every, unit_bytes=self.unit_bytes)
        if self.format != AUTO:
            values.update(format=self.format)
        # Manifests of data without words do not mention them.
        return values if self.words is None else {**values, **self.words.recorded()}

    @property
    def work_folder(self) -> str:
        """The folder of an unfinished build."""
        return files.join(self.output, WORK)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are built."""
        return (TRAIN,) if self.holdout_every is None else (TRAIN, HELDOUT)

    def split_folder(self, split: str) -> str:
        """Returns the folder of a split's shards."""
        return files.join(self.output, HELDOUT) if split == HELDOUT else self.output

    def owns(self, index: int) -> bool:
        """Returns whether task `index`, of the units or of the shards, is done here."""
        return self.part is None or index % self.part.total == self.part.number - 1
