"""The cleaning rules: each is one object with its settings, their meaning, and its condition.

A line or document is removed by the first rule that matches it, in the order of `RULES`. Rules on
single lines and documents come first. The rules on the whole corpus see what those left.

A new rule is a new entry of `RULES`: its settings, flags, help and report come from the entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from electra_zh.settings import setting

# Normalising makes a line of control characters only into EMPTIED, and leaves U+FFFD in lines with
# too many of them. EMPTIED is a code point that is not a character, and is deleted from all text.
EMPTIED, REPLACEMENT = "\ufffe", "\ufffd"


class RuleSetting(NamedTuple):
    """A setting of a rule: a field of `CleanSettings`, with the value that switches the rule off.

    `meaning` and `limits` are those of `electra_zh.settings.setting`.
    """

    name: str
    type: Any
    default: Any
    meaning: str
    off: Any = None
    limits: Mapping[str, Any] = {}

    def field(self) -> Any:
        """Returns the dataclass field that declares the setting."""
        off = f" ({self.off} switches it off)" if type(self.off) is int else ""
        return setting(self.default, f"{self.meaning}{off}", group="rules", **self.limits)


def _count(name: str, default: int, meaning: str) -> tuple[RuleSetting]:
    return (RuleSetting(name, int, default, meaning, 0, {"at_least": 0}),)


def _fraction(name: str, default: float, unit: str, of: str) -> tuple[RuleSetting]:
    is_max = name.startswith("max_")
    meaning = f"drop {unit} with a {'larger' if is_max else 'smaller'} fraction of {of}"
    limits = {"at_least": 0, "at_most": 1}
    return (RuleSetting(name, float, default, meaning, int(is_max), limits),)


@dataclasses.dataclass(frozen=True)
class Rule:
    """A cleaning rule.

    Its name in the report begins with `line_` or `document_`, which it removes. `matches` returns a
    bool array from a subject and the settings. The subject of batch rules is a `RemainingText`; of
    corpus rules it is a `Corpus` for documents, `CorpusLines` for lines.
    """

    name: str
    removes: str  # Description of the text; settings in braces are filled in.
    matches: Callable[[Any, Any], Any]
    settings: tuple[RuleSetting, ...] = ()  # The first one can switch the rule off.
    scope: Literal["batch", "corpus"] = "batch"  # Lines and documents alone, or all of them.
    only_after: tuple[str, ...] = ()  # Names of rules; off unless one of them is switched on.

    @property
    def on_documents(self) -> bool:
        """True for a rule that removes documents."""
        return self.name.startswith("document_")


RULES = (
    Rule(
        "line_emptied",
        "lines of control and zero-width characters only",
        lambda text, _: text.lines.contain(EMPTIED),
    ),
    Rule(
        "line_replacement",
        "lines with over {max_replacement:.1%} U+FFFD",
        lambda text, _: text.lines.contain(REPLACEMENT),
        _fraction("max_replacement", 0.01, "lines", "U+FFFD; in other lines delete it"),
    ),
    Rule(
        "line_short",
        "lines under {min_line} characters",
        lambda text, settings: text.lines.solid < settings.min_line,
        _count("min_line", 5, "drop lines with fewer characters"),
    ),
    Rule(
        "line_long",
        "lines over {max_line:,} characters",
        lambda text, settings: text.lines.solid > settings.max_line,
        _count("max_line", 100_000, "drop lines with more characters"),
    ),
    Rule(
        "line_chinese",
        "lines under {min_line_chinese:.0%} Chinese",
        lambda text, settings: text.lines.chinese < settings.min_line_chinese * text.lines.solid,
        _fraction("min_line_chinese", 0.2, "lines", "Chinese characters"),
    ),
    Rule(
        "line_symbols",
        "lines over {max_line_symbols:.0%} symbols and digits",
        lambda text, settings: text.lines.symbols > settings.max_line_symbols * text.lines.solid,
        _fraction("max_line_symbols", 0.6, "lines", "symbols, digits and punctuation"),
    ),
    Rule(
        "line_run",
        "lines with over {max_run} characters of repetition",
        lambda text, settings: text.lines.run > settings.max_run,
        _count("max_run", 20, "drop lines that repeat 1 to 4 characters for longer than this"),
    ),
    Rule(
        "document_repeats",
        "documents with over {max_document_repeats:.0%} repeated lines",
        lambda text, settings: (
            text.totals(text.repeated) > settings.max_document_repeats * text.totals(1)
        ),
        _fraction("max_document_repeats", 0.3, "documents", "repeated lines"),
    ),
    Rule(
        "line_repeated",
        "lines repeated in their document",
        lambda text, settings: text.repeated & (text.lines.solid >= settings.repeated_lines),
        _count("repeated_lines", 10, "drop later copies of lines this long in a document"),
    ),
    Rule(
        "document_emptied",
        "documents without a line left",
        lambda text, _: text.totals(text.lines.solid) == 0,
    ),
    Rule(
        "document_short",
        "documents under {min_document} characters",
        lambda text, settings: text.totals(text.lines.solid) < settings.min_document,
        _count("min_document", 50, "drop documents with fewer characters left"),
    ),
    Rule(
        "document_chinese",
        "documents under {min_document_chinese:.0%} Chinese",
        lambda text, settings: (
            text.totals(text.lines.chinese)
            < settings.min_document_chinese * text.totals(text.lines.solid)
        ),
        _fraction("min_document_chinese", 0.3, "documents", "Chinese characters"),
    ),
    Rule(
        "document_duplicate",
        "duplicate documents",
        lambda corpus, _: corpus.duplicates(),
        (RuleSetting("keep_duplicates", bool, False, "keep duplicates of documents", off=True),),
        scope="corpus",
    ),
    Rule(
        "document_contaminated",
        "documents with {ngram}-grams of evaluation data",
        lambda corpus, settings: corpus.contaminated(common=settings.common_ngrams),
        (
            RuleSetting(
                "decontaminate",
                tuple[str, ...],
                (),
                "drop documents that share an n-gram with this evaluation data: .json, .tsv, .txt",
                off=(),
                limits={"metavar": "FILE"},
            ),
            RuleSetting(
                "ngram",
                int,
                13,
                "length of these n-grams, in ideographs and words",
                limits={"at_least": 5},
            ),
            *_count("common_ngrams", 10, "ignore n-grams in more documents than this"),
        ),
        scope="corpus",
    ),
    Rule(
        "document_near_duplicate",
        "documents at least {near_duplicates:.0%} similar to an earlier one",
        lambda corpus, settings: corpus.near_duplicates(settings.near_duplicates),
        (
            RuleSetting(
                "near_duplicates",
                float | None,
                None,
                "drop documents at least this similar to an earlier one, such as 0.8",
                limits={"at_least": 0.1, "at_most": 1, "metavar": "SIMILARITY"},
            ),
        ),
        scope="corpus",
    ),
    Rule(
        "line_boilerplate",
        "lines in over {boilerplate} documents",
        lambda lines, settings: lines.document_counts() > settings.boilerplate,
        _count("boilerplate", 100, "drop all copies of lines in more documents than this"),
        scope="corpus",
    ),
    Rule(
        "line_duplicate",
        "lines that occur earlier in the corpus",
        lambda lines, settings: lines.repeated(among=lines.solid >= settings.duplicate_lines),
        _count("duplicate_lines", 0, "drop later copies of lines this long in the corpus"),
        scope="corpus",
    ),
    Rule(
        "document_remains",
        "documents with under {min_document} characters left",
        lambda corpus, settings: corpus.solid_left() < max(settings.min_document, 1),
        scope="corpus",
        only_after=("line_boilerplate", "line_duplicate"),
    ),
)
