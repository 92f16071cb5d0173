"""Items of a JSON array one after the other: in memory is one item, not the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from core.errors import InvalidInput, TooLarge
from indexer.plain_values import MAX_ROW_CHARACTERS, WrittenNaN

BLOCK_CHARACTERS = 1 << 20
MAX_ITEM_CHARACTERS = 2 * MAX_ROW_CHARACTERS  # beyond it the end of the item is not looked for
LONGEST_TOKEN = 16  # a literal or an escape, cut by the end of what was read so far


def _constant(name: str) -> float:
    return WrittenNaN(name) if name == "NaN" else float(name)


DECODER = json.JSONDecoder(parse_constant=_constant)


def json_items(blocks: Iterator[str]) -> Iterator[Any]:
    """Items of the array at the top, or of the array "documents" of the object at the top.

    `blocks` are the file's text, cut anywhere. Raises InvalidInput, when its place is reached, for what is no
    JSON or no such array, TooLarge for an item over 16 Mi characters.
    """
    window = _Window(blocks)
    if window.take("["):
        yield from _array(window)
    elif window.take("{"):
        yield from _documents(window)
    else:
        raise _no_array(window.value())
    if window.peek():
        raise window.invalid("more follows after the end")


def kind_of(value: object) -> str:
    """What JSON calls a value."""
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _array(window: _Window) -> Iterator[Any]:
    if window.take("]"):
        return
    while True:
        yield window.value()
        if window.take("]"):
            return
        window.require(",")


def _documents(window: _Window) -> Iterator[Any]:
    has_documents = False
    is_over = window.take("}")
    while not is_over:
        key = window.value()
        window.require(":")
        if key != "documents":
            window.value()
        elif window.take("["):
            if has_documents:  # the first were given out already; the second must not be lost
                raise InvalidInput('The file holds "documents" twice; expected one array of them')
            has_documents = True
            yield from _array(window)
        else:
            raise InvalidInput(
                f'Found {kind_of(window.value())} as "documents"; expected an array of objects'
            )
        is_over = window.take("}")
        if not is_over:
            window.require(",")
    if not has_documents:
        raise _no_array({})


def _no_array(found: object) -> InvalidInput:
    return InvalidInput(
        f'Found {kind_of(found)} at the top; expected an array of objects, or {{"documents": [...]}}'
    )


class _Window:
    """The part of the text from the present place on, as far as it was read."""

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._text, self._at = "", 0
        self._passed = 0  # characters before the window

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\n\r":
                    return self._text[self._at]
                self._at += 1
            if not self._read_on():
                return ""

    def take(self, mark: str) -> bool:
        """Whether `mark` came next; it is passed over."""
        if self.peek() != mark:
            return False
        self._at += 1
        return True

    def require(self, mark: str) -> None:
        if not self.take(mark):
            raise self.invalid(f"expected {mark!r}")

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_cut(error) or not self._read_on():
                    raise self.invalid(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:  # a number of very many digits, or very deep
                raise self.invalid(str(error)) from None
            else:
                # A number may go on in the next block: read so far, "0.", "1e" and "1e-" are 0, 1 and 1.
                if end + LONGEST_TOKEN < len(self._text) or not self._read_on():
                    self._at = end
                    return value

    def invalid(self, problem: str, at: int | None = None) -> InvalidInput:
        place = self._passed + (self._at if at is None else at)
        return InvalidInput(
            f"The file is no valid JSON: {problem} at character {place:,}. Is it one object a line (.jsonl)?"
        )

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the value may be fine once more of it was read."""
        return error.msg.startswith("Unterminated string") or error.pos + LONGEST_TOKEN >= len(self._text)

    def _read_on(self) -> bool:
        """False at the end of the file; else the window holds twice as much, from the present place on."""
        rest = self._text[self._at :]
        if len(rest) > MAX_ITEM_CHARACTERS:
            raise TooLarge(
                f"An item at character {self._passed + self._at:,} is longer than {MAX_ITEM_CHARACTERS:,}"
                " characters; split its text"
            )
        added: list[str] = []
        while sum(map(len, added)) < max(BLOCK_CHARACTERS, len(rest)) and (block := next(self._blocks, "")):
            added.append(block)
        if not added:
            return False
        self._passed += self._at
        self._text, self._at = rest + "".join(added), 0
        return True
