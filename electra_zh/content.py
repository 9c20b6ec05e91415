"""The form, the compression and the encoding of a file, from its first bytes.

The content decides what a file is, never the suffix of its name. `HEAD_BYTES` are enough to know.
"""

from __future__ import annotations

import codecs
import json
import re
import shlex

HEAD_BYTES = 1 << 16

# Forms. No command reads XML; BINARY is everything that is not text.
TEXT, JSON_LINES, JSON, WIKIEXTRACTOR = "text", "jsonl", "json", "wikiextractor"
PARQUET, ARROW = "parquet", "arrow"
COLUMNAR = (PARQUET, ARROW)  # of tables, binary
XML, BINARY, EMPTY = "xml", "binary", "empty"
NAMES = {
    TEXT: "text",
    JSON_LINES: "JSON lines",
    JSON: "JSON",
    WIKIEXTRACTOR: "WikiExtractor",
    PARQUET: "Parquet",
    ARROW: "Arrow",
    XML: "XML or HTML",
    BINARY: "binary",
    EMPTY: "empty",
}

_MAGIC = {"gz": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\0", "zst": b"\x28\xb5\x2f\xfd", "bz2": b"BZh"}
# Of an Arrow file and an Arrow stream.
_COLUMNAR_MAGIC = {b"PAR1": PARQUET, b"ARROW1": ARROW, b"\xff\xff\xff\xff": ARROW}
# Formats that may begin with bytes that are text.
_BINARY = (b"%PDF", b"PK\x03\x04", b"Rar!", b"7z\xbc\xaf", b"{\\rtf")
_BOMS = {  # in this order: the mark of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_CANDIDATES = ("GB18030", "Big5", "UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE")
_CODECS = {"Big5": "big5hkscs"}
# Without 1 to 3 and 28 to 31, which separate fields in tables of ERNIE, Hive and others.
_CONTROL = re.compile("[\0\x04-\x08\x0e-\x1a]")
_NON_ASCII = re.compile("[^\0-\x7f]")
# The most frequent characters of Chinese text, with the traditional forms, and punctuation.
_FREQUENT = frozenset(
    "，。、：；？！（）《》“”‘’「」『』—…·　　"
    "的一是不了在人有我他这们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后"
    "作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但"
    "因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物"
    "手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海"
    "通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结"
    "反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非"
    "则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共"
    "确传师观清今切院让识候带导争运這個們來為國說時會對於著過發後種經麼學現當沒動還進樣開從實軍無與"
    "長機關點業將兩間問並應戰頭體見產話內給門員聲論處義認條係氣題爾別變總電數報結務場計資許統區隊決"
    "馬書則聽卻達強難權設記類據邊張該規萬覺術領確傳師觀識帶導爭運"
)
# Fractions of the characters beyond ASCII that are among them: prose has over a half, tables and
# titles have less, and text in a wrong encoding has hardly any.
_LEAST_FREQUENT = 0.15

_LINES = 20
_OBJECT_START = re.compile(r'\{\s*(?:\}|"(?:[^"\\\n]|\\.)*"\s*:)')
# An array with an object or an array in it, perhaps after plain values.
_ITEMS_START = re.compile(
    r"\[\s*(?:(?:null|true|false|-?\d[\d.eE+-]*)\s*,\s*)*"
    r"(?:\{\s*(?:\}|\"(?:[^\"\\\n]|\\.)*\"\s*:)|\[\s*[\[{\"])"
)
_STRINGS_START = re.compile(r'\[\s*"(?:[^"\\\n]|\\.)*"\s*[,\]]')
_DOC = re.compile(r"<doc(?:\s[^\n]*)?>\s*\n(?!\s*<(?!/doc>))")
# Between documents, in a file that begins inside of one.
_DOC_LINE = re.compile(r'^<doc id="[^\n]*" url="[^\n]*>\s*$', re.MULTILINE)
_XML = re.compile(r"<(?:\?xml|!doctype|html|mediawiki|doc)\b", re.IGNORECASE)


def compression(head: bytes) -> str:
    """Returns gz, xz, zst or bz2, from the first bytes as stored; empty if not compressed."""
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


def recognize(head: bytes) -> str:
    """Returns the form of a file, from its first bytes after decompression.

    `text` is all other text, tables too. `json` is one value, or several with white space between
    them, over any number of lines: an array of objects or of strings, an object.
    """
    if not head.strip():
        return EMPTY
    for magic, form in _COLUMNAR_MAGIC.items():
        if head.startswith(magic):
            return form
    known = encoding(head)
    if head.startswith(_BINARY) or b"ustar" in head[257:263]:
        return BINARY
    text = _decode(head, known or "UTF-8").removeprefix("\ufeff").lstrip()
    if not text:
        return EMPTY
    if _is_binary(text):
        return BINARY
    if text.startswith(("{", "[")):
        form = _form_of_object(text) if text[0] == "{" else _form_of_array(text)
        return form if form != TEXT else _form_of_rest(text)
    if _DOC.match(text):
        return WIKIEXTRACTOR
    return XML if _XML.match(text) else _form_of_rest(text)


def _is_binary(text: str) -> bool:
    """Returns whether decoded bytes have characters that text does not have."""
    return len(_CONTROL.findall(text)) > max(2, len(text) // 100)


def _form_of_object(text: str) -> str:
    if not _OBJECT_START.match(text):
        return TEXT
    # The first line may not end within the head.
    if "\n" not in text:
        return JSON_LINES
    lines = [line for line in text.split("\n")[:_LINES] if line.strip()]
    parsed = sum(map(_is_object, lines))
    alike = sum(line.lstrip().startswith("{") for line in lines)
    if parsed:
        return JSON_LINES if 2 * alike > len(lines) else TEXT
    return JSON if _begins_value(lines[0]) else TEXT


def _form_of_rest(text: str) -> str:
    """Returns the form of a file that begins with a title, or inside a record."""
    if _DOC_LINE.search(text):
        return WIKIEXTRACTOR
    # The last of these lines may be cut.
    lines = [line for line in text.split("\n")[1:-1][:_LINES] if line.strip()]
    return JSON_LINES if 2 * sum(map(_is_object, lines)) > len(lines) else TEXT


def _form_of_array(text: str) -> str:
    if _ITEMS_START.match(text) or _STRINGS_START.match(text):
        return JSON
    return JSON if re.fullmatch(r"\[\s*\]\s*", text) else TEXT


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _begins_value(line: str) -> bool:
    """Returns whether a line is the beginning of a JSON value, or a value and more.

    A comma or an object may be after the value.
    """
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        rest = line[error.pos :].strip()
        if error.msg == "Extra data":
            return rest == "," or rest.lstrip(", ").startswith("{")
        return not rest or error.msg.startswith("Expecting property name")
    except RecursionError:
        pass
    return False


def encoding(head: bytes) -> str:
    """Returns the name for iconv of a text's encoding; empty for UTF-8 and for unknown ones."""
    for mark, name in _BOMS.items():
        if head.startswith(mark) and _decode(head, name):
            return name
    if _is_mostly_utf8(head):
        return ""
    found = {name: _likeness(head, name) for name in _CANDIDATES}
    best = max(found, key=found.__getitem__)
    return best if found[best] >= _LEAST_FREQUENT else ""


def _is_mostly_utf8(head: bytes) -> bool:
    """Returns whether most lines with bytes beyond ASCII are UTF-8, and text has no NULs."""
    if head.count(b"\0") > len(head) // 8:
        return False
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    # The last one may end inside a character.
    good = sum(not _decode(line, "UTF-8").count("\ufffd") for line in lines)
    return 2 * good >= len(lines)


def _likeness(head: bytes, name: str) -> float:
    """Returns the fraction of frequent characters among those beyond ASCII, in an encoding."""
    text = _decode(head, name)
    others = _NON_ASCII.findall(text)
    if _CONTROL.search(text) or text.count("\ufffd") > len(text) // 100:
        return 0.0
    if not others:  # ASCII in two or four bytes per character
        return float(b"\0" in head and len(text) > 1)
    return sum(each in _FREQUENT for each in others) / len(others)


def _decode(data: bytes, name: str) -> str:
    """Returns bytes as text; a last character that is cut is skipped."""
    decoder = codecs.getincrementaldecoder(_CODECS.get(name, name))("replace")
    return decoder.decode(data)


def not_utf8(path: str, head: bytes) -> str:
    """Returns a sentence for a text that is not UTF-8: what it looks like, and how to convert it.

    `head` is the first bytes of the text, or those of the lines that are not UTF-8.
    """
    if packed := compression(head):
        return f"it is compressed ({packed}); unpack it"
    name = encoding(head)
    if not name:
        return "convert it to UTF-8"
    return f"it looks like {name}; convert it: iconv -f {name} -t UTF-8 {shlex.quote(path)} > NEW"
