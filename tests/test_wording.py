"""User messages, log lines, docstrings, comments and pages are written in the field's English.

CONTRIBUTING.md gives the rule and the table of words. A phrase is banned because a better known
one says the same; the message of a failure names it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("electra_zh", "configs", "scripts", "benchmarks", "tests", "docs", ".github")
PAGES = ("README.md", "CHANGELOG.md", "SECURITY.md", "Makefile")
# It quotes the banned phrases.
EXEMPT = ("tests/test_wording.py",)

# Banned phrase (a regular expression) -> the words to use.
BANNED = {
    r"\bgo(es|ing)? on\b": "resume, continue",
    r"\bwent on\b": "resumed, continued",
    r"(?<!there )(?<!There )\b(is|are|was|were) no (?!longer|more|less|different|worse|better)": (
        "is not a"
    ),
    r"\b(has|have|had) not\b(?! [a-z]+(ed|en|t|un|de|one)\b)(?! (yet|only|even|all)\b)": (
        "does not have, without, is missing"
    ),
    r"\bis none of\b": "is not one of",
    r"\black(s|ed|ing)?\b": "is missing, without",
    r"\b(stands?|stood|standing)\b(?! for\b)(?! alone\b)": "is, appears",
    r"\b(kept|keep|keeps|keeping|set|sets) [a-z ]*?apart\b": "held out, separate",
    r"\bthere twice\b": "duplicate",
    r"\b(is|are|was|were|be) whole\b": "is complete, is valid",
    r"\bbehind\b": "after",
    r"\btold by\b|\btells\b": "determined by, says",
    r"\bso many\b|\bso much as\b|\bat least so\b|\bat most so\b": "N, this many",
    r"(?i)(?<![a-z] )\bwhat (a|the) [a-z]+ (is|are) (of|made of)\b": "name the thing",
    r"\b(of|in|from|with) what\b(?! (follows|is left)\b)": "name the thing",
    r"\bgo(es)?(?=[.,;)]|$)|\bgo(es)? (by|else)\b": "is removed, is skipped",
    r"\bis no choice\b|\bno choice\b": "does not apply; remove it",
    r"\bbeside\b": "next to, with, in addition to",
    r"\bunless given\b": "by default",
    r"\b(as|in|of|a|the|larger|smaller|smallest|largest|equal) shares? of\b": "fraction of",
    r"\bpass(ed|es)? over\b": "skip",
    r"\b(left|leave|leaves|leaving) (?:[a-z_]+ ){0,3}out\b": "skip, omit",
    r"\bwith commas between\b": "comma-separated",
    r"\ban own\b": "its own",
    r"\b(must|may|to) lie\b|\blies? (in|between)\b": "must be",
    (
        r"\b(one|characters?|tokens?|steps?|examples?|lines?|sentences?|words?|sequences?|"
        r"questions?|predictions?|seconds?|times|bytes|documents?) an? "
        r"(line|token|step|call|second|task|sequence|document|batch|row|example|word|sentence|file|shard|process|core|hour)"
    ): "per",
    r"\bonce (?:it is )?there\b": "once it exists",
    r"\badvice, nothing\b": "Suggested (not applied)",
    r"\bthe other way round\b": "the reverse",
    r"\bis of (this|that|the|a|others)\b": "belongs to",
    r"\b(tabs?|spaces?|commas?|TAB) parts?\b": "separates",
    r"\btwice the same\b|\bthe same twice\b": "duplicate",
    r"\bkept steps?\b": "checkpoint",
    r"\bnor is\b": "and it is not",
    r"\bgiven beside\b|\band beside it\b": "given both as",
    r"\bof one's own\b": "your own, custom",
    r"\bunlike before\b": "changed",
    r"\bhow [a-z]+ the [a-z]+ stands\b": "the state of",
}
PATTERNS = {re.compile(pattern): instead for pattern, instead in BANNED.items()}
OPENERS = re.compile(
    r"^(What|Where|How|Whether|Why|When|Who|Which)\b|^(Returns|Yields) (what|where|how|why|which)\b"
)


def _files() -> Iterator[str]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml", ".yml", ".md", ".sh"):
                yield str(path.relative_to(ROOT))
    yield from (page for page in PAGES if (ROOT / page).exists())


def _python_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yields line number and text of string literals, docstrings and blocks of comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    block: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != block[-1][0] + 1:
                yield block[0][0], " ".join(text for _, text in block)
                block = []
            block.append((token.start[0], token.string.lstrip("# ")))
    if block:
        yield block[0][0], " ".join(text for _, text in block)


def _line_texts(source: str, *, comments_only: bool) -> Iterator[tuple[int, str]]:
    """Yields line number and text of paragraphs, or of blocks of comments; code blocks are not."""
    first, in_code = 1, False
    block: list[str] = []
    for number, line in enumerate([*source.splitlines(), ""], 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        is_text = line.lstrip().startswith("#") if comments_only else not in_code
        if is_text and line.strip():
            first = number if not block else first
            block.append(line.strip().lstrip("# ") if comments_only else line.strip())
        elif block:
            yield first, " ".join(block)
            block = []


def _texts(path: str) -> Iterator[tuple[int, str]]:
    source = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        return _python_texts(source)
    return _line_texts(source, comments_only=not path.endswith(".md"))


def _first_lines(source: str) -> Iterator[tuple[int, str]]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, kinds):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring.splitlines()[0]


def banned_phrases(path: str) -> list[str]:
    """Returns the banned phrases of a file, `path:line: phrase (use: words)`."""
    found = []
    for line, text in _texts(path):
        flat = " ".join(text.split())
        for pattern, instead in PATTERNS.items():
            for match in pattern.finditer(flat):
                shown = flat[max(0, match.start() - 30) : match.end() + 30]
                found.append(f'{path}:{line}: "{match[0]}" in "{shown}" (use: {instead})')
    if path.endswith(".py"):
        source = (ROOT / path).read_text(encoding="utf-8")
        for line, first in _first_lines(source):
            if OPENERS.search(first):
                found.append(f'{path}:{line}: docstring opens with "{first}" (use: a noun phrase)')
    return found


@pytest.mark.parametrize("path", [path for path in _files() if path not in EXEMPT])
def test_plain_english(path: str) -> None:
    assert banned_phrases(path) == []


@pytest.mark.parametrize("phrase", ["it goes on", "label that the task has not", "so many lines"])
def test_a_banned_phrase_is_found(phrase: str) -> None:
    assert any(pattern.search(phrase) for pattern in PATTERNS)


@pytest.mark.parametrize("phrase", ["there is no such file", "has not been read", "stands for"])
def test_standard_english_is_not(phrase: str) -> None:
    assert not any(pattern.search(phrase) for pattern in PATTERNS)


if __name__ == "__main__":  # python tests/test_wording.py PATH ...
    import sys

    for name in sys.argv[1:]:
        for file in sorted(Path(name).rglob("*.*")) if Path(name).is_dir() else [Path(name)]:
            if file.suffix in (".py", ".yaml", ".md", ".sh"):
                print(*banned_phrases(str(file.resolve().relative_to(ROOT))), sep="\n", end="")
