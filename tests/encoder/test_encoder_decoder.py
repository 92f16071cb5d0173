"""Truths of the encoder-decoder: what it reads, when, and that its distributions are the paper's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoder.decoder import Attention, Block, KeyValues
from encoder.encoder_decoder import EncoderDecoder, Memory, SourceBatch
from encoder.generator_config import PAD
from tests.encoder.generator_fakes import V, alone, random_generator, some_ids, some_source

T = 7
LENGTHS = (6, 9, 2)
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def steps(model: EncoderDecoder, memory: Memory, inputs: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Log probabilities (b, V) of the token after each part of `inputs`: (b, parts, V)."""
    past: tuple[KeyValues, ...] | None = None
    found = []
    for part in inputs.split(sizes, 1):  # type: ignore[no-untyped-call]
        log_probs, past = model.step(memory, part, past)
        found.append(log_probs)
    return torch.stack(found, 1)


def calls_of(module: nn.Module) -> list[None]:
    """Grows with every call of the module."""
    calls: list[None] = []
    module.register_forward_hook(lambda *_: calls.append(None))
    return calls


def cross_attentions(model: EncoderDecoder) -> list[Attention]:
    """Of each block of the decoder."""
    found = [block.cross_attention for block in model.decoder.blocks]
    return [attention for attention in found if isinstance(attention, Attention)]


@pytest.mark.parametrize("at", range(1, T))
def test_a_token_changes_nothing_before_it(at: int) -> None:
    model = random_generator().train()
    memory = model.read(some_source(LENGTHS))
    inputs, targets = some_ids(3, T), some_ids(3, T, seed=4)
    changed = inputs.clone()
    changed[:, at] = (inputs[:, at] + 1) % V
    before = model.target_log_probs(memory, inputs, targets)
    after = model.target_log_probs(memory, changed, targets)
    torch.testing.assert_close(before[:, :at], after[:, :at], rtol=0, atol=0)
    assert not torch.allclose(before[:, at], after[:, at])


@pytest.mark.parametrize("sizes", [(1,) * T, (3, 4), (2, 4, 1)])
def test_decoding_with_a_cache_equals_decoding_at_once(sizes: tuple[int, ...]) -> None:
    model = random_generator()
    memory = model.read(some_source(LENGTHS))
    inputs = some_ids(3, T)
    found = steps(model, memory, inputs, sizes)
    ends = torch.tensor(sizes).cumsum(0).tolist()
    for i, end in enumerate(ends):
        at_once, _ = model.step(memory, inputs[:, :end], None)
        torch.testing.assert_close(found[:, i], at_once, **CLOSE)


def test_log_probabilities_of_given_targets_equal_those_step_by_step() -> None:
    model = random_generator()
    memory = model.read(some_source(LENGTHS))
    inputs, targets = some_ids(3, T), some_ids(3, T, seed=4)
    targets[:, 2] = memory.token_ids[:, 1]  # some are copies
    at_once = model.target_log_probs(memory, inputs, targets)
    by_step = steps(model, memory, inputs, (1,) * T).gather(2, targets[..., None])[..., 0]
    torch.testing.assert_close(at_once, by_step, **CLOSE)


def test_steps_read_neither_the_source_again_nor_its_keys_and_values() -> None:
    model = random_generator()
    reader = calls_of(model.reader)
    projections = [
        calls_of(projection) for one in cross_attentions(model) for projection in (one.key, one.value)
    ]
    copy_keys = calls_of(model.copy.key)
    steps(model, model.read(some_source(LENGTHS)), some_ids(3, T), (1,) * T)
    assert len(reader) == 1
    assert [len(calls) for calls in projections] == [1] * 2 * len(model.decoder.blocks)
    assert len(copy_keys) == 1


def test_every_block_reads_the_final_memory_and_nothing_else_of_the_source() -> None:
    model = random_generator()
    seen: list[Tensor] = []
    for one in cross_attentions(model):
        for projection in (one.key, one.value):
            projection.register_forward_hook(lambda _module, given, _found: seen.append(given[0]))
    memory = model.read(some_source(LENGTHS))
    assert len(seen) == 2 * len(model.decoder.blocks)
    assert all(states is memory.states for states in seen)
    torch.testing.assert_close(memory.states, model.reader(some_source(LENGTHS)), rtol=0, atol=0)


@pytest.mark.parametrize("changed_block", range(3))
def test_what_a_block_reads_of_the_memory_changes_what_it_gives(changed_block: int) -> None:
    model = random_generator()
    memory = model.read(some_source((6,)))
    outputs: list[Tensor] = []
    for block in model.decoder.blocks:
        block.register_forward_hook(lambda _module, _given, found: outputs.append(found[0]))
    perturbed = memory.states + torch.randn(memory.states.shape) * 0.5
    other = model.decoder.source(perturbed, memory.token_ids != PAD)
    by_block = [
        (other if i == changed_block else memory.source).by_block[i] for i in range(len(model.decoder.blocks))
    ]
    inputs = some_ids(1, T)
    model.decoder(inputs, memory.source)
    model.decoder(inputs, replace(memory.source, by_block=tuple(by_block)))
    same = [torch.allclose(a, b, atol=1e-6) for a, b in zip(outputs[:3], outputs[3:], strict=True)]
    assert same == [True] * changed_block + [False] * (3 - changed_block)


