"""The parts of a report: what is drawn and tabulated of runs and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.data.manifest import MANIFEST, Manifest, parse_folders
from electra_zh.errors import UserError
from electra_zh.report import curves, epochs, page, plots, scores
from electra_zh.report.language import Say, translate
from electra_zh.report.page import PagePart
from electra_zh.report.plots import Dots, Plot
from electra_zh.report.runs import HasLines, RunLog
from electra_zh.report.scores import Results
from electra_zh.report.tables import ReportTable
from electra_zh.settings import flat

# Labels from which on a matrix is followed by its largest cells, or replaced by them.
_SMALL_MATRIX, _LARGEST_MATRIX = 6, 20
_CONFUSIONS = 12
_OMIT = "Remove it to omit its table"  # advice on damaged tables of errors
_MATRIX = "Rows: gold; columns: predicted."


class Contents(NamedTuple):
    """The parts of the page, and what is also written as files."""

    parts: list[PagePart]
    plots: dict[str, Plot]
    tables: list[ReportTable]
    say: Say  # the language

    def add_table(self, table: ReportTable) -> str:
        """Keeps a table for the files and returns it as HTML."""
        translated = translate(table, self.say)
        self.tables.append(translated)
        return page.table(translated)

    def add_part(self, anchor: str, title: str, body: str) -> None:
        """Adds a section of the page."""
        self.parts.append(PagePart(anchor, self.say(title), body))

    def add_plot(self, name: str, title: str, plot: Plot, *, axis: str = "") -> str:
        """Keeps a plot for the files and returns it as HTML."""
        self.plots[name] = plot
        return page.drawing(title, plot.svg(), axis=axis)


def add_runs(contents: Contents, logs: Sequence[RunLog], reference: Sequence[HasLines]) -> None:
    """Adds the overview, the curves and the data of runs."""
    say = contents.say
    body = contents.add_table(_overview(logs, say)) + _settings(contents, logs)
    contents.add_part("runs", "Runs", body)
    axes = curves.axes_with_data([*logs, *reference])
    for section, panels in curves.panels_with_data(logs):
        figures = []
        for panel in panels:
            drawn = [
                contents.add_plot(
                    panel.name if axis is axes[0] else f"{panel.name}_by_{axis.name}",
                    f"{say(panel.title)}, {say(axis.name)}",
                    plots.draw_panel(panel, logs, axis, reference=reference, say=say),
                    axis=axis.name,
                )
                for axis in axes
            ]
            figures.append(page.figure(say(panel.title), say(panel.explanation), "".join(drawn)))
        anchor = section.title.lower().replace(" ", "-")
        body = f'<div class="plots">{"".join(figures)}</div>'
        contents.add_part(anchor, section.title, body)
    contents.add_part("data", "Data", contents.add_table(_data(logs, say)))


def _overview(logs: Sequence[RunLog], say: Say) -> ReportTable:
    """Returns the table of runs: sizes, steps, time, the last values on held-out data."""
    metrics = (
        ("masked LM loss", "masked_lm_loss"),
        ("masked LM accuracy", "masked_lm_accuracy"),
        ("disc. AUC", "disc_auc_real"),
        ("disc. recall", "disc_recall"),
    )
    rows = []
    for log in logs:
        config = log.run.config
        tokens, seconds = log.last("tokens"), log.last("seconds")
        rows.append(
            (
                log.name,
                log.recipe,
                f"{config.model.num_hidden_layers} x {config.model.hidden_size}",
                f"{log.step:,} / {log.run.last_step:,}",
                "-" if tokens is None else f"{tokens / 1e6:,.1f}",
                "-" if seconds is None else f"{seconds / 3600:,.2f}",
                say(log.state),
                *(
                    "-" if v is None else f"{v:.4f}"
                    for v in (log.last(m, "eval") for _, m in metrics)
                ),
            )
        )
    header = (
        *("run", "recipe", "layers x width", "steps", "tokens, M", "hours", "state"),
        *(name for name, _ in metrics),
    )
    note = "The metrics are those of the last evaluation on held-out data."
    return ReportTable("runs", "Overview", header, tuple(rows), (note,))


def _settings(contents: Contents, logs: Sequence[RunLog]) -> str:
    """Returns the settings in which runs differ, and all settings to be opened."""
    found = {log.name: flat(log.run.config.to_dict()) for log in logs}
    keys = list(dict.fromkeys(key for values in found.values() for key in values))
    rows = [(key, *(_word(values.get(key)) for values in found.values())) for key in keys]
    header = ("setting", *found)
    differ = tuple(row for row in rows if len(set(row[1:])) > 1)
    shown = ""
    if differ:
        shown = contents.add_table(
            ReportTable("differences", "Settings that differ", header, differ)
        )
    everything = ReportTable("settings", "Settings", header, tuple(rows))
    body = contents.add_table(everything)
    return f"{shown}<details><summary>{contents.say('All settings')}</summary>{body}</details>"


def _word(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value in (None, "", ()) else str(value)


def _data(logs: Sequence[RunLog], say: Say) -> ReportTable:
    """Returns the table of the runs' data: from the manifests, else from the runs' records."""
    columns = {log.name: _describe_data(log) for log in logs}
    keys = list(dict.fromkeys(key for values in columns.values() for key in values))
    rows = tuple((say(key), *(values.get(key, "-") for values in columns.values())) for key in keys)
    return ReportTable("data", "Pretraining data", ("quantity", *columns), rows)


def _describe_data(log: RunLog) -> dict[str, str]:
    found = {"folders": ", ".join(log.run.train_data) or "-"}
    counts = dict(log.run.data)
    names = ("files", "documents", "tokens", "examples", "max_seq_length", "words")
    for name in names:
        if name in counts:
            value = counts[name]
            found[name.replace("_", " ")] = f"{value:,}" if isinstance(value, int) else str(value)
    manifests = list(_manifests(log.run.train_data))
    if manifests:
        read = sum(each.tokens_read for each in manifests)
        kept = sum(each.tokens_kept for each in manifests)
        unknown = sum(each.unknown_share * each.tokens_read for each in manifests)
        positions = [each.examples * each.max_seq_length for each in manifests]
        padding = sum(
            each.padding_share * count for each, count in zip(manifests, positions, strict=True)
        )
        found |= {
            "text, MB": f"{sum(each.corpus.bytes for each in manifests) / 1e6:,.1f}",
            "tokens kept": f"{kept / max(read, 1):.1%}",
            "unknown tokens": f"{unknown / max(read, 1):.2%}",
            "padding": f"{padding / max(sum(positions), 1):.1%}",
            "vocabulary": f"{manifests[0].vocabulary.size:,}",
        }
        top = [char for each in manifests for char in each.corpus.unknown_characters][:12]
        if top:
            found["most often unknown"] = " ".join(top)
    return found


def _manifests(folders: Sequence[str]) -> Iterator[Manifest]:
    """Yields the manifests of a run's data folders that are still where they were."""
    for each in parse_folders([f for f in folders if f], flag="--data") if folders else ():
        path = files.join(each.folder, MANIFEST)
        try:
            if files.exists(path):
                yield Manifest.load(each.folder)
        except UserError:
            continue


