"""Commands that show data, and the predictions of a pretraining run."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator

from electra_zh import files, messages, progress
from electra_zh.commands.command import Call, Command, RunSettings
from electra_zh.commands.loading import load_tensorflow
from electra_zh.content import not_utf8
from electra_zh.errors import UsageError, UserError, counted
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.settings import Settings, setting
from electra_zh.settings.declaration import select

_MASKING = ("masking", "mask_prob", "mask_keep_prob", "mask_random_prob", "seed")


@dataclasses.dataclass(frozen=True)
class Inspect(Settings):
    """Settings of `electra-zh inspect`."""

    data: str = setting(
        meaning="folder of build-data, or of shards; or a model, to describe",
        positional=True,
        metavar="DATA",
    )
    vocab: str | None = setting(
        None, "vocabulary file, for shards without a manifest", metavar="FILE"
    )
    example: int | None = setting(None, "show one example, by its number from 0")
    check: bool = setting(
        False,
        "verify all checksums of all shards, held-out ones too; exit code 1 if any is damaged",
    )
    json: bool = setting(False, "print JSON")


def inspect(call: Call[Inspect]) -> int:
    """Shows counts of pretraining data, one example as a run would mask it, or a model."""
    from electra_zh.data.manifest import holds_data
    from electra_zh.data.source import open_data_source

    settings = call.settings
    if call.overrides and settings.example is None:
        raise UsageError(f"{next(iter(call.overrides))} applies to an example: add --example N")
    if settings.check and settings.example is not None:
        raise UsageError("--check and --example exclude each other")
    if not holds_data(settings.data) and files.exists(settings.data):
        if settings.check or settings.example is not None:
            raise UserError(f"{settings.data} holds no pretraining data. Name a data folder")
        return _describe_model(settings)
    if settings.check:
        return _check(settings)
    open_data_source(settings.data, vocab=settings.vocab)
    load_tensorflow()
    from electra_zh.pretraining import inspect as inspection

    data = inspection.open_data(settings.data, vocab=settings.vocab)
    if settings.example is None:
        counts = inspection.count(data, show=progress.show)
        if settings.json:
            print(json.dumps(inspection.counts_json(counts)))
        else:
            messages.print_lines(inspection.report(data, counts))
        return 0
    shown = inspection.show_example(data, settings.example, settings=call.overrides)
    if settings.json:
        print(json.dumps(shown._asdict(), ensure_ascii=False))
    else:
        print(*inspection.example_lines(shown, colour=_has_colour()), sep="\n")
    return 0


def _check(settings: Inspect) -> int:
    """Shows the damage of a data folder and of its held-out data; the exit code is 1 for any."""
    from electra_zh.data import pipeline
    from electra_zh.data.build.settings import HELDOUT
    from electra_zh.data.manifest import holds_data, load_manifest
    from electra_zh.data.source import open_data_source

    heldout, problems = files.join(settings.data, HELDOUT), []
    for folder in [settings.data, *([heldout] if holds_data(heldout) else [])]:
        problems += pipeline.find_damage(folder, show=progress.show)
        if load_manifest(folder) is None:
            continue
        try:
            open_data_source(folder, vocab=settings.vocab)
        except UserError as error:
            problems.append(str(error))
    if settings.json:
        print(json.dumps({"damage": problems}, ensure_ascii=False))
    else:
        messages.print_lines(problems)
        found = counted(len(problems), "damaged place") if problems else "no damaged places"
        print(f"{settings.data}: {found}")
    return 1 if problems else 0


def _describe_model(settings: Inspect) -> int:
    """Shows the size, the parts and the origin of a model."""
    from electra_zh.convert.source import open_source

    try:
        weights = open_source(settings.data)
    except UserError as error:
        raise UserError(f"{settings.data} holds no data, and no readable model: {error}") from None
    size = dataclasses.asdict(weights.model)
    if settings.json:
        print(json.dumps({"path": weights.path, "kind": weights.kind, "model": size}))
    else:
        sizes = (f"{name:28s}  {value}" for name, value in size.items())
        messages.print_lines([*weights.lines(), "", *sizes])
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class FillMask(RunSettings):
    """Settings of `electra-zh fill-mask`."""

    text: tuple[str, ...] = setting(
        (), "sentences with [MASK]; standard input by default", positional=True, metavar="TEXT"
    )
    top: int = setting(5, "predictions to show per [MASK]", at_least=1)


def fill_mask(call: Call[FillMask]) -> int:
    """Shows the generator's predictions for [MASK]."""
    from electra_zh.pretraining import folder

    settings = call.settings
    run, step = folder.open_run(settings.model, checkpoint=settings.checkpoint)
    load_tensorflow()
    from electra_zh.pretraining import inference

    sentences = _sentences(settings.text)
    for filled in inference.fill_mask(run, sentences, top=settings.top, checkpoint=step):
        if settings.json:
            fills = [[fill._asdict() for fill in slot] for slot in filled.fills]
            print(json.dumps({"text": filled.text, "fills": fills}, ensure_ascii=False))
            continue
        print(filled.text)
        for slot in filled.fills:
            print("   ", "  ".join(f"{fill.token} {fill.probability:.1%}" for fill in slot))
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detect(RunSettings):
    """Settings of `electra-zh detect`."""

    text: tuple[str, ...] = setting(
        (), "sentences; standard input by default", positional=True, metavar="TEXT"
    )


def detect(call: Call[Detect]) -> int:
    """Shows each token's probability of being a replacement."""
    from electra_zh.pretraining import folder

    settings = call.settings
    run, step = folder.open_run(settings.model, checkpoint=settings.checkpoint)
    load_tensorflow()
    from electra_zh.pretraining import inference

    show = _coloured if _has_colour() else "{}:{:.2f}".format
    sentences = _sentences(settings.text)
    for detected in inference.detect(run, sentences, checkpoint=step):
        if settings.json:
            print(json.dumps(detected._asdict(), ensure_ascii=False))
        else:
            print(*map(show, detected.tokens, detected.probabilities))
    return 0


def _has_colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _coloured(token: str, probability: float) -> str:
    """Returns a token on a background from none over yellow to red."""
    if probability < 0.1:
        return token
    code = "30;43" if probability < 0.5 else "97;41"
    return f"\x1b[{code}m{token}\x1b[0m\x1b[2m{probability:.0%}\x1b[0m"


def _sentences(texts: tuple[str, ...]) -> Iterator[str]:
    """Yields the sentences of the command line, or the lines of standard input."""
    if texts:
        yield from texts
        return
    if sys.stdin.isatty():
        print("Type one sentence per line; Ctrl-D ends.", file=sys.stderr)
    for line in sys.stdin.buffer:
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            hint = not_utf8("-", line)
            raise UserError(f"standard input is not UTF-8 text; {hint}") from None
        if text:
            yield text


COMMANDS = {
    "inspect": Command(Inspect, inspect, overrides=select(PretrainConfig, _MASKING)),
    "fill-mask": Command(FillMask, fill_mask),
    "detect": Command(Detect, detect),
}
