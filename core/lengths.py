"""Whether an encoder reads all of a text."""

from __future__ import annotations

from collections.abc import Sequence

from core.ports.models import Encoder

_SPECIAL_TOKENS = 2  # around every text
_LETTERS_A_TOKEN = 0.25  # at least; one letter can become a few tokens, but not a whole text of them


def truncated(encoder: Encoder, texts: Sequence[str]) -> list[bool]:
    """For each text, whether it has more tokens than the encoder reads, so that its end does not count."""
    room = encoder.info.max_tokens - _SPECIAL_TOKENS
    return [
        len(text) > room * _LETTERS_A_TOKEN and len(encoder.token_spans([text])[0]) > room for text in texts
    ]
