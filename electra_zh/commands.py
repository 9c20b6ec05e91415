"""What each command does: parsed arguments, the rooms that do the work, a printed result.

Everything heavy is imported inside a command. What can be found wrong without TensorFlow is said
before its seconds of loading.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from electra_zh.config import UsageError, UserError, load_recipe, parse_overrides

if TYPE_CHECKING:
    from electra_zh.pretraining.folder import Run
    from electra_zh.text.wordpiece import TokenizerSettings


def demo(args: argparse.Namespace) -> int:
    """Runs `electra-zh demo`."""
    from electra_zh import demo as demo_job

    demo_job.run(args.output)
    return 0


def build_vocab(args: argparse.Namespace) -> int:
    """Runs `electra-zh build-vocab`."""
    from electra_zh import files, progress
    from electra_zh.data import documents
    from electra_zh.text import learn

    if files.exists(args.output) and not args.overwrite:
        raise UserError(f"{args.output} exists; --overwrite replaces it")
    units = documents.plan_units(documents.find_inputs(args.input))
    readers = [
        documents.UnitReader(unit, text_field=args.text_field, strict=args.strict) for unit in units
    ]
    total = sum(unit.size for unit in units)
    with progress.show("build-vocab", total=total, unit=progress.BYTES) as bar:

        def blocks() -> Iterator[str]:
            for reader in readers:
                for block in reader:
                    yield block.text
                    bar.update(block.stored_bytes)

        learnt = learn.build_vocab(blocks(), size=args.size, settings=_tokenizer_settings(args))
    learnt.vocabulary.save(args.output)
    print(
        f"{learnt.vocabulary.size:,} tokens in {args.output}: {learnt.ideographs:,} ideographs, "
        f"{learnt.punctuation:,} punctuation, {learnt.letters:,} letters, {learnt.pieces:,} "
        f"pieces, {learnt.unused:,} unused; they cover {learnt.covered:.2%} of the characters"
    )
    for reader in readers:
        for reason, count in reader.bad_lines.items():
            place = documents.show_place(reader.bad_places[reason][0])
            print(f"left out: {count:,} lines, {reason}, first {place}")
    return 0


def build_data(args: argparse.Namespace) -> int:
    """Runs `electra-zh build-data`."""
    from electra_zh import progress
    from electra_zh.data import build
    from electra_zh.data.settings import BuildSettings

    settings = BuildSettings(
        inputs=tuple(args.input),
        output=args.output,
        vocabulary=args.vocab,
        max_seq_length=args.max_seq_length,
        packing=args.packing,
        num_shards=args.num_shards,
        gzip=args.gzip,
        seed=args.seed,
        tokenizer=_tokenizer_settings(args),
        text_field=args.text_field,
        strict=args.strict,
        num_processes=args.processes,
        overwrite=args.overwrite,
        holdout_every=args.holdout_every,
    )
    manifest = build.build(settings, show=progress.show)
    for line in build.summary_lines(manifest):
        print(line)
    return 0


def pretrain(args: argparse.Namespace) -> int:
    """Runs `electra-zh pretrain`; exit code 1 when a signal stopped it before its last step."""
    overrides = parse_overrides(args.overrides)
    if args.config is not None:
        load_recipe(args.config, kind="pretrain")
    from electra_zh.pretraining.config import parse_init

    start = parse_init(args.init, args.init_layers)
    _load_tensorflow()
    from electra_zh.pretraining import run

    finished = run.pretrain(
        output=args.output,
        data=args.data,
        recipe=args.config,
        overrides=overrides,
        eval_data=args.eval_data,
        vocab=args.vocab,
        start=start,
    )
    return 0 if finished else 1


def evaluate(args: argparse.Namespace) -> int:
    """Runs `electra-zh evaluate`."""
    run = _load_run(args)
    from electra_zh.pretraining.evaluate import evaluate_run

    results = evaluate_run(run, args.data, checkpoint=args.checkpoint, max_batches=args.batches)
    if args.json:
        print(json.dumps(results))
    else:
        width = max(map(len, results))
        for name, value in sorted(results.items()):
            print(f"{name:{width}s}  {value:8.4f}")
    return 0


def fill_mask(args: argparse.Namespace) -> int:
    """Runs `electra-zh fill-mask`."""
    run = _load_run(args)
    from electra_zh.pretraining import probe

    sentences = _sentences(args)
    for filled in probe.fill_mask(run, sentences, top=args.top, checkpoint=args.checkpoint):
        if args.json:
            fills = [[fill._asdict() for fill in slot] for slot in filled.fills]
            print(json.dumps({"text": filled.text, "fills": fills}, ensure_ascii=False))
            continue
        print(filled.text)
        for slot in filled.fills:
            print("   ", "  ".join(f"{fill.token} {fill.probability:.1%}" for fill in slot))
    return 0


def detect(args: argparse.Namespace) -> int:
    """Runs `electra-zh detect`."""
    run = _load_run(args)
    from electra_zh.pretraining import probe

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for detected in probe.detect(run, _sentences(args), checkpoint=args.checkpoint):
        if args.json:
            print(json.dumps(detected._asdict(), ensure_ascii=False))
            continue
        pairs = list(zip(detected.tokens, detected.probabilities, strict=True))
        if colour:
            print(" ".join(_coloured(token, probability) for token, probability in pairs))
        else:
            print(" ".join(f"{token}:{probability:.2f}" for token, probability in pairs))
    return 0


def tasks(args: argparse.Namespace) -> int:
    """Runs `electra-zh tasks`."""
    from electra_zh.finetuning import locate, registry

    rows = [("task", "kind", "metric", "data" if args.data else "", "what it is")]
    folders = locate.folders_below(args.data) if args.data else []
    for name in registry.task_names():
        task = registry.load([name])[0]
        found = locate.find(task, folders) if args.data else None
        place = (found.folder if found else "-") if args.data else ""
        rows.append((name, task.kind, task.metric, place, task.title))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True) if width]
        print("  ".join([*cells, row[4]]))
    print("\ngroups")
    for name in registry.group_names():
        print(f"{name}: {', '.join(task.name for task in registry.load([name]))}")
    return 0


def finetune(args: argparse.Namespace) -> int:
    """Runs `electra-zh finetune`; exit code 1 when a signal stopped it before its end."""
    from electra_zh.finetuning import registry

    overrides = parse_overrides(args.overrides)
    grid: dict[str, list[str]] = {}
    for key, values in parse_overrides(args.grid).items():
        if key in overrides:
            raise UsageError(f"{key} is in --grid and beside it")
        grid[key] = [value for value in values.split(",") if value]
    names = [name for name in args.task.split(",") if name]
    registry.load(names, {**overrides, **{key: values[0] for key, values in grid.items()}})
    _load_tensorflow()
    from electra_zh.finetuning import results, run

    request = run.Request(
        model=args.model,
        tasks=names,
        data=args.data,
        output=args.output,
        overrides=overrides,
        grid=grid,
        trials=args.trials,
        joint=args.joint,
        from_scratch=args.from_scratch,
        checkpoint=args.checkpoint,
        skip_bad=args.skip_bad,
    )
    finished = run.finetune(request)
    for line in results.report(args.output):
        print(line)
    return 0 if finished else 1


def predict(args: argparse.Namespace) -> int:
    """Runs `electra-zh predict`."""
    from electra_zh import files

    if args.output != "-" and files.exists(args.output) and not args.overwrite:
        raise UserError(f"{args.output} exists; --overwrite replaces it")
    if args.input != "-" and not files.exists(args.input):
        raise UserError(f"No such file: {args.input}")
    _load_tensorflow()
    from electra_zh.finetuning.predict import predict as label

    count, problems = label(
        args.model,
        args.input,
        args.output,
        task=args.task,
        reader=args.reader,
        batch_size=args.batch_size,
        skip_bad=args.skip_bad,
    )
    for line in problems.lines():
        print(line, file=sys.stderr)
    if args.output != "-":
        print(f"{count:,} predictions in {args.output}")
    return 0


def submission(args: argparse.Namespace) -> int:
    """Runs `electra-zh submission`."""
    from electra_zh.finetuning.submission import submission as pack

    names = [name for name in (args.task or "").split(",") if name]
    report = pack(args.results, team=args.team, date=None, target=args.output, task_names=names)
    for line in report.lines():
        print(line)
    return 0


def convert(args: argparse.Namespace) -> int:
    """Runs `electra-zh convert`."""
    from electra_zh import files

    if files.exists(args.output):
        raise UserError(f"{args.output} exists; choose another --output")
    _load_tensorflow()
    from electra_zh.convert import google, huggingface, onnx_file, saved_model
    from electra_zh.convert.source import open_source

    weights = open_source(args.source, step=args.checkpoint)
    for line in weights.lines():
        print(line)
    writers = {
        "huggingface": huggingface.write,
        "google": google.write,
        "saved-model": saved_model.write,
        "onnx": onnx_file.write,
    }
    for line in writers[args.to](weights, args.output):
        print(line)
    return 0


def _coloured(token: str, probability: float) -> str:
    """Returns a token on a background that goes from none over yellow to red."""
    if probability < 0.1:
        return token
    code = "30;43" if probability < 0.5 else "97;41"
    return f"\x1b[{code}m{token}\x1b[0m\x1b[2m{probability:.0%}\x1b[0m"


def _load_run(args: argparse.Namespace) -> Run:
    from electra_zh.pretraining import folder

    run = folder.load(args.model)
    _load_tensorflow()
    return run


def _sentences(args: argparse.Namespace) -> Iterator[str]:
    """Yields the sentences of the command line, or the lines of standard input."""
    if args.text:
        yield from args.text
        return
    if sys.stdin.isatty():
        print("Type sentences, one a line; Ctrl-D ends.", file=sys.stderr)
    for line in sys.stdin.buffer:
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError("standard input is not UTF-8 text") from None
        if text:
            yield text


def _tokenizer_settings(args: argparse.Namespace) -> TokenizerSettings:
    from electra_zh.text.wordpiece import TokenizerSettings

    lower_case = not args.no_lower_case
    return TokenizerSettings(
        lower_case=lower_case,
        strip_accents=lower_case and not args.keep_accents,
        map_punctuation=getattr(args, "map_punctuation", False),
    )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Holds back what native libraries write to standard error; shows it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            sink.seek(0)
            os.write(2, sink.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _load_tensorflow() -> None:
    """Imports TensorFlow without its start-up messages; TF_CPP_MIN_LOG_LEVEL=0 shows them."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        import tensorflow
    else:
        # 3 would hide native errors too, but the only one seen at start is "no GPU here".
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _quiet_stderr():
            import tensorflow
    tensorflow.get_logger().setLevel("ERROR")
