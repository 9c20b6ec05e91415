"""Values of JSON text, from a stream: arrays of any length take the memory of one value.

The text is one value or several, each over any number of lines. The items of an array at the top
are values like those outside of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from electra_zh.errors import UserError

_MAX_VALUE_CHARACTERS = 64 << 20
# An error this near to the end of the text may be due to a value that continues.
_NEAR_END = 12
_SPACE = " \t\r\n"


class JsonValue(NamedTuple):
    """A value, the line, from 0, in which it begins, and its text."""

    value: Any
    line: int
    text: str


class JsonStream:
    """Reads JSON values from parts of a text; `origin` names it in messages."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._line = self._counted = 0  # the line of the character `_counted` of `_text`
        self._in_array = False
        self._least = 0  # characters to have before the next try

    def feed(self, text: str, *, is_last: bool = False) -> Iterator[JsonValue]:
        """Yields the values that end in the text so far.

        Raises:
          UserError: it is not JSON, or, with `is_last`, it ends inside a value or an array.
        """
        self._text += text
        if len(self._text) < self._least and not is_last:
            return
        place = self._counted = 0
        while (place := self._skip(place)) < len(self._text):
            found = self._read(place, is_last=is_last)
            if found is None:
                break
            self._line, self._counted = self._line_at(place), place
            value, end = found
            yield JsonValue(value, self._line, self._text[place:end])
            place = end
        # Dropping the text of each value at once would copy the rest of it each time.
        self._line = self._line_at(place)
        self._text = self._text[place:]
        # A long value is tried again only when there is twice as much of it.
        self._least = 2 * len(self._text)
        if is_last and self._in_array:
            raise UserError(f"{self._origin} is damaged: it ends inside a JSON array")

    def _skip(self, place: int) -> int:
        """Returns the position of the next value; notes the begin and the end of an array."""
        text = self._text
        while place < len(text):
            char = text[place]
            if char == "[" and not self._in_array:
                self._in_array = True
            elif char == "]" and self._in_array:
                self._in_array = False
            elif char not in _SPACE and char != ",":
                return place
            place += 1
        return place

    def _read(self, place: int, *, is_last: bool) -> tuple[Any, int] | None:
        """Returns a value and its end; None if it may continue after the text so far."""
        text = self._text
        try:
            value, end = self._decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            is_cut = error.pos >= len(text) - _NEAR_END or error.msg.startswith("Unterminated")
            if is_cut and not is_last and len(text) - place <= _MAX_VALUE_CHARACTERS:
                return None
            line = self._line_at(error.pos) + 1
            raise UserError(f"{self._origin}:{line}: not valid JSON: {error.msg}") from None
        except RecursionError:
            line = self._line_at(place) + 1
            raise UserError(f"{self._origin}:{line}: JSON nested too deeply") from None
        # A number or a word at the end may continue.
        may_continue = end == len(text) and text[place] not in '{["'
        return None if may_continue and not is_last else (value, end)

    def _line_at(self, place: int) -> int:
        """Returns the line of a character of the text so far."""
        return self._line + self._text.count("\n", self._counted, place)


def head_records(head: str) -> list[Mapping[str, Any]]:
    """Returns the JSON objects that are complete in the first characters of a file."""
    found: list[Mapping[str, Any]] = []
    try:
        for value, _, _ in JsonStream("").feed(head):
            found += [value] if isinstance(value, dict) else []
    except UserError:
        pass
    return found