def add_results(contents: Contents, found: Sequence[Results]) -> None:
    """Adds the scores of fine-tuning: tables, spread over random seeds, tables of errors."""
    body = "".join(
        contents.add_table(scores.score_table(each)._replace(notes=tuple(scores.warnings(each))))
        for each in found
    )
    for split in ("dev", "test"):
        compared = scores.comparison(found, split=split) if len(found) > 1 else None
        if compared is not None:
            body += contents.add_table(compared)
    dots, published = _dots(found)
    if dots:
        title = contents.say("Scores on dev")
        explanation = "A dot per random seed, a bar at their mean; diamonds: published scores."
        legend = page.keys(page.series_keys(dict.fromkeys(each.model for each in dots)))
        drawn = contents.add_plot(
            "scores", title, plots.draw_spread(dots, published, say=contents.say)
        )
        body += page.figure(title, contents.say(explanation), f"{legend}{drawn}", wide=True)
    body += _learning_curves(contents, found)
    contents.add_part("fine-tuning", "Fine-tuning", body)
    errors = "".join(
        _errors(contents, results, name, each)
        for results in found
        for name, each in results.summary["tasks"].items()
    )
    if errors:
        contents.add_part("errors", "Errors by label", errors)


def _learning_curves(contents: Contents, found: Sequence[Results]) -> str:
    """Returns a figure per task: dev scores and losses of all trials, by epoch."""
    say, curves = contents.say, epochs.trial_curves(found)
    models = list(dict.fromkeys(each.model for each in curves))
    legend = page.keys(page.series_keys(models))
    explanation = say("A line per random seed. The epoch with the highest score is kept.")
    body = ""
    for task in dict.fromkeys(each.task for each in curves):
        same = [each for each in curves if each.task == task]
        title = f"{say(task)}: {say('learning curves')}"
        plot = epochs.draw_epochs(title, same, models, say=say)
        drawn = contents.add_plot(f"epochs_{scores.file_name(task)}", title, plot)
        body += page.figure(title, explanation, f"{legend}{drawn}", wide=True)
    return body


