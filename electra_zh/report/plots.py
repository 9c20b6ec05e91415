"""Plots by matplotlib: as SVG whose colours follow the page's theme, and as PNG.

Text in an SVG is drawn by the browser, in a PNG by the fonts of this machine.
"""

from __future__ import annotations

import functools
import io
import itertools
import re
import warnings
from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from electra_zh.errors import UserError, install_line
from electra_zh.report.curves import Axis, Curve, Panel, Points, points
from electra_zh.report.language import Say
from electra_zh.report.runs import HasLines, RunLog

# Colours of the series, for light backgrounds; the page has those for dark ones.
SERIES = (
    *("#2563c9", "#d1501e", "#12805c", "#9333b8", "#b4780a", "#c22a5b", "#0b7f99", "#6b6f1d"),
)
_TEXT, _GRID, _REFERENCE = "#33383f", "#d9dce1", "#8a9099"
# What the SVG has instead: colours that occur nowhere else, replaced by the page's variables.
_VARIABLES = {
    **{f"#fe01{number:02x}": f"var(--s{number})" for number in range(len(SERIES))},
    "#fe0200": "var(--text)",
    "#fe0300": "var(--grid)",
    "#fe0400": "var(--muted)",
}
_DASHED = (0, (4, 2))
_SIZE = (4.5, 2.9)  # inches
_BINS = 250
_CJK_FILES = re.compile(
    r"cjk|sourcehan|wqy|wenquanyi|msyh|simhei|simsun|pingfang|heiti|hiragino|notosanssc|"
    r"droidsansfallback|arialuni",
    re.IGNORECASE,
)


class Palette(NamedTuple):
    """Colours of a plot."""

    series: Sequence[str]
    text: str
    grid: str
    reference: str


# Draws on a figure; the last argument says whether it is for the page, which has titles itself.
Draw = Callable[[Any, Palette, bool], None]
_LIGHT = Palette(SERIES, _TEXT, _GRID, _REFERENCE)
_THEMED = Palette(
    [key for key in _VARIABLES if key.startswith("#fe01")], "#fe0200", "#fe0300", "#fe0400"
)


def check_installed() -> None:
    """Raises a UserError if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(f"Plots need matplotlib: {install_line('report')}") from None


@functools.cache
def cjk_font() -> str | None:
    """Returns the name of an installed font with Chinese characters; None without one."""
    from matplotlib import font_manager

    for path in sorted(filter(_CJK_FILES.search, font_manager.findSystemFonts()), key=_preference):
        try:
            font = font_manager.get_font(path)
            if font.get_char_index(ord("中")):
                font_manager.fontManager.addfont(path)
                return str(font.family_name)
        except (OSError, RuntimeError):
            continue
    return None


def _preference(path: str) -> tuple[bool, bool, str]:
    """Sorts regular sans-serif fonts first."""
    name = path.rpartition("/")[2].lower()
    return "serif" in name or "mono" in name, "regular" not in name, path


class Plot(NamedTuple):
    """A plot that is drawn when it is asked for, in either form."""

    draw: Draw
    size: tuple[float, float]  # inches

    def svg(self) -> str:
        """Returns an SVG element for a page: text by the browser, colours by the page's theme."""
        return _for_page(self._render("svg", _THEMED).decode())

    def png(self) -> bytes:
        """Returns a PNG with title and legend on white."""
        return self._render("png", _LIGHT)

    def _render(self, form: str, palette: Palette) -> bytes:
        import matplotlib
        from matplotlib.figure import Figure

        text = dict.fromkeys(
            (
                *("text.color", "axes.labelcolor", "xtick.color", "ytick.color"),
                *("xtick.labelcolor", "ytick.labelcolor"),
            ),
            palette.text,
        )
        style = {
            **text,
            "axes.edgecolor": palette.grid,
            "grid.color": palette.grid,
            "font.family": ["DejaVu Sans", *filter(None, [cjk_font()])],
            "font.size": 8.5,
            "svg.fonttype": "none",
            "svg.hashsalt": "electra-zh",
        }
        file = io.BytesIO()
        with matplotlib.rc_context(style), warnings.catch_warnings():
            # Missing Chinese glyphs are reported once, by the report.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            figure = Figure(figsize=self.size, layout="constrained")
            self.draw(figure, palette, form == "svg")
            metadata = {"Date": None} if form == "svg" else {}
            figure.savefig(file, format=form, dpi=200, transparent=form == "svg", metadata=metadata)
        return file.getvalue()


_COUNT = itertools.count()


