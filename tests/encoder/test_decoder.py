"""Truths of the causal decoder: no leak of the future, a cache that changes nothing, rows that do not mix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from core.errors import CheckpointError
from encoder.decoder import Decoder, KeyValues
from encoder.generator_config import DecoderConfig
from tests.encoder.generator_fakes import V, decoder_config, random_decoder, shaken, some_ids

T = 9
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def log_probs(decoder: Decoder, token_ids: Tensor) -> Tensor:
    return decoder.logits(decoder(token_ids)[0]).log_softmax(-1)


def step_by_step(decoder: Decoder, token_ids: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """States of all tokens, given in parts of these sizes."""
    past: tuple[KeyValues, ...] | None = None
    parts = []
    for part in token_ids.split(sizes, 1):  # type: ignore[no-untyped-call]
        states, past = decoder(part, past=past)
        parts.append(states)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("at", range(1, T))
def test_a_token_changes_nothing_before_it(at: int) -> None:
    decoder = random_decoder().train()
    ids = some_ids(2, T)
    changed = ids.clone()
    changed[:, at] = (ids[:, at] + 1) % V
    before, after = decoder(ids)[0], decoder(changed)[0]
    torch.testing.assert_close(before[:, :at], after[:, :at], rtol=0, atol=0)
    assert not torch.allclose(before[:, at], after[:, at])


@pytest.mark.parametrize("at", range(3, T))
def test_a_token_changes_nothing_before_it_when_decoding_with_a_cache(at: int) -> None:
    decoder = random_decoder()
    ids = some_ids(2, T)
    changed = ids.clone()
    changed[:, at] = (ids[:, at] + 1) % V
    sizes = (2, T - 2)  # several new tokens after a past see each other's future unless they are masked
    before, after = step_by_step(decoder, ids, sizes), step_by_step(decoder, changed, sizes)
    torch.testing.assert_close(before[:, :at], after[:, :at], rtol=0, atol=0)
    assert not torch.allclose(before[:, at], after[:, at])


@pytest.mark.parametrize("sizes", [(1,) * T, (4, 5), (1, 7, 1), (3, 1, 1, 4)])
def test_decoding_with_a_cache_equals_decoding_at_once(sizes: tuple[int, ...]) -> None:
    decoder = random_decoder()
    ids = some_ids(2, T)
    torch.testing.assert_close(step_by_step(decoder, ids, sizes), decoder(ids)[0], **CLOSE)


def test_every_position_sees_the_first_token() -> None:
    decoder = random_decoder()
    ids = some_ids(1, T)
    changed = ids.clone()
    changed[:, 0] = (ids[:, 0] + 1) % V
    differ = (decoder(ids)[0] - decoder(changed)[0]).abs().amax(-1)
    assert (differ > 1e-4).all()


def test_the_order_of_the_tokens_before_matters() -> None:
    decoder = random_decoder()
    ids = some_ids(1, T)
    swapped = ids[:, [1, 0, *range(2, T)]]
    assert not torch.allclose(decoder(ids)[0][:, -1], decoder(swapped)[0][:, -1], atol=1e-4)


def test_a_batch_equals_its_rows_alone_and_padding_behind_a_text_changes_nothing() -> None:
    decoder = random_decoder()
    ids = some_ids(3, T)
    states = decoder(ids)[0]
    for row, length in enumerate((T, 4, 1)):
        single = decoder(ids[row : row + 1, :length])[0]
        torch.testing.assert_close(states[row : row + 1, :length], single, **CLOSE)


def test_a_prefix_of_embeddings_stands_where_the_same_tokens_would() -> None:
    decoder = random_decoder()
    ids = some_ids(2, T)
    prefix = decoder.embedding(ids[:, :3])
    torch.testing.assert_close(decoder(ids[:, 3:], prefix=prefix)[0], decoder(ids)[0], **CLOSE)


def test_a_cache_after_a_prefix_goes_on_behind_it() -> None:
    decoder = random_decoder()
    ids = some_ids(2, T)
    _, past = decoder(ids[:, 3:5], prefix=decoder.embedding(ids[:, :3]))
    torch.testing.assert_close(decoder(ids[:, 5:], past=past)[0], decoder(ids)[0][:, 5:], **CLOSE)


def test_the_loss_of_a_text_equals_the_sum_of_its_steps() -> None:
    decoder = random_decoder()
    ids = some_ids(1, T)
    at_once = log_probs(decoder, ids)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
    past: tuple[KeyValues, ...] | None = None
    for i in range(T - 1):
        states, past = decoder(ids[:, i : i + 1], past=past)
        step = decoder.logits(states).log_softmax(-1)[0, 0, ids[0, i + 1]]
        torch.testing.assert_close(step, at_once[i], **CLOSE)


def test_the_output_layer_is_the_embedding() -> None:
    decoder = random_decoder()
    states = torch.eye(16)[None, :1]
    torch.testing.assert_close(decoder.logits(states)[0, 0], decoder.embedding.weight[:, 0])
    assert not [name for name in decoder.state_dict() if "head" in name]


def test_saved_and_loaded_weights_give_the_same_states() -> None:
    decoder = random_decoder()
    torch.manual_seed(5)
    other = shaken(Decoder(decoder_config())).eval()
    ids = some_ids(2, T)
    assert not torch.allclose(other(ids)[0], decoder(ids)[0])
    other.load_state_dict(decoder.state_dict())
    torch.testing.assert_close(other(ids)[0], decoder(ids)[0], rtol=0, atol=0)


@pytest.mark.parametrize(("d", "heads"), [(16, 3), (12, 4)])
def test_heads_that_cannot_be_rotated_are_refused(d: int, heads: int) -> None:
    with pytest.raises(CheckpointError, match=f"d={d} with {heads} heads"):
        DecoderConfig(vocab_size=V, d=d, heads=heads)
