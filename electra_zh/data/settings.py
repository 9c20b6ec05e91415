"""What a build is asked for."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

from electra_zh import files
from electra_zh.data import packing, units
from electra_zh.data.manifest import WORK
from electra_zh.data.parts import Part
from electra_zh.data.workers import count_processors
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.text.characters import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.words.segmenter import WordSettings

LOCAL, DASK = "local", "dask"
RUNNERS = (LOCAL, DASK)


@dataclasses.dataclass(frozen=True)
class BuildSettings:
    """What to build.

    Attributes:
      inputs: files, folders and globs.
      output: the folder to write.
      vocabulary: the vocabulary file.
      max_seq_length: positions of an example.
      packing: "full" loses no token; "reference" is the reference's example builder.
      num_shards: number of shards; chosen from the number of examples unless given.
      gzip: compress the shards.
      seed: what all random choices follow from.
      tokenizer: how text is normalised.
      text_field: the field of `.jsonl` records that holds the text.
      strict: stop at the first bad line instead of leaving it out.
      num_processes: worker processes; the number of processors unless given.
      overwrite: replace a finished folder, or an unfinished one of other settings.
      holdout_every: keep one document in so many apart, in the folder's `heldout`.
      words: how text is cut into words, which examples then have too; None for data without them.
      unit_bytes: text of one task of the first half; chosen from the corpus unless given.
      runner: who does the tasks: "local" processes, or "dask".
      scheduler: the address of a running Dask scheduler, or the path of its scheduler file;
        processes of this machine unless given.
      part: the share of the tasks that is to be done; all of them unless given.
    """

    inputs: tuple[str, ...]
    output: str
    vocabulary: str
    max_seq_length: int = 128
    packing: packing.Packing = "full"
    num_shards: int | None = None
    gzip: bool = False
    seed: int = 0
    tokenizer: TokenizerSettings = TokenizerSettings()
    text_field: str = "text"
    strict: bool = False
    num_processes: int | None = None
    overwrite: bool = False
    holdout_every: int | None = None
    words: WordSettings | None = None
    unit_bytes: int | None = None
    runner: str = LOCAL
    scheduler: str | None = None
    part: Part | None = None

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
          UserError: a value is not allowed.
        """
        kinds = get_args(packing.Packing)
        if self.packing not in kinds:
            hint = did_you_mean(self.packing, kinds)
            raise UserError(f'packing is "{self.packing}"; allowed: {", ".join(kinds)}.{hint}')
        for name, lowest in (
            ("max_seq_length", packing.MIN_LENGTH),
            ("num_shards", 1),
            ("seed", 0),
            ("num_processes", 1),
            ("holdout_every", 2),
            ("unit_bytes", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise UserError(f"{name} is {value}; it must be at least {lowest}")
        if self.max_seq_length > packing.MAX_LENGTH:
            raise UserError(
                f"max_seq_length is {self.max_seq_length}; it must be at most {packing.MAX_LENGTH}"
            )
        self._check_runner()

    def _check_runner(self) -> None:
        if self.runner not in RUNNERS:
            hint = did_you_mean(self.runner, RUNNERS)
            raise UsageError(f'runner is "{self.runner}"; allowed: {", ".join(RUNNERS)}.{hint}')
        if self.scheduler is not None and self.runner != DASK:
            raise UsageError("--scheduler is the address of a Dask cluster: give --runner dask")
        if self.scheduler is not None and self.num_processes is not None:
            raise UsageError(
                "--processes is of this machine's; the workers of a cluster (--scheduler) are as "
                "many as were started"
            )
        if self.part is not None and self.runner != LOCAL:
            raise UsageError(
                f"--part is for machines without an engine; --runner {self.runner} "
                "shares the tasks out by itself"
            )
        if self.part is not None and self.overwrite:
            raise UsageError(
                "--part adds to what other parts do, and --overwrite would remove it: "
                "choose another folder, or remove the old one"
            )

    def recorded(self) -> dict[str, Any]:
        """Returns the settings that the result depends on, as the manifest shows them."""
        names = ("max_seq_length", "packing", "num_shards", "gzip", "seed", "text_field", "strict")
        values = {name: getattr(self, name) for name in names}
        values.update(dataclasses.asdict(self.tokenizer))
        values.update(holdout_every=self.holdout_every, unit_bytes=self.unit_bytes)
        # Without words nothing is said of them: such data stays as it always was.
        return values if self.words is None else {**values, **self.words.recorded()}

    @property
    def processes(self) -> int:
        """Worker processes, at most."""
        return self.num_processes or count_processors()

    @property
    def work_folder(self) -> str:
        """Where an unfinished build keeps what it has."""
        return files.join(self.output, WORK)

    def owns(self, index: int) -> bool:
        """Returns whether a task, of the units or of the shards, is to be done here."""
        return self.part is None or self.part.owns(index)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are built."""
        return (units.TRAIN,) if self.holdout_every is None else (units.TRAIN, units.HELDOUT)

    def for_units(self, vocabulary: Vocabulary) -> units.UnitSettings:
        """Returns what the first half needs."""
        return units.UnitSettings(
            vocabulary=vocabulary,
            tokenizer=self.tokenizer,
            max_seq_length=self.max_seq_length,
            packing=self.packing,
            seed=self.seed,
            holdout_every=self.holdout_every,
            text_field=self.text_field,
            strict=self.strict,
            folder=self.work_folder,
            words=self.words,
        )
