"""Texts as tokens, with their places in the text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.types import Float32, Int32, PassageText


@dataclass(frozen=True, slots=True, eq=False)
class TokenizedPassage:
    """A passage and its token ids (t,) as an encoder reads them, special tokens included, not truncated."""

    passage: PassageText
    token_ids: Int32


class TokenField(StrEnum):
    """Where a token of an encoded input comes from."""

    TITLE = "title"
    TEXT = "text"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its character offsets [start, end) in the title or text; 0, 0 for special ones."""

    text: str
    field: TokenField
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TokenParts:
    """An embedding as a sum over tokens: `vectors` (t, d) float32 add up to the unit vector.

    `words` numbers the word of each token; special tokens have a number of their own. `is_truncated`: the
    end of the title or of the text was not read, and has no tokens.
    """

    tokens: tuple[Token, ...]
    words: tuple[int, ...]
    vectors: Float32
    is_truncated: bool
