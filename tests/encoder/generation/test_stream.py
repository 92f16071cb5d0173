"""Streams: pieces that add up to the text, and never show what is still open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.generation_types import FinishReason, GenerationOptions
from core.types import Float32, Int32, Int64
from encoder.generation.ending import Ending
from encoder.generation.search import generate, stream
from tests.encoder.generation.fakes import RandomModel, ending, options

END = 256


class Bytes:
    """A model that says given bytes, one a token, then ends."""

    vocab_size = 257

    def __init__(self, said: bytes) -> None:
        self._said = [*said, END]

    def step(self, tokens: Int32) -> Float32:
        log_probs = np.full((1, self.vocab_size), -9.0, np.float32)
        log_probs[0, self._said.pop(0)] = -0.1
        return log_probs

    def reorder(self, rows: Int64) -> None:
        raise AssertionError("one row has no order")


def text_of(tokens: Sequence[int]) -> str:
    return bytes(token for token in tokens if token != END).decode("utf-8", "replace")


def pieces(said: bytes, stops: tuple[str, ...] = (), chosen: GenerationOptions | None = None) -> list[str]:
    how = Ending(frozenset({END}), 500, text_of, stops)
    *first, last = stream(Bytes(said), 0, how, chosen or options(stop=stops))
    assert last.finish is FinishReason.STOP
    assert all(piece.finish is None for piece in first)
    return [piece.text for piece in (*first, last) if piece.text]


def test_no_piece_holds_half_a_character() -> None:
    said = "El gato se sentó en la alfombra 🐈 日本語."
    found = pieces(said.encode())
    assert "".join(found) == said
    assert " 🐈" in found  # of five bytes, at once
    assert all("\ufffd" not in piece for piece in found)


@given(st.text(max_size=40))
def test_pieces_add_up_to_the_text_without_white_space_around(said: str) -> None:
    assert "".join(pieces(said.encode())) == said.strip()


@given(st.binary(max_size=20))
def test_bytes_that_are_no_text_are_shown_as_the_whole_text_shows_them(said: bytes) -> None:
    assert "".join(pieces(said)) == said.decode("utf-8", "replace").strip()


def test_the_space_that_a_token_begins_with_is_not_shown() -> None:
    assert pieces(b" The cat")[0] == "T"


@given(st.text("ab c", max_size=20), st.lists(st.text("ab c", min_size=1, max_size=4), max_size=3))
def test_nothing_of_a_stop_text_is_shown(said: str, stops: list[str]) -> None:
    shown = ""
    read = next((said[:n] for n in range(len(said) + 1) if any(stop in said[:n] for stop in stops)), said)
    places = [read.find(stop) for stop in stops if stop in read]
    expected = read[: min(places)] if places else said  # it ends where the first stop text is complete
    for piece in pieces(said.encode(), tuple(stops)):
        assert piece
        shown += piece
        assert expected.strip().startswith(shown)
    assert shown == expected.strip()


@given(st.integers(0, 10_000), st.sampled_from([options(), options(temperature=1.0, seed=3)]))
def test_a_stream_says_what_a_generation_without_beams_says(source: int, chosen: GenerationOptions) -> None:
    (whole,) = generate(RandomModel([source]), np.array([3], np.int32), ending(), chosen)[0]
    pieces = list(stream(RandomModel([source]), 3, ending(), chosen))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert pieces[-1].finish is whole.finish