def test_a_batch_of_different_lengths_equals_each_alone() -> None:
    model = random_generator()
    batch = some_source(LENGTHS)
    inputs, targets = some_ids(3, T), some_ids(3, T, seed=4)
    together = model.read(batch)
    log_probs = model.target_log_probs(together, inputs, targets)
    stepped = steps(model, together, inputs, (1,) * T)
    for row in range(3):
        memory = model.read(alone(batch, row))
        one = slice(row, row + 1)
        torch.testing.assert_close(
            log_probs[one], model.target_log_probs(memory, inputs[one], targets[one]), **CLOSE
        )
        torch.testing.assert_close(stepped[one], steps(model, memory, inputs[one], (1,) * T), **CLOSE)


def test_padding_of_sources_and_targets_changes_nothing() -> None:
    model = random_generator()
    batch, inputs, targets = some_source(LENGTHS), some_ids(3, T), some_ids(3, T, seed=4)
    pad = nn.functional.pad
    padded = SourceBatch(pad(batch.token_ids, (0, 4), value=PAD), pad(batch.states, (0, 0, 0, 4), value=3.0))
    plain = model.target_log_probs(model.read(batch), inputs, targets)
    longer = model.target_log_probs(
        model.read(padded), pad(inputs, (0, 2), value=PAD), pad(targets, (0, 2), value=PAD)
    )
    torch.testing.assert_close(longer[:, :T], plain, **CLOSE)


def test_the_distribution_is_the_mixture_of_see_et_al() -> None:
    """Equations 8 and 9, written out in loops for one source."""
    model = random_generator()
    memory = model.read(some_source((8,)))
    inputs = some_ids(1, T)
    states, _ = model.decoder(inputs, memory.source)
    s, source = states[0, -1], memory.token_ids[0]
    scores = [
        float((model.copy.query.weight @ s) @ (model.copy.key.weight @ memory.states[0, i])) / 16**0.5
        for i in range(1, 8)
    ]
    a = torch.tensor(scores).softmax(0)
    context = sum((a[i - 1] * memory.states[0, i] for i in range(1, 8)), torch.zeros(16))
    gate = torch.sigmoid(model.copy.gate.weight[0] @ torch.cat((s, context)) + model.copy.gate.bias[0])
    p = gate * (model.decoder.embedding.weight @ s).softmax(0)
    for i in range(1, 8):
        p[source[i]] += (1 - gate) * a[i - 1]
    found, _ = model.step(memory, inputs, None)
    torch.testing.assert_close(found[0].exp(), p, **CLOSE)


def test_the_distribution_sums_to_one() -> None:
    model = random_generator()
    found = steps(model, model.read(some_source(LENGTHS)), some_ids(3, T), (1,) * T)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3, T), **CLOSE)


def test_the_task_is_never_copied_nor_is_padding() -> None:
    model = random_generator()
    model.copy.gate.weight.zero_()
    model.copy.gate.bias.fill_(-50.0)  # copies alone
    batch = some_source(LENGTHS)
    batch.token_ids[:, 0] = V - 1
    batch.token_ids[:, 1:].clamp_(max=V - 2)
    found, _ = model.step(model.read(batch), some_ids(3, T), None)
    assert (found[:, V - 1].exp() < 1e-12).all()
    assert (found[:, PAD].exp() < 1e-12).all()
    for row in range(3):
        copied = set(torch.nonzero(found[row].exp() > 1e-12).flatten().tolist())
        assert copied <= set(batch.token_ids[row, 1:].tolist()) - {PAD}
        assert copied


def test_the_reader_sees_both_ways_and_the_encoders_states() -> None:
    model = random_generator()
    batch = some_source((6,))
    memory = model.reader(batch)
    last = SourceBatch(batch.token_ids.clone(), batch.states)
    last.token_ids[0, -1] = (batch.token_ids[0, -1] - 1) % (V - 2) + 2
    assert ((model.reader(last) - memory).abs().amax(-1) > 1e-5).all()
    other = SourceBatch(batch.token_ids, batch.states + 0.5)
    assert ((model.reader(other) - memory).abs().amax(-1) > 1e-5).all()


def test_the_embedding_is_shared_by_reader_decoder_and_output() -> None:
    model = random_generator()
    embeddings = [name for name, w in model.named_parameters() if w.shape == (V, 16)]
    assert embeddings == ["decoder.embedding.weight"]
    assert all(block.cross_attention is None for block in model.reader.blocks if isinstance(block, Block))