def _for_page(svg: str) -> str:
    """Returns an SVG for a page: its colours the page's, its ids unique, its size flexible."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r'(<svg [^>]*?) ?width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) ?height="[^"]*"', r"\1", svg, count=1)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', svg))
    svg = re.sub(r' id="([\w-]+)"', lambda m: m[0] if m[1] in used else "", svg)
    prefix = f"p{next(_COUNT)}-"
    svg = re.sub(r'(url\(#|href="#| id=")', rf"\g<1>{prefix}", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    return re.sub(r"\n\s*", "\n", svg)


def _style(panel: Panel, curve: Curve) -> dict[str, Any]:
    """Returns the style of a panel's curve: dots for held-out data, dashes for a second curve."""
    second = curve is not panel.curves[0] and curve.label != "held-out"
    dots = {"marker": "o", "markersize": 2.6} if curve.kind != "train" else {}
    faint = {"alpha": 0.6} if curve.label == "training" else {}
    return {"linestyle": _DASHED if second else "-", **dots, **faint}


def draw_panel(
    panel: Panel,
    logs: Sequence[RunLog],
    axis: Axis,
    *,
    reference: Sequence[HasLines] = (),
    say: Say = str,
) -> Plot:
    """Draws a panel of curves: colours are runs, line styles are curves.

    References are drawn as far as the runs reach, and a little further.
    """

    def draw(figure: Any, palette: Palette, for_page: bool) -> None:
        axes = figure.subplots()
        end = max((log.lines[-1].get(axis.key, 0) for log in logs if log.lines), default=0)
        drawn: list[tuple[HasLines, str, float, float]] = [
            (log, palette.reference, 1.0, 1.5) for log in reference
        ]
        drawn += [
            (log, palette.series[number % len(palette.series)], 1.4, 2.0)
            for number, log in enumerate(logs)
        ]
        shown: list[Points] = []
        for log, colour, width, order in drawn:
            for curve in panel.curves:
                found = points(log, curve, axis)
                if log in reference and logs:
                    found = _until(found, 1.2 * end * axis.scale)
                if found.x:
                    shown.append(found)
                    style = _style(panel, curve)
                    axes.plot(
                        *_thinned(found), color=colour, linewidth=width, zorder=order, **style
                    )
        _set_axes(axes, axis, say, [x for found in shown for x in found.x[-1:]])
        if panel.is_loss:
            _cut_start(axes, shown)
        elif not any(any(found.y) for found in shown):
            axes.set_ylim(0, 1)  # all are 0
        if not for_page:
            axes.set_title(say(panel.title), fontsize=9.5)
        _name_curves(axes, panel, _drawn(panel, [*reference, *logs], axis), palette, say)
        if not for_page:
            names = [(f"{log.name} ({say('reference')})", palette.reference) for log in reference]
            names += [(log.name, colour) for log, colour, *_ in drawn[len(reference) :]]
            _name_runs(figure, names)

    return Plot(draw, _SIZE)


def _until(found: Points, end: float) -> Points:
    kept = [(x, y) for x, y in zip(found.x, found.y, strict=True) if x <= end]
    return Points([x for x, _ in kept], [y for _, y in kept])


def _thinned(found: Points) -> Points:
    """Returns at most two points per bin, the lowest and the highest, so that spikes remain."""
    if len(found.x) <= 2 * _BINS:
        return found
    kept: set[int] = {0, len(found.x) - 1}
    for part in np.array_split(np.arange(len(found.x)), _BINS):
        values = np.asarray(found.y)[part]
        kept |= {int(part[values.argmin()]), int(part[values.argmax()])}
    return Points([found.x[i] for i in sorted(kept)], [found.y[i] for i in sorted(kept)])


def _cut_start(axes: Any, shown: Sequence[Points]) -> None:
    """Sets the upper limit to the highest value after the first tenth of each curve."""
    later = [
        y for found in shown for x, y in zip(found.x, found.y, strict=True) if x >= found.x[-1] / 10
    ]
    if later:
        margin = 0.05 * (max(later) - min(later)) or 0.05 * abs(max(later)) or 1.0
        axes.set_ylim(min(later) - margin, max(later) + margin)


def _set_axes(axes: Any, axis: Axis, say: Say, ends: Sequence[float]) -> None:
    """Sets the frame, the grid, and the unit of the horizontal axis."""
    factor, unit = _unit(axis, max(ends, default=1.0))
    axes.set_xlabel(say(f"tokens, {unit}" if axis.name == "tokens" else unit))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value * factor:,.10g}")
    axes.xaxis.set_major_locator(_locator(factor))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace("-", "−"))
    axes.set_xlim(left=0)
    set_frame(axes)


def _locator(factor: float) -> Any:
    """Returns the places of ticks at round numbers of the shown unit."""
    from matplotlib.ticker import MaxNLocator

    class Scaled(MaxNLocator):
        def tick_values(self, vmin: float, vmax: float) -> Any:
            return np.asarray(super().tick_values(vmin * factor, vmax * factor)) / factor

    return Scaled(nbins=5, steps=[1, 2, 2.5, 5, 10])


