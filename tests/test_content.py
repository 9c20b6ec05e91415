"""The form, the compression and the encoding of a file are recognized by its first bytes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable

import pytest
import zstandard

from electra_zh import content

PROSE = "这是一个关于数学的故事，我们在这里说的是他和她的生活。\n第二行也是文本，没有什么特别的。\n"
TRADITIONAL = "這是一個關於數學的故事，我們在這裡說的是他和她的生活。\n他們都說，這個世界很大。\n"
RECORD = {"title": "数学", "text": "数学是研究数量的科学。\n第二行"}
LINE = json.dumps(RECORD, ensure_ascii=False)


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (PROSE, content.TEXT),
        ("\ufeff" + PROSE, content.TEXT),
        ("{{Infobox}}\n" + PROSE, content.TEXT),
        ("{不是JSON}\n", content.TEXT),
        ("[1] 参考文献\n" + PROSE, content.TEXT),
        ("[图] 说明\n", content.TEXT),
        ('["引号"的文本\n', content.TEXT),
        ('{"a": 1}\n' + 3 * PROSE, content.TEXT),
        ('{"a": 1}\n正文', content.TEXT),
        ("<docker> 是一个词\n", content.TEXT),
        ("id\ttext\n1\t文本\n", content.TEXT),
        ("text_a\tlabel\n" + "王\x02五\tB-PER\x02I-PER\n" * 9, content.TEXT),
        (LINE, content.JSON_LINES),
        (f"\ufeff\n\n{LINE}\r\n{LINE}\r\n", content.JSON_LINES),
        (f"{LINE}\n{LINE[:20]}", content.JSON_LINES),
        (LINE[:20], content.JSON_LINES),
        (f"{LINE}\n{{坏\n{LINE}\n", content.JSON_LINES),
        (3 * f"{LINE},\n", content.JSON),
        (f"{LINE}{LINE}\n{LINE}\n\n", content.JSON_LINES),
        (2 * f"{LINE}{LINE}\n", content.JSON),
        ('[["甲", 0], ["乙", 1]]', content.JSON),
        (json.dumps([RECORD, RECORD]), content.JSON),
        (json.dumps([RECORD] * 3, indent=1, ensure_ascii=False), content.JSON),
        (json.dumps(RECORD, indent=4), content.JSON),
        ("[\n" + ",\n".join([LINE] * 3) + "\n]", content.JSON),
        (f"{LINE[-5:]}\n{LINE}\n{LINE}\n{LINE[:9]}", content.JSON_LINES),
        (f"# 导出\n{LINE}\n\n{LINE}\n", content.JSON_LINES),
        (f"例子\n{LINE}\n{PROSE}", content.TEXT),
        (json.dumps(["一", "二"]), content.JSON),
        (json.dumps([["一", "二"]], indent=1), content.JSON),
        (json.dumps([None, -1.5, RECORD]), content.JSON),
        ("[[链接]] 说明\n", content.TEXT),
        ("[]\n", content.JSON),
        ('<doc id="13" url="u" title="数学">\n数学\n\n正文。\n</doc>\n', content.WIKIEXTRACTOR),
        ("<doc>\n正文。\n</doc>\n", content.WIKIEXTRACTOR),
        ('尾。\n</doc>\n<doc id="1" url="u" title="数">\n数\n', content.WIKIEXTRACTOR),
        ("<doc>\n<url>http://a</url>\n<content>正文</content>\n", content.XML),
        ('<?xml version="1.0"?>\n<a/>', content.XML),
        ("<!DOCTYPE html>\n<html>", content.XML),
        ("<mediawiki xmlns=''>\n", content.XML),
        ("", content.EMPTY),
        ("\ufeff \n", content.EMPTY),
    ],
)
def test_the_form_is_recognized(head: str, form: str) -> None:
    assert content.recognize(head.encode()) == form


@pytest.mark.parametrize("coding", ["gb18030", "utf-16", "utf-16-be", "utf-32"])
def test_the_form_is_recognized_in_other_encodings(coding: str) -> None:
    assert content.recognize(f"{LINE}\n{LINE}\n".encode(coding)) == content.JSON_LINES
    assert content.recognize(PROSE.encode(coding)) == content.TEXT


def test_a_character_that_is_cut_is_still_text() -> None:
    data = (PROSE * 2000).encode()[: content.HEAD_BYTES + 1]
    assert content.recognize(data[: content.HEAD_BYTES]) == content.TEXT
    assert content.encoding(data[: content.HEAD_BYTES]) == ""


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
        b"PK\x03\x04" + b"text",
        b"%PDF-1.4\n",
        b"name".ljust(257, b"\0") + b"ustar\0" + bytes(249),
        bytes(range(128, 256)) * 10 + bytes(20),
        bytes(200),
    ],
)
def test_binary_files_are_recognized(head: bytes) -> None:
    assert content.recognize(head) == content.BINARY


def test_tables_are_recognized() -> None:
    assert content.recognize(b"PAR1" + bytes(100)) == content.PARQUET
    assert content.recognize(b"ARROW1" + bytes(100)) == content.ARROW
    assert content.recognize(b"\xff\xff\xff\xff" + bytes(100)) == content.ARROW


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (gzip.compress, "gz"),
        (lzma.compress, "xz"),
        (bz2.compress, "bz2"),
        (lambda data: zstandard.ZstdCompressor().compress(data), "zst"),
        (lambda data: data, ""),
    ],
)
def test_the_compression_is_recognized(pack: Callable[[bytes], bytes], name: str) -> None:
    assert content.compression(pack(PROSE.encode())) == name


@pytest.mark.parametrize(
    ("text", "coding", "name"),
    [
        (PROSE, "gb18030", "GB18030"),
        (PROSE, "gbk", "GB18030"),
        (TRADITIONAL, "big5", "Big5"),
        (PROSE, "utf-16", "UTF-16"),
        (PROSE, "utf-16-le", "UTF-16LE"),
        (PROSE, "utf-16-be", "UTF-16BE"),
        ("text,label\nplain,1\n", "utf-16-le", "UTF-16LE"),
        (PROSE, "utf-32", "UTF-32"),
        (PROSE, "utf-32-be", "UTF-32BE"),
        (PROSE, "utf-8", ""),
        (PROSE, "utf-8-sig", ""),
        ("café élève à la carte, très bien\n", "latin-1", ""),
        ("한국어 문장은 여기에 있습니다. 그리고 더 있습니다.\n", "euc-kr", ""),
    ],
)
def test_the_encoding_is_named(text: str, coding: str, name: str) -> None:
    assert content.encoding(text.encode(coding)) == name


def test_a_few_lines_in_another_encoding_do_not_make_the_file_one() -> None:
    data = PROSE.encode() * 3 + PROSE.encode("gbk")
    assert content.encoding(data) == ""


def test_the_command_that_converts_is_in_the_message() -> None:
    message = content.not_utf8("旧 文件.txt", PROSE.encode("gbk"))
    assert "looks like GB18030" in message
    assert "iconv -f GB18030 -t UTF-8 '旧 文件.txt' > NEW" in message
    assert content.not_utf8("a.txt", b"\xff\xff") == "convert it to UTF-8"
