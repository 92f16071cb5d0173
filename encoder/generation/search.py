"""Texts for sources: the search that the options ask for, and its distinct texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from core.generation_types import Generated, GenerationOptions, Piece
from core.types import Int32
from encoder.generation.beam import beam_search
from encoder.generation.ending import Ending
from encoder.generation.hypothesis import Hypothesis
from encoder.generation.rows import RowSearch
from encoder.generation.steps import StepModel

_DRAWS_A_TEXT = 2  # where several are wanted: some are drawn twice


def rows_a_source(options: GenerationOptions) -> int:
    """How many rows of the model a source takes."""
    if options.temperature:
        return options.n if options.n == 1 else _DRAWS_A_TEXT * options.n
    return max(options.beams, options.n)


def generate(
    model: StepModel, starts: Int32, ending: Ending, options: GenerationOptions
) -> list[list[Generated]]:
    """Up to `options.n` distinct texts for each of `starts` (n,), best first. `options` are checked before.

    The beam is as wide as `n` at least. What is drawn beyond `n` texts is used only where texts repeat.
    """
    width = rows_a_source(options)
    if not options.temperature and width > 1:
        found = beam_search(model, starts, ending, options, width)
    else:
        found = _by_rows(model, starts, ending, options, width)
    texts = [_distinct(hypotheses, ending, options.n) for hypotheses in found]
    return [sorted(some, key=lambda text: -text.score) for some in texts] if options.temperature else texts


def stream(model: StepModel, start: int, ending: Ending, options: GenerationOptions) -> Iterator[Piece]:
    """Pieces of the text that `generate` gives for one source with one beam, as they are decided.

    No piece holds half a character or the beginning of a stop text. The last one, which may be empty, has the
    reason why the text ended.
    """
    search = RowSearch(model, np.array([start], np.int32), ending, options)
    shown = 0
    while not search.is_over:
        search.advance()
        tokens = search.tokens(0)
        if search.is_over:
            yield Piece(ending.text(tokens)[shown:], search.results()[0].finish)
            return
        text = ending.decode(tokens)
        text = text[: len(text) - ending.open_tail(text)].lstrip()
        if len(text) > shown:
            yield Piece(text[shown:])
            shown = len(text)


def _by_rows(
    model: StepModel, starts: Int32, ending: Ending, options: GenerationOptions, width: int
) -> list[list[Hypothesis]]:
    if width > 1:
        model.reorder(np.repeat(np.arange(len(starts)), width))
    draws = np.tile(np.arange(width), len(starts))
    search = RowSearch(model, np.repeat(starts, width), ending, options, draws)
    while not search.is_over:
        search.advance()
    results = search.results()
    return [results[at : at + width] for at in range(0, len(results), width)]


def _distinct(hypotheses: Iterable[Hypothesis], ending: Ending, n: int) -> list[Generated]:
    """The first `n` that differ as texts."""
    texts: dict[str, Generated] = {}
    for one in hypotheses:
        text = ending.text(one.tokens)
        if text not in texts and len(texts) < n:
            texts[text] = Generated(text, min(one.score, 0.0), one.finish, len(one.tokens))
    return list(texts.values())
