"""The commands and the file map of the documentation's pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# docs/results.md records commands as they were run when the figures were taken.
RECORD = "docs/results.md"
FILE_MAP = "docs/architecture.md"

_TOP = ("benchmarks/", "configs/", "docs/", "electra_zh/", "scripts/", "tests/")
_FENCE = re.compile(r"^```(\S*)\s*$")
_BLOCK_MARK = re.compile(r"^<!-- not run: \S.* -->$")
_LINE_MARK = re.compile(r"#.* ?not run: \S")
_OPERATORS = {"|", "||", "&", "&&", ";", ">", ">>", "<"}
_PATH = re.compile(r"[\w*.-]*\w(?:/|\.py|\.sh)(?![\w/])")


class PageError(Exception):
    """A block of a page whose commands are not understood."""


class PageCommand(NamedTuple):
    """A command of a page.

    Attributes:
      place: page and line.
      words: the words after `electra-zh`, `...` replaced.
    """

    place: str
    words: tuple[str, ...]


class Block(NamedTuple):
    """A fenced block: the line before it, its language, the number of its first line, its lines."""

    before: str
    language: str
    first: int
    lines: list[str]


def pages() -> list[str]:
    """Returns the English pages, whose commands are run, relative to the root."""
    docs = [ROOT / "docs", ROOT / "docs/en"]
    found = sorted(str(path.relative_to(ROOT)) for each in docs for path in each.glob("*.md"))
    return ["README.md", *(page for page in found if page != RECORD)]


def translations() -> list[tuple[str, str]]:
    """Returns the English pages and their Chinese counterparts, relative to the root."""
    names = sorted(path.name for path in (ROOT / "docs/en").glob("*.md"))
    return [("README.md", "README_ZH.md"), *((f"docs/en/{n}", f"docs/zh/{n}") for n in names)]


def read_blocks(text: str, page: str) -> Iterator[Block]:
    """Yields the fenced blocks of a page.

    Raises:
      PageError: a command in an indented block, which has no language.
    """
    before, block = "", None
    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if block is not None and fence:
            yield block
            before, block = "", None
        elif block is not None:
            block.lines.append(line)
        elif fence:
            block = Block(before, fence[1], number + 1, [])
        else:
            before = line.strip() or before
            if re.match(r"^(\t| {4,})\$? ?electra-zh ", line):
                raise PageError(f"{page}:{number}: a command outside a fenced block")


def read_commands(text: str, page: str) -> Iterator[PageCommand]:
    """Yields the commands of a page that are not marked as not run.

    Raises:
      PageError: an unmarked block with something else than `electra-zh` commands.
    """
    last: dict[str, Sequence[str]] = {}
    for block in read_blocks(text, page):
        if _BLOCK_MARK.match(block.before):
            continue
        for number, line in _command_lines(block, page):
            place = f"{page}:{number}"
            if _LINE_MARK.search(line):
                continue
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[0] != "electra-zh" or len(words) < 2 or _OPERATORS.intersection(words):
                raise PageError(f"{place}: not an electra-zh command: mark it `not run: REASON`")
            if words[2:3] == ["..."]:
                if words[1] not in last:
                    raise PageError(f"{place}: no complete command before `...`")
                words = [*words[:2], *_override(last[words[1]], words[3:])]
            else:
                last[words[1]] = words[2:]
            yield PageCommand(place, tuple(words[1:]))


def read_marked_commands(text: str, page: str) -> Iterator[PageCommand]:
    """Yields the `electra-zh` commands of blocks that are marked as not run, up to a pipe."""
    for block in read_blocks(text, page):
        for number, line in _command_lines(block, page) if _BLOCK_MARK.match(block.before) else ():
            words = shlex.split(line, comments=True)
            end = next((at for at, word in enumerate(words) if word in _OPERATORS), len(words))
            if words[:1] == ["electra-zh"]:
                yield PageCommand(f"{page}:{number}", tuple(words[1:end]))


def _command_lines(block: Block, page: str) -> Iterator[tuple[int, str]]:
    """Yields the commands of a block with their line numbers; continuation lines are joined."""
    if block.language not in ("sh", "console"):
        for number, line in enumerate(block.lines, block.first):
            if line.strip().removeprefix("$ ").startswith("electra-zh "):
                raise PageError(f"{page}:{number}: a command in a block that is not sh or console")
        return
    lines = iter(enumerate(block.lines, block.first))
    for number, line in lines:
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line[2:]
        while line.endswith("\\"):
            line = line[:-1] + next(lines)[1]
        yield number, line


def _override(words: Sequence[str], later: Sequence[str]) -> list[str]:
    """Returns the words, with the flags that are given again in `later` replaced."""
    kept = list(words)
    for flag in later:
        if flag.startswith("--") and flag in kept:
            at = kept.index(flag)
            del kept[at : at + 2]
    return [*kept, *later]


def mapped_files(page: str) -> tuple[set[str], set[str]]:
    """Returns the paths of the file map, and its folders whose entries are listed.

    Raises:
      PageError: a path that does not exist.
    """
    text = page.split("## File map", 1)[1]
    block = next(read_blocks(text, FILE_MAP))
    found: set[str] = set()
    listed: set[str] = set()
    parents = [""]
    for line in block.lines:
        depth = (len(line) - len(line.lstrip())) // 2
        parent = parents[depth]
        names = _PATH.findall(line)
        folder = f"{parent}{names[0]}"
        for name in names:
            inside = folder if folder.endswith("/") else parent
            places = [f"{place}{name}" for place in (parent, inside) if _exists(f"{place}{name}")]
            if not places:
                raise PageError(f"{FILE_MAP}: {name} of the file map does not exist in {parent}")
            found.add(places[0])
        if depth:
            listed.add(parent)
        parents[depth + 1 :] = [folder]
    return found, listed


def _exists(path: str) -> bool:
    return any(True for _ in ROOT.glob(path.rstrip("/")))


def unmapped_files(found: set[str], listed: set[str]) -> list[str]:
    """Returns the top folders, and the entries of listed folders, that are missing from the map."""
    existing = set(_TOP)
    for folder in listed:
        for path in (ROOT / folder).iterdir():
            if path.is_dir() and path.name != "__pycache__":
                existing.add(f"{folder}{path.name}/")
            elif path.suffix == ".py" and not path.name.startswith("__"):
                existing.add(f"{folder}{path.name}")
    return sorted(existing - found)
