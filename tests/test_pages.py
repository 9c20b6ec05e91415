"""Reading the commands and the file map of pages."""

from __future__ import annotations

import re

import pytest

from support.pages import (
    RECORD,
    ROOT,
    PageError,
    mapped_files,
    pages,
    read_blocks,
    read_commands,
    translations,
    unmapped_files,
)


def _words(text: str) -> list[str]:
    return [" ".join(command.words) for command in read_commands(text, "page.md")]


def test_commands_of_both_kinds_of_blocks() -> None:
    text = """
```sh
# to transformers
electra-zh convert run --to huggingface --output hf   # a comment
```
```console
$ electra-zh pretrain --data data \\
      --output run
03:42:47 New run
$ electra-zh inspect data
```
"""
    assert _words(text) == [
        "convert run --to huggingface --output hf",
        "pretrain --data data --output run",
        "inspect data",
    ]


def test_three_dots_are_the_last_command_of_the_name() -> None:
    text = """
```sh
electra-zh finetune --model run --task clue
electra-zh finetune ... --trials 10
electra-zh finetune ... --task afqmc --joint
```
"""
    assert _words(text)[1:] == [
        "finetune --model run --task clue --trials 10",
        "finetune --model run --task afqmc --joint",
    ]


def test_marked_commands_are_not_run() -> None:
    text = """
<!-- not run: installs the package -->
```sh
pip install electra-zh
```

```sh
dask scheduler    # not run: on another machine
```
"""
    assert _words(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "```sh\npip install electra-zh\n```",
        "```sh\nelectra-zh inspect data | head\n```",
        "```\nelectra-zh inspect data\n```",
        "    electra-zh inspect data",
        "```sh\nelectra-zh finetune ... --trials 10\n```",
        "<!-- not run: -->\n```sh\nmake demo\n```",
    ],
)
def test_an_unmarked_block_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(PageError, match=r"page\.md:[0-9]"):
        _words(text)


def test_a_missing_path_of_the_file_map_is_found() -> None:
    with pytest.raises(PageError, match=r"nothing\.py"):
        mapped_files("## File map\n```\nelectra_zh/\n  nothing.py    nothing\n```\n")


def test_a_module_that_the_file_map_omits_is_found() -> None:
    found, listed = mapped_files("## File map\n```\nelectra_zh/\n  cli.py    parsing\n```\n")
    assert "electra_zh/files.py" in unmapped_files(found, listed)
    assert "electra_zh/cli.py" not in unmapped_files(found, listed)


CHINESE = [chinese for _, chinese in translations() if (ROOT / chinese).exists()]


@pytest.mark.parametrize("page", [*pages(), *CHINESE, RECORD, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_and_sections_exist(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for path, section in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {path}"
        if section:
            assert section in _anchors(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [*pages(), *CHINESE, "CONTRIBUTING.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    names = re.findall(r"`((?:configs|docs|electra_zh|scripts|tests)/[\w./-]*)`", text)
    assert [name for name in names if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("english", "chinese"), translations())
def test_both_languages_have_the_same_headings_and_code_blocks(english: str, chinese: str) -> None:
    first, second = ((ROOT / page).read_text(encoding="utf-8") for page in (english, chinese))
    assert _code(second, chinese) == _code(first, english)
    assert _heading_levels(second) == _heading_levels(first)


@pytest.mark.parametrize(("english", "chinese"), translations())
def test_both_languages_have_the_same_rows_and_items(english: str, chinese: str) -> None:
    first, second = ((ROOT / page).read_text(encoding="utf-8") for page in (english, chinese))
    assert _rows_and_items(second) == _rows_and_items(first)


def test_chinese_pages_have_english_counterparts() -> None:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "docs/zh").glob("*.md")}
    assert found <= {chinese for _, chinese in translations()}


def test_a_page_links_to_its_own_language() -> None:
    for page in CHINESE[1:]:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert re.findall(r"\]\(\.\./en/[^)]*\)", text)[1:] == [], page


def _code(text: str, page: str) -> list[tuple[str, list[str]]]:
    """Returns the language and the lines of each block, without comments."""
    return [
        (block.language, [re.sub(r"\s*(^|\s)#.*", "", line) for line in block.lines])
        for block in read_blocks(text, page)
    ]


def _heading_levels(text: str) -> list[int]:
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


def _rows_and_items(text: str) -> list[str]:
    """Returns the marks of the headings, table rows and list items."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.findall(r"^ *(#|\||- |[0-9]\. )", text, re.MULTILINE)


def _anchors(text: str) -> list[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles]