def _unit(axis: Axis, end: float) -> tuple[float, str]:
    if axis.name == "tokens":
        return (1e-9, "B") if end >= 2e9 else (1e-6, "M")
    return (60.0, "minutes") if axis.name == "hours" and end < 1.5 else (1.0, axis.name)


def set_frame(axes: Any) -> None:
    """Sets the look of axes: a grid, no ticks, no lines on top and on the right."""
    axes.grid(visible=True, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)


def _drawn(panel: Panel, logs: Sequence[HasLines], axis: Axis) -> set[Curve]:
    return {each for each in panel.curves if any(points(log, each, axis).x for log in logs)}


def _name_curves(axes: Any, panel: Panel, named: Set[Curve], palette: Palette, say: Say) -> None:
    """Adds a legend of these curves of a panel, unless it has only one."""
    from matplotlib.lines import Line2D

    if len(panel.curves) > 1:
        lines = [
            Line2D(
                *([], []),
                color=palette.text,
                linewidth=1.2,
                label=say(curve.label),
                **_style(panel, curve),
            )
            for curve in panel.curves
            if curve in named
        ]
        axes.legend(handles=lines, frameon=False, handlelength=2.2, fontsize=8)


def _name_runs(figure: Any, names: Sequence[tuple[str, str]]) -> None:
    """Adds a legend of names and colours below the axes; the page has its own."""
    from matplotlib.lines import Line2D

    runs = [Line2D([], [], color=colour, label=name) for name, colour in names]
    figure.legend(handles=runs, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


class Dots(NamedTuple):
    """The scores of a model on a task: one per random seed, and published ones."""

    task: str
    model: str
    scores: Sequence[float]


def draw_spread(dots: Sequence[Dots], published: Sequence[Dots], *, say: Say = str) -> Plot:
    """Draws the scores of all seeds, a row per task, with means as bars and published scores."""
    tasks = list(dict.fromkeys(each.task for each in dots))
    models = list(dict.fromkeys(each.model for each in dots))

    def draw(figure: Any, palette: Palette, for_page: bool) -> None:
        axes = figure.subplots()
        for each in published:
            if each.task in tasks:
                rows = [tasks.index(each.task)] * len(each.scores)
                axes.plot(
                    each.scores,
                    rows,
                    "D",
                    markersize=4.5,
                    color=palette.reference,
                    fillstyle="none",
                )
        for each in dots:
            number = models.index(each.model)
            y = tasks.index(each.task) + 0.5 * ((number + 0.5) / len(models) - 0.5)
            colour = palette.series[number % len(palette.series)]
            axes.plot(
                each.scores, [y] * len(each.scores), "o", markersize=3.6, alpha=0.65, color=colour
            )
            axes.plot(
                [np.mean(each.scores)], [y], "|", markersize=11, markeredgewidth=2, color=colour
            )
        axes.set_yticks(range(len(tasks)), list(map(say, tasks)))
        axes.set_ylim(len(tasks) - 0.5, -0.5)
        axes.set_xlabel(say("score, %"))
        set_frame(axes)
        if not for_page:
            axes.set_title(say("Scores on dev"), fontsize=9.5)
            name_models(figure, models, palette, say("published") if published else "")

    return Plot(draw, (6.5, 0.9 + 0.36 * len(tasks)))


def name_models(figure: Any, models: Sequence[str], palette: Palette, published: str = "") -> None:
    """Adds a legend of models, and of published scores under this name."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=palette.series[n % len(palette.series)], marker="o", label=model)
        for n, model in enumerate(models)
    ]
    if published:
        style: dict[str, Any] = {"marker": "D", "fillstyle": "none", "linestyle": ""}
        lines.append(Line2D([], [], color=palette.reference, label=published, **style))
    figure.legend(handles=lines, loc="outside lower center", ncols=3, frameon=False, fontsize=8)


def draw_confusion(
    title: str, labels: Sequence[str], matrix: Sequence[Sequence[int]], *, say: Say = str
) -> Plot:
    """Draws a confusion matrix [gold][predicted], shaded by the fraction of its row."""
    counts = np.asarray(matrix)

    def draw(figure: Any, palette: Palette, for_page: bool) -> None:
        del for_page
        axes = figure.subplots()
        fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column]:
                dark = fractions[row, column] > 0.5
                axes.text(
                    *(column, row, f"{counts[row, column]:,}"),
                    **{"ha": "center", "va": "center", "fontsize": 6.5},
                    color="#ffffff" if dark else _TEXT,
                )
        axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 6 else 0)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel(say("predicted"))
        axes.set_ylabel(say("gold"))
        axes.set_title(title, fontsize=9.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    side = 1.6 + 0.36 * len(labels)
    return Plot(draw, (side, side))