def _dots(found: Sequence[Results]) -> tuple[list[Dots], list[Dots]]:
    dots, published = [], []
    for results in found:
        for name, each in results.summary["tasks"].items():
            trials = [trial for trial in each["trials"] if trial["setting"] == each["setting"]]
            values = [trial["dev"][each["metric"]] for trial in trials if trial["dev"]]
            if values:
                dots.append(Dots(name, results.name, values))
            theirs = scores.published(results, each)
            if theirs:
                published.append(Dots(name, "published", list(theirs.values())))
    return dots, published


def _errors(contents: Contents, results: Results, name: str, task: Mapping[str, Any]) -> str:
    """Returns the confusion matrix, or the scores by type, of a task's best trial."""
    folder, say = files.join(results.folder, task["best_trial"]), contents.say
    title = f"{results.name}, {say(name)}"
    file = scores.file_name(f"{results.name}_{name}")
    types = _read_tsv(files.join(folder, "types.dev.tsv"))
    if types:
        return contents.add_table(
            ReportTable(
                f"types_{file}", f"{title}: {say('scores by type on dev')}", types[0], types[1:]
            )
        )
    path = files.join(folder, "confusion.dev.tsv")
    rows = _read_tsv(path)
    if len(rows) < 2:
        return ""
    names = _descriptions(results, name, task)
    labels = [names.get(label, label) for label in rows[0][1:]]
    with files.explained_damage(path, _OMIT):
        counts = [[int(cell) for cell in row[1:]] for row in rows[1:]]
        if len(counts) != len(labels):
            raise ValueError(f"{len(counts)} rows of {len(labels)} labels")
    confused = _confusions(
        f"confusions_{file}", f"{title}: {say('most frequent confusions')}", labels, counts
    )
    shown = contents.add_table(confused) if len(labels) > _SMALL_MATRIX else ""
    if len(labels) > _LARGEST_MATRIX:
        return shown
    heading = f"{title}: {say('confusion on dev')}"
    contents.plots[f"confusion_{file}"] = plots.draw_confusion(heading, labels, counts, say=say)
    return f'<div class="row">{page.matrix(heading, say(_MATRIX), labels, counts)}{shown}</div>'


def _confusions(
    name: str, title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]
) -> ReportTable:
    pairs = sorted(
        (
            (-count, row, column)
            for row, cells in enumerate(counts)
            for column, count in enumerate(cells)
            if count and row != column
        )
    )[:_CONFUSIONS]
    rows = tuple(
        (labels[row], labels[column], f"{-count:,}", f"{-count / max(sum(counts[row]), 1):.1%}")
        for count, row, column in pairs
    )
    return ReportTable(name, title, ("gold", "predicted", "count", "of the label"), rows)


def _descriptions(results: Results, name: str, task: Mapping[str, Any]) -> dict[str, str]:
    """Returns the descriptions of a task's labels, by label; empty without any."""
    unit = files.join(results.folder, task["best_trial"].partition("/")[0])
    path = files.join(unit, "model", "config.json")
    if not files.exists(path):
        return {}
    with files.explained_damage(path, "Restore it"):
        for each in files.read_json(path).get("finetuned", {}).get("tasks", ()):
            labels = each.get("labels", {})
            if each.get("name") == task["task"] and labels.get("descriptions"):
                return dict(zip(labels["names"], labels["descriptions"], strict=True))
    return {}


def _read_tsv(path: str) -> tuple[tuple[str, ...], ...]:
    """Returns the rows of a table of errors; empty if it is missing."""
    if not files.exists(path):
        return ()
    rows = tuple(tuple(line.split("\t")) for line in files.read_text(path).splitlines())
    if len(set(map(len, rows))) > 1:
        raise UserError(f"{path} is damaged (its rows differ in length). {_OMIT}")
    return rows


def add_examples(contents: Contents, model: str, data: Sequence[str]) -> None:
    """Adds held-out sentences with fakes, and the recall by kind of token; loads TensorFlow."""
    from electra_zh.report.fakes import judge

    found = judge(model, data)
    rows = tuple(
        (
            contents.say(each.kind),
            f"{each.tokens:,}",
            f"{each.replaced / each.tokens:.1%}",
            f"{each.found / each.replaced:.1%}" if each.replaced else "-",
        )
        for each in found.kinds
    )
    header = ("true token", "tokens", "replaced", "recall")
    note = "Recall: fraction of the replaced tokens with a probability above 0.5."
    recall = ReportTable("recall_by_kind", "Fakes by kind of token", header, rows, (note,))
    explanation = (
        "The background is the probability of a replacement. A frame marks a replaced token, with "
        "the true token above it and the probability below."
    )
    body = contents.add_table(recall) + f'<p class="muted small">{contents.say(explanation)}</p>'
    body += "".join(map(page.sentence, found.sentences))
    contents.add_part("examples", "Fakes in held-out text", body)
