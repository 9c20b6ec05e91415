"""The page: complete, self-contained, with every curve, table and Chinese text."""

from __future__ import annotations

import io
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from electra_zh import cli
from electra_zh.commands import load_command
from electra_zh.errors import UserError
from electra_zh.finetuning import registry
from electra_zh.report import curves, epochs, language, page, plots, write
from electra_zh.report.fakes import JudgedToken
from electra_zh.report.runs import read_references, read_run
from electra_zh.report.scores import find_results
from support.reports import write_results, write_run

_VOID = {"meta", "input", "br"}


class Outline(HTMLParser):
    """Checks that elements are closed in order, and counts them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, and two results with a confusion matrix."""
    made = tmp_path_factory.mktemp("report")
    write_run(made / "a", steps=200, done=200)
    write_run(made / "b", steps=100, done=60, learning_rate=3e-4)
    published = {"tnews": {"HFL small": 56.0}}
    write_results(made / "tuned", {"tnews": [50, 52], "主题": [80, 84]}, published=published)
    write_results(made / "other", {"tnews": [48]})
    best = made / "tuned" / "主题" / "trial-1"
    best.mkdir(parents=True)
    (best / "confusion.dev.tsv").write_text(
        "gold\t体育\t美食\n体育\t40\t2\n美食\t3<\t35\n".replace("<", "")
    )
    return made


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    """The page of all of them, with the first panels of each section."""
    few = tuple(each._replace(panels=each.panels[:1]) for each in curves.SECTIONS)
    (folder / "out").mkdir()
    words = [str(folder), "--output", str(folder / "out" / "report.html")]
    words += ["--reference", str(folder / "a"), "--title", "对比：甲 & 乙"]
    words += ["--tables", str(folder / "out" / "tables")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "SECTIONS", few)
        assert load_command("report").run(cli.parse("report", words)) == 0
    return (folder / "out" / "report.html").read_text("utf-8")


def test_the_page_is_well_formed_and_needs_nothing_else(text: str) -> None:
    outline = Outline(text)
    assert outline.counts["h1"] == 1
    assert "script" not in outline.counts
    addresses = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)', text)
    assert all(first.startswith("#") or second.startswith("#") for first, second in addresses)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)


def test_panels_are_drawn_against_each_axis(text: str) -> None:
    for section in curves.SECTIONS:
        for axis in ("steps", "tokens", "hours"):
            assert f'aria-label="{section.panels[0].title}, {axis}"' in text


def test_every_panel_with_values_is_shown(folder: Path) -> None:
    panels = {panel.name for section in curves.SECTIONS for panel in section.panels}
    logs = [read_run(str(folder / name)) for name in "ab"]
    found = {panel.name for _, shown in curves.panels_with_data(logs) for panel in shown}
    assert found == panels - {"clm_loss", "skipped_steps"}  # no run has those


def test_references_inside_the_page_are_to_one_element(text: str) -> None:
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', text)
    assert set(used) <= set(names)


