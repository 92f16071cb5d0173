"""When a text is over, and what of its tokens is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.generation_types import FinishReason


@dataclass(frozen=True, slots=True)
class Ending:
    """A text ends with one of `end_tokens`, at the first of the texts `stops`, or after `max_tokens` tokens.

    `decode` gives the text of tokens, which may begin or end with white space.
    """

    end_tokens: frozenset[int]
    max_tokens: int
    decode: Callable[[Sequence[int]], str]
    stops: tuple[str, ...] = ()

    def reason(self, tokens: Sequence[int]) -> FinishReason | None:
        """Why `tokens`, of which all but the last did not end, are over; None if they go on."""
        if tokens[-1] in self.end_tokens:
            return FinishReason.STOP
        if self.stops and _first(self.decode(tokens), self.stops) is not None:
            return FinishReason.STOP
        return FinishReason.LENGTH if len(tokens) >= self.max_tokens else None

    def text(self, tokens: Sequence[int]) -> str:
        """What is shown of `tokens`: no stop text and nothing after it, no white space around."""
        return self.cut(self.decode(self._without_end(tokens))).strip()

    def cut(self, text: str) -> str:
        """`text` up to the first stop text."""
        return text[: _first(text, self.stops)]

    def open_tail(self, text: str) -> int:
        """How many characters at the end of `text` may change their meaning or go: the beginning of a stop
        text, half a character of UTF-8 (decoded as U+FFFD), white space."""
        for tail in range(min(len(text), max(map(len, self.stops), default=0)), 0, -1):
            if any(stop.startswith(text[-tail:]) for stop in self.stops):
                return tail + _unsure(text[:-tail])
        return _unsure(text)

    def _without_end(self, tokens: Sequence[int]) -> Sequence[int]:
        return tokens[:-1] if tokens and tokens[-1] in self.end_tokens else tokens


def _first(text: str, stops: Sequence[str]) -> int | None:
    """Where the first stop text begins."""
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(found, default=None)


def _unsure(text: str) -> int:
    """How many of the last characters are white space, or the sign for what is no character (yet)."""
    sure = len(text)
    while sure and (text[sure - 1].isspace() or text[sure - 1] == "\ufffd"):
        sure -= 1
    return len(text) - sure
