"""The report as one HTML page, without files or addresses of other places."""

from __future__ import annotations

import html
import importlib.resources
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from electra_zh import __version__
from electra_zh.report import plots
from electra_zh.report.fakes import JudgedToken
from electra_zh.report.tables import ReportTable

# Colours of the series on dark backgrounds; those on light ones are `plots.SERIES`.
_DARK = (*("#7fb0ff", "#ff9466", "#4fcf9f", "#cf8df0", "#e9b44c", "#ff7fa5", "#4cc3df", "#bcc063"),)
# Cells with more characters are broken into lines.
_LONG = 44
# From this probability on it is written below a token, too.
_SHOWN_PROBABILITY = 0.3


class PagePart(NamedTuple):
    """A section of the page."""

    anchor: str
    title: str
    body: str  # HTML


class Key(NamedTuple):
    """A name in the legend of the page, and its colour in CSS."""

    name: str
    colour: str


def text(value: object) -> str:
    """Returns a value as HTML."""
    return html.escape(str(value))


def table(shown: ReportTable) -> str:
    """Returns a table as HTML."""
    numeric = [shown.is_numeric(column) for column in range(len(shown.header))]

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = (
            ' class="n"' if number else ' class="long"' if len(cell) > _LONG else ""
            for number, cell in zip(numeric, cells, strict=True)
        )
        parts = (
            f"<{tag}{kind}>{text(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{''.join(parts)}</tr>"

    notes = "".join(f'<p class="muted small">{text(note)}</p>' for note in shown.notes)
    body = "\n".join(row(cells, "td") for cells in shown.rows)
    return (
        f'<div class="item"><h3>{text(shown.title)}</h3><div class="scroll"><table>'
        f"<thead>{row(shown.header, 'th')}</thead>\n<tbody>{body}</tbody></table></div>"
        f"{notes}</div>"
    )


def figure(title: str, explanation: str, svg: str, *, wide: bool = False) -> str:
    """Returns a figure; `svg` may be several, each in an element of its axis."""
    kind = ' class="wide"' if wide else ""
    return (
        f"<figure{kind}><figcaption>{text(title)}<span>{text(explanation)}</span></figcaption>"
        f"{svg}</figure>"
    )


def drawing(title: str, svg: str, *, axis: str = "") -> str:
    """Returns a plot with its name for screen readers, shown if its axis is chosen."""
    label = f'<svg role="img" aria-label="{text(title)}" '
    return f'<div class="{f"by-{axis}" if axis else "plot"}">{svg.replace("<svg ", label, 1)}</div>'


def series_keys(names: Iterable[str]) -> list[Key]:
    """Returns the legend of series in their order."""
    count = len(plots.SERIES)
    return [Key(name, f"var(--s{number % count})") for number, name in enumerate(names)]


def keys(found: Sequence[Key], *, axes: Mapping[str, str] | None = None) -> str:
    """Returns the legend of the page, with the choice of the axis; `axes` are names to labels."""
    names = "".join(
        f'<span class="key" style="--c: {each.colour}"><i></i>{text(each.name)}</span>'
        for each in found
    )
    labels = [
        f'<label for="axis-{name}">{text(label)}</label>' for name, label in (axes or {}).items()
    ]
    choice = f'<div class="axes">{"".join(labels)}</div>' if len(labels) > 1 else ""
    return f'<div class="bar">{names}{choice}</div>'


def matrix(
    title: str, explanation: str, labels: Sequence[str], counts: Sequence[Sequence[int]]
) -> str:
    """Returns a confusion matrix [gold][predicted], shaded by the fraction of its row."""
    head = "".join(f"<th>{text(label)}</th>" for label in labels)
    rows = []
    for number, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(
            f'<td style="--p: {count / total:.2f}"{" class=right" if column == number else ""}>'
            f"{f'{count:,}' if count else ''}</td>"
            for column, count in enumerate(row)
        )
        rows.append(f"<tr><th>{text(label)}</th>{cells}</tr>")
    return (
        f'<div class="item"><h3>{text(title)}</h3><p class="muted small">{text(explanation)}</p>'
        f'<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>\n'
        + "\n".join(rows)
        + "</table></div></div>"
    )


def sentence(tokens: Sequence[JudgedToken]) -> str:
    """Returns a sentence: the background is the probability, replaced tokens have a frame."""
    parts = []
    for token in tokens:
        is_fake = token.shown != token.original
        kind = ' class="fake"' if is_fake else ""
        if is_fake or token.probability >= _SHOWN_PROBABILITY:
            kind += f' data-p="{token.probability:.0%}"'
        shown = text(token.shown.removeprefix("##"))
        inner = f'<span{kind} style="--p: {token.probability:.2f}">{shown}</span>'
        original = text(token.original.removeprefix("##"))
        parts.append(f"<ruby>{inner}<rt>{original}</rt></ruby>" if is_fake else inner)
    return f'<p class="sentence">{"".join(parts)}</p>\n'


def make_page(
    title: str,
    subtitle: str,
    parts: Sequence[PagePart],
    *,
    bar: str,
    axes: Sequence[str],
    footer: str,
    language: str,
) -> str:
    """Returns the page of the parts; `axes` are those that the bar can choose."""
    template = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    first = axes[0] if axes else ""
    inputs = "".join(
        f'<input class="pick" type="radio" name="axis" id="axis-{axis}"'
        f"{' checked' if axis == first else ''}>\n"
        for axis in axes
    )
    return string.Template(template).substitute(
        language=language,
        version=__version__,
        title=text(title),
        subtitle=text(subtitle),
        light=_colours(plots.SERIES),
        dark=_colours(_DARK),
        switch="\n".join(map(_switch, axes)),
        inputs=inputs,
        navigation=" ".join(f'<a href="#{each.anchor}">{text(each.title)}</a>' for each in parts),
        bar=bar,
        body="\n".join(
            f'<section id="{each.anchor}"><h2>{text(each.title)}</h2>\n{each.body}</section>'
            for each in parts
        ),
        footer=text(footer),
    )


def _colours(colours: Sequence[str]) -> str:
    return " ".join(f"--s{number}: {colour};" for number, colour in enumerate(colours))


def _switch(axis: str) -> str:
    """Returns the rules that show the plots of an axis where its input is checked."""
    chosen = f"#axis-{axis}:checked ~ main"
    return (
        f".by-{axis} {{ display: none; }}\n{chosen} .by-{axis} {{ display: block; }}\n"
        f'{chosen} .axes label[for="axis-{axis}"] '
        "{ background: var(--link); color: var(--page); }\n"
        f'#axis-{axis}:focus-visible ~ main .axes label[for="axis-{axis}"] '
        "{ outline: 2px solid var(--text); outline-offset: -2px; }"
    )