def test_colours_follow_the_theme(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert "#fe0" not in text
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", text))
    defined = set(re.findall(r"(--[a-z0-9-]+):", text))
    assert used <= defined


def test_names_and_scores_are_in_the_page(text: str) -> None:
    assert "<h1>对比：甲 &amp; 乙</h1>" in text
    for part in ("主题", "84.00 (82.00 ± 2.83)", "HFL small 56", "体育", "a (reference)"):
        assert part in text
    assert "0.0003" in text


def test_tables_are_files_of_three_forms(text: str, folder: Path) -> None:
    found = {path.name for path in (folder / "out" / "tables").iterdir()}
    names = {"runs", "settings", "differences", "data", "scores_tuned", "comparison_dev"}
    assert {f"{name}.{suffix}" for name in names for suffix in ("md", "csv", "tex")} <= found
    assert "| 主题 |" in (folder / "out" / "tables" / "scores_tuned.md").read_text("utf-8")


def test_plots_are_files(folder: Path, tmp_path: Path, call: Callable[..., str]) -> None:
    page_file, plots_folder = str(tmp_path / "r.html"), str(tmp_path / "plots")
    call("report", str(folder / "tuned"), "--output", page_file, "--plots", plots_folder)
    images = {path.name: path for path in (tmp_path / "plots").iterdir()}
    assert images.keys() == {"scores.png", "confusion_tuned_主题.png"}
    for path in images.values():
        with Image.open(path) as image:
            assert image.width > 400
            assert np.asarray(image.convert("L")).std() > 1


def test_a_chinese_page_has_no_english_sentence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of runs, settings and your own tasks stay as they are."""
    asked: set[str] = set()
    catalogue = language.speaker("zh")

    def say(text: str) -> str:
        asked.add(text)
        return catalogue(text)

    for section in curves.SECTIONS:
        for panel in section.panels:
            labels = [curve.label for curve in panel.curves if curve.label]
            for each in (section.title, panel.title, panel.explanation, *labels):
                say(each)
    monkeypatch.setattr(curves, "SECTIONS", curves.SECTIONS[:1])
    monkeypatch.setattr(plots.Plot, "svg", lambda _: "<svg >")
    monkeypatch.setattr(write, "speaker", lambda _: say)
    sources = write.find_sources([str(folder)])
    contents = write.make_contents(sources, language="zh")
    write.write_page(str(tmp_path / "r.html"), contents, sources, language="zh")
    english = {each for each in asked if catalogue(each) == each}
    names = {"a", "b", "主题", "tuned: run, small", "other: run, small"}
    assert {each for each in english if not each.startswith("tuned, ")} == names
    text = (tmp_path / "r.html").read_text("utf-8")
    assert '<html lang="zh">' in text
    assert "<h2>微调</h2>" in text
    assert "<td>TNEWS 新闻标题分类</td><td>准确率</td>" in text


def test_every_chinese_task_has_a_chinese_name() -> None:
    say = language.speaker("zh")
    groups = registry.load(["clue", "hfl", "ner"])
    assert [say(name) for name in ("type", "correct")] == ["类型", "正确"]
    assert [task.name for task in groups if say(task.name) == task.name] == []
    assert [task.metric for task in groups if say(task.metric) == task.metric] == ["cjrc_f1"]


def test_a_shipped_reference_is_drawn_as_far_as_the_run_goes(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=3000, done=2000)
    log = read_run(str(tmp_path / "a"))
    (small,) = read_references(["small"])
    panel = next(each for each in curves.SECTIONS[0].panels if each.name == "masked_lm_loss")
    figure = Figure()
    plot = plots.draw_panel(panel, [log], curves.AXES[0], reference=[small])
    plot.draw(figure, plots._LIGHT, False)
    drawn = [line for line in figure.axes[0].lines if line.get_color() == plots._REFERENCE]
    assert [np.asarray(line.get_xdata()).tolist() for line in drawn] == [[250, 1750]]
    assert [np.asarray(line.get_ydata()).tolist() for line in drawn] == [[9.15, 5.53]]


def test_references_are_runs_and_curves_of_the_package(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=40, done=40)
    found = read_references(["tiny", str(tmp_path / "a")])
    assert [each.name for each in found] == ["tiny, one H200", "a"]
    assert found[0].lines[0]["tokens"] == 250 * 128 * 128
    with pytest.raises(UserError, match=r'--reference smal is neither.*Did you mean "small"\?'):
        read_references(["smal"])


def test_learning_curves_of_fine_tuning_are_those_of_the_trials(tmp_path: Path) -> None:
    write_results(tmp_path / "tuned", {"tnews": [50, 52]})
    for seed, values in ((0, (40, 50)), (1, (30, 52, 51))):
        lines = [
            {"step": 10 * (epoch + 1), "kind": kind, **metrics}
            for epoch, score in enumerate(values)
            for kind, metrics in (("train", {"loss": 2.0 - epoch}), ("eval", {"tnews": score}))
        ]
        folder = tmp_path / "tuned" / "tnews" / f"trial-{seed}"
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = epochs.trial_curves(find_results([str(tmp_path / "tuned")]))
    assert [each.scores for each in found] == [[40, 50], [30, 52, 51]]
    assert found[1].losses == [2, 1, 0]
    figure = Figure()
    epochs.draw_epochs("tnews", found, ["tuned"]).draw(figure, plots._LIGHT, False)
    assert [np.asarray(line.get_xdata()).tolist() for line in figure.axes[0].lines] == [
        [1, 2],
        [1, 2, 3],
    ]
    sources = write.find_sources([str(tmp_path)])
    assert "epochs_tnews" in write.make_contents(sources).plots


def test_a_curve_has_the_values_of_the_lines(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=40, done=40)
    log = read_run(str(tmp_path / "a"))
    found = curves.points(log, curves.Curve("masked_lm_loss", "eval"), curves.AXES[2])
    assert found.x == pytest.approx([0.2, 0.4])
    assert found.y == [line["masked_lm_loss"] for line in log.lines if line["kind"] == "eval"]


def test_a_legend_names_the_curves_that_are_drawn(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=40, done=40)
    path = tmp_path / "a" / "metrics.jsonl"
    path.write_text('{"step": 10, "kind": "eval", "effective_rank": 9.0}\n')
    plot = write.make_contents(write.find_sources([str(tmp_path)])).plots
    (svg,) = (each.svg() for name, each in plot.items() if "effective_rank" in name)
    assert "discriminator" in svg
    assert "generator" not in svg


def test_runs_without_time_and_tokens_have_steps_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=40, done=40)
    path = tmp_path / "a" / "metrics.jsonl"
    path.write_text('{"step": 10, "kind": "train", "loss": 2.0}\n')
    assert [axis.name for axis in curves.axes_with_data([read_run(str(path.parent))])] == ["steps"]


def test_long_curves_keep_their_spikes() -> None:
    y = [1.0] * 100_000
    y[54_321] = 9.0
    thinned = plots._thinned(curves.Points([float(i) for i in range(len(y))], y))
    assert len(thinned.x) < 1000
    assert (thinned.x[0], thinned.x[-1], max(thinned.y)) == (0, len(y) - 1, 9)


def test_a_replaced_token_is_framed_with_the_true_one() -> None:
    shown = page.sentence([JudgedToken("球", "球", 0.02), JudgedToken("茶", "<球>", 0.91)])
    assert '<span class="fake" data-p="91%" style="--p: 0.91">茶</span><rt>&lt;球&gt;</rt>' in shown
    assert '<span style="--p: 0.02">球</span>' in shown


def test_chinese_glyphs_are_drawn(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Missing glyphs are one and the same box; without a font the log says so."""

    def pixels(label: str) -> np.ndarray:
        png = plots.draw_confusion("", [label, "b"], [[1, 0], [0, 1]]).png()
        return np.asarray(Image.open(io.BytesIO(png)).convert("L"))

    same = np.array_equal(pixels("足球"), pixels("美食"))
    if plots.cjk_font() is not None:
        assert not same
        return
    assert same
    write_results(tmp_path / "tuned", {"主题": [80]})
    sources = write.find_sources([str(tmp_path)])
    contents = write.make_contents(sources)
    write.write_plots(str(tmp_path / "plots"), contents)
    assert "No font with Chinese characters" in caplog.text


def test_an_svg_is_valid_xml(tmp_path: Path) -> None:
    write_run(tmp_path / "a", steps=40, done=40)
    panel = curves.SECTIONS[0].panels[0]
    svg = plots.draw_panel(panel, [read_run(str(tmp_path / "a"))], curves.AXES[0]).svg()
    root = ElementTree.fromstring(svg)
    assert "width" not in root.attrib
    assert [text for text in root.itertext() if text.strip() == "training"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "missing does not exist"),
        (".", "contains neither pretraining runs nor fine-tuning results"),
    ],
)
def test_paths_without_runs_and_results_are_refused(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load_command("report").run(cli.parse("report", [path]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "are missing"),
        ([".", "--output", "report.pdf"], "give the name of an .html file"),
        ([".", "--data", "d"], "--data is for --model RUN"),
    ],
)
def test_wrong_usage_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.parse("report", words)
    assert message in capsys.readouterr().err


def test_without_matplotlib_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, call: Callable[..., str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_results(tmp_path, {"tnews": [50]})
    with pytest.raises(UserError, match=r"pip install 'electra-zh\[report\]'"):
        call("report", str(tmp_path), "--output", str(tmp_path / "r.html"))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("gold\ta\tb\na\t4\t2\nb\t3", "its rows differ in length"),
        ("gold\ta\tb\na\t4\t2\nb\t3\t", "invalid literal for int.*"),
        ("gold\ta\tb\na\t4\t2\n", "1 rows of 2 labels"),
    ],
)
def test_a_damaged_table_of_errors_is_refused(tmp_path: Path, table: str, problem: str) -> None:
    write_results(tmp_path, {"tnews": [50]})
    best = tmp_path / "tnews" / "trial-0"
    best.mkdir(parents=True, exist_ok=True)
    (best / "confusion.dev.tsv").write_text(table)
    words = [str(tmp_path), "--output", str(tmp_path / "report.html")]
    with pytest.raises(UserError, match=rf"dev\.tsv is damaged \({problem}\)\. Remove it"):
        load_command("report").run(cli.parse("report", words))
