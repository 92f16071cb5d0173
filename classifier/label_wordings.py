"""Label prototypes: what tells a label, worded in several ways, as one vector.

Prompt ensembling (Radford et al. 2021, "Learning transferable visual models from natural language
supervision", section 3.1.4): a name is embedded within several templates, and the vectors are averaged.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from core.label_types import Label
from core.ports.models import Encoder
from core.types import Float32, Lane

TEMPLATES = ("{}", "I need help with {}")
BULK_FROM_CHARACTERS = 16_384  # of new labels' wordings: more would keep searches waiting
KEPT_ROWS = 16_384  # prototypes of label sets asked for before; 25 MB at 384 dimensions
WORD_BREAK = re.compile(r"[_-]|(?<=[a-z])(?=[A-Z])")


def as_words(name: str) -> str:
    """A label's name as words: `card_arrival` and `PlayMusic` become "card arrival" and "Play Music"."""
    return " ".join(WORD_BREAK.sub(" ", name).split()) or name


def wordings_of(label: Label, templates: Sequence[str] = TEMPLATES) -> list[list[str]]:
    """Groups of texts that tell a label; each group counts once.

    Its name in every template, each further phrasing in every template, its description, each example.
    """
    names = [as_words(label.name), *label.phrasings]
    return [
        *([template.replace("{}", name) for template in templates] for name in names),
        *([[label.description]] if label.description else []),
        *([example] for example in label.examples),
    ]


def is_one_word(label: Label) -> bool:
    """Whether a name of one word is all that is known of the label."""
    has_more = label.description or label.examples or label.phrasings
    return not has_more and len(as_words(label.name).split()) == 1


@dataclass(frozen=True, slots=True)
class PrototypeCache:
    """Prototypes of the label sets asked for last, so that a set is encoded once; for many threads."""

    encoder: Encoder
    _kept: OrderedDict[bytes, Float32] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def prototypes(self, labels: Sequence[Label], templates: Sequence[str], lane: Lane) -> Float32:
        """(c, d) float32 unit rows, one a label."""
        key = _digest(labels, templates)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make_prototypes(self.encoder, labels, templates, lane)
        made.setflags(write=False)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > KEPT_ROWS:
                self._kept.popitem(last=False)
        return made


def _digest(labels: Sequence[Label], templates: Sequence[str]) -> bytes:
    """Of all that makes prototypes: the texts themselves may be megabytes, and are not kept."""
    told = repr((tuple(labels), tuple(templates)))  # with escapes for half surrogate pairs
    return hashlib.sha256(told.encode()).digest()


def make_prototypes(
    encoder: Encoder, labels: Sequence[Label], templates: Sequence[str], lane: Lane
) -> Float32:
    """(c, d) unit rows: the mean over a label's groups of wordings of their unit means.

    Long wordings, all in all, are read in the bulk lane, whatever `lane` is.
    """
    groups = [wordings_of(label, templates) for label in labels]
    texts = [text for of_label in groups for group in of_label for text in group]
    is_long = sum(map(len, texts)) >= BULK_FROM_CHARACTERS
    vectors = encoder.encode_queries(texts, Lane.BULK if is_long else lane)
    means = _unit_means(vectors, [len(group) for of_label in groups for group in of_label])
    return _unit_means(means, [len(of_label) for of_label in groups])


def _unit_means(vectors: Float32, counts: Sequence[int]) -> Float32:
    """(len(counts), d) unit means of consecutive rows of `vectors`, so many each."""
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors, starts, axis=0)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)
