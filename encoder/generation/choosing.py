"""From log probabilities of the next token to the token: penalties, and draws at random.

Shapes: r rows, t tokens decoded so far, V vocabulary.
"""

from __future__ import annotations

import numpy as np

from core.generation_types import GenerationOptions
from core.types import Float32, Float64, Int32, Int64

_COLDEST = 1e-9  # below it only the most probable token is drawn, and quotients overflow


def penalised(log_probs: Float32, history: Int32, options: GenerationOptions) -> Float32:
    """Log probabilities (r, V) as `options` want them chosen from, given the tokens `history` (r, t).

    Those of tokens seen before are multiplied by the repetition penalty (Keskar et al. 2019, "CTRL", section
    4.1, on log probabilities); tokens that would repeat an n-gram get -inf. The result is not normalised.
    """
    if not history.shape[1] or (options.repetition_penalty == 1.0 and not options.no_repeat_ngram):
        return log_probs
    chosen_from = log_probs.copy()
    if options.repetition_penalty != 1.0:
        seen = np.take_along_axis(log_probs, history, 1)  # (r, t)
        np.put_along_axis(chosen_from, history, seen * np.float32(options.repetition_penalty), 1)
    if 0 < options.no_repeat_ngram <= history.shape[1]:
        _ban_repeated(chosen_from, history, options.no_repeat_ngram)
    return chosen_from


def _ban_repeated(chosen_from: Float32, history: Int32, n: int) -> None:
    grams = np.lib.stride_tricks.sliding_window_view(history, n, axis=1)  # (r, t - n + 1, n)
    last = history[:, history.shape[1] - n + 1 :]  # (r, n - 1)
    rows, places = np.nonzero((grams[:, :, :-1] == last[:, None]).all(-1))
    chosen_from[rows, grams[rows, places, -1]] = -np.inf


def drawn(chosen_from: Float32, options: GenerationOptions, uniforms: Float64) -> Int64:
    """One token a row (r,), drawn by `uniforms` (r,) in [0, 1) at the temperature of `options`.

    Of the `top_k` most probable tokens, the fewest that hold `top_p` of their probability (Holtzman et al.
    2020, section 3.1). `chosen_from` (r, V) need not be normalised.
    """
    order = np.argsort(-chosen_from, axis=1)  # (r, V), most probable first
    if options.top_k:
        order = order[:, : options.top_k]
    ordered = np.take_along_axis(chosen_from, order, 1).astype(np.float64)
    temperature = max(options.temperature, _COLDEST)
    up_to = np.cumsum(np.exp((ordered - ordered[:, :1]) / temperature), axis=1)  # not normalised
    held = (up_to < options.top_p * up_to[:, -1:]).sum(1, keepdims=True)  # places before the last one kept
    kept = np.take_along_axis(up_to, np.minimum(held, up_to.shape[1] - 1), 1)  # (r, 1)
    places = (up_to <= uniforms[:, None] * kept).sum(1, keepdims=True)
    tokens: Int64 = np.take_along_axis(order, np.minimum(places, held), 1)[:, 0]
    return tokens
