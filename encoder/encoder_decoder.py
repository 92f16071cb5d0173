"""An encoder-decoder over the in-house encoder: its states are read once, and rare words can be copied.

The encoder (`encoder/bert.py`) reads word pieces without case; here the same text stands once more in cased
tokens of the generator's own vocabulary, each with the encoder's last state at its place. A few bidirectional
blocks join both into the memory, which the cross-attention of every decoder block reads. The distribution of
the next token mixes the vocabulary with copies from the source (See et al. 2017, "Get to the point",
equations 8 and 9). Shapes: b texts, s source tokens, t target tokens, d width, e encoder width, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.decoder import Block, Decoder, KeyValues, Rotation, Source
from encoder.generator_config import PAD, GeneratorConfig


class SourceBatch(NamedTuple):
    """Sources to be read. The task's token stands first, with a state of zeros; padding is `PAD`."""

    token_ids: Tensor  # (b, s) of the generator's vocabulary
    states: Tensor  # (b, s, e) of the encoder's last layer at each token's place


class Memory(NamedTuple):
    """A source that has been read; all of it is computed once a generation."""

    token_ids: Tensor  # (b, s)
    states: Tensor  # (b, s, d)
    copy_keys: Tensor  # (b, s, d)
    source: Source  # keys and values of each decoder block


class SourceReader(nn.Module):
    """The top of the encoder: its states and the cased tokens of the same text as one memory (b, s, d)."""

    def __init__(self, config: GeneratorConfig, embedding: nn.Embedding, dropout: float) -> None:
        super().__init__()
        shape = config.decoder
        self.config = shape
        self.states = nn.Linear(config.encoder_d, shape.d, bias=False)
        self.blocks = nn.ModuleList(Block(shape, False, dropout) for _ in range(config.source_layers))
        self.norm = nn.RMSNorm(shape.d, eps=shape.norm_eps)
        self.dropout = nn.Dropout(dropout)
        self._embed = [embedding]  # the decoder's, listed there only

    def forward(self, batch: SourceBatch) -> Tensor:
        h = self.states(batch.states) + self._embed[0](batch.token_ids)  # (b, s, d)
        h = self.dropout(h)
        rotation = Rotation(self.config, 0, h.shape[1], h.device)
        is_text = (batch.token_ids != PAD)[:, None, None, :]  # (b, 1, 1, s)
        for block in self.blocks:
            h, _ = block(h, rotation, is_text, False)
        normed: Tensor = self.norm(h)
        return normed


class CopyHead(nn.Module):
    """Where in the source the next token might be copied from, and how likely it is not a copy at all."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.query = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.gate = nn.Linear(2 * d, 1)

    def forward(self, states: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Log of the copy attention (b, t, s), and the gate's logit (b, t): high for the vocabulary."""
        scores = self.query(states) @ memory.copy_keys.transpose(1, 2) / states.shape[-1] ** 0.5  # (b, t, s)
        may_copy = memory.token_ids != PAD
        may_copy = may_copy & (torch.arange(may_copy.shape[1], device=may_copy.device) > 0)  # not the task
        attention = scores.float().masked_fill(~may_copy[:, None], -1e9).log_softmax(-1)  # (b, t, s)
        context = attention.exp().to(states.dtype) @ memory.states  # (b, t, d)
        gate = self.gate(torch.cat((states, context), -1)).squeeze(-1)  # (b, t)
        return attention, gate.float()


class EncoderDecoder(nn.Module):
    """Sources and the tokens so far to log probabilities of the next token."""

    def __init__(self, config: GeneratorConfig, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.decoder = Decoder(config.decoder, dropout)
        self.reader = SourceReader(config, self.decoder.embedding, dropout)
        self.copy = CopyHead(config.decoder.d)

    def read(self, batch: SourceBatch) -> Memory:
        """The memory of the sources, with all that decoding needs of them."""
        states = self.reader(batch)
        is_text = batch.token_ids != PAD
        return Memory(batch.token_ids, states, self.copy.key(states), self.decoder.source(states, is_text))

    def target_log_probs(self, memory: Memory, inputs: Tensor, targets: Tensor) -> Tensor:
        """log p(targets) (b, t) with `inputs` (b, t) before them: the targets shifted right by one."""
        states, _ = self.decoder(inputs, memory.source)
        attention, gate = self.copy(states, memory)
        logits = self.decoder.logits(states).flatten(0, 1)  # (b t, V)
        by_word = -F.cross_entropy(logits.float(), targets.flatten(), reduction="none").view_as(gate)
        is_it = memory.token_ids[:, None, :] == targets[..., None]  # (b, t, s)
        by_copy = attention.masked_fill(~is_it, -1e9).logsumexp(-1)  # (b, t)
        return torch.logaddexp(F.logsigmoid(gate) + by_word, F.logsigmoid(-gate) + by_copy)

    def step(
        self, memory: Memory, token_ids: Tensor, past: tuple[KeyValues, ...] | None
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        """Log probabilities (b, V) of the token after `token_ids` (b, t), and the cache for the next call."""
        states, cache = self.decoder(token_ids, memory.source, past)
        return self.next_log_probs(states[:, -1:], memory), cache

    def next_log_probs(self, last: Tensor, memory: Memory) -> Tensor:
        """(b, V) of the token after the states `last` (b, 1, d): vocabulary and copies mixed."""
        attention, gate = self.copy(last, memory)
        words = self.decoder.logits(last)[:, 0].float().log_softmax(-1)  # (b, V)
        copies = torch.zeros_like(words).scatter_add_(1, memory.token_ids, attention[:, 0].exp())
        g = gate.sigmoid()  # (b, 1)
        mixed = g * words.exp() + (1 - g) * copies
        log_probs: Tensor = mixed.clamp_min(1e-30).log()
        return log_probs
