"""The examples of classifiers with their vectors: read from the store, encoded where that is missing.

Those of classifiers used lately stay in memory, so that one new example costs one encoding, not the reading
of ten thousand vectors: `max_bytes` of vectors and texts, or what was used last alone where that is larger,
up to `max_alone_bytes`.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

import numpy as np

from core.bulk_encoding import slices
from core.classifier_types import EncodedExamples, Examples, StoredExample
from core.data_hash import data_hash
from core.ports.classifiers import ClassifierStore
from core.ports.models import Encoder
from core.types import Float32, Int64, Lane, PassageText

MAX_BYTES: Final = 64 * 2**20
BULK_FROM_TEXTS: Final = 32
SLICE_CHARACTERS: Final = 16 * 1024  # examples are short, and each costs something whatever its length

# Told how many texts are encoded, of how many; raises to end the work.
Encoding = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Space:
    """Whose vectors are meant. `is_stored`: of the encoder whose vectors the store keeps."""

    classifier_id: int
    encoder: Encoder
    is_stored: bool = True

    @property
    def key(self) -> tuple[int, str]:
        return self.classifier_id, self.encoder.info.fingerprint


@dataclass(frozen=True, slots=True, eq=False)
class KnownExamples:
    """All examples of one moment in order of id, and their vectors (n, d)."""

    stored: tuple[StoredExample, ...]
    vectors: Float32

    @property
    def data_hash(self) -> str:
        return data_hash(self.stored)

    @property
    def encoded(self) -> EncodedExamples:
        return EncodedExamples(self.stored, self.vectors)


def to_train(encoded: EncodedExamples) -> Examples:
    """The same as what heads are trained on; labels in order of their names."""
    labels = tuple(sorted({label for example in encoded.labelled for label in example.labels}))
    column = {label: i for i, label in enumerate(labels)}
    truth = np.zeros((len(encoded.labelled), len(labels)), np.bool_)
    for row, example in enumerate(encoded.labelled):
        for label in example.labels:
            truth[row, column[label]] = True
    return Examples(labels, tuple(example.text for example in encoded.labelled), encoded.vectors, truth)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Examples by their ids (n,), ascending. `as_of`: the classifier's last change when they were read."""

    ids: Int64
    known: KnownExamples
    as_of: datetime | None
    size_bytes: int


@dataclass(slots=True)
class ExampleMemory:
    """Reads examples of classifiers; safe to share between threads. An id stands for one text for ever."""

    store: ClassifierStore
    max_bytes: int = MAX_BYTES
    max_alone_bytes: int = 8 * MAX_BYTES
    _held: OrderedDict[tuple[int, str], _Held] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # One for each space that is being read for `recall`.
    _turns: WeakValueDictionary[tuple[int, str], threading.Lock] = field(default_factory=WeakValueDictionary)

    def recall(self, space: Space, changed_at: datetime) -> KnownExamples:
        """All examples of a classifier that was changed then at last; read only if they are not in memory.

        Of calls at the same time one reads, and the others wait for it.
        """
        with self._lock:
            turn = self._turns.setdefault(space.key, threading.Lock())
        if (known := self._known(space, changed_at)) is not None:
            return known
        with turn:
            return self._known(space, changed_at) or self.load(space, as_of=changed_at)

    def load(
        self, space: Space, encoding: Encoding | None = None, as_of: datetime | None = None
    ) -> KnownExamples:
        """All examples as they are stored now; what is not encoded yet is encoded, and kept.

        With `encoding` that happens in the bulk lane, slice by slice.
        """
        stored = tuple(self.store.examples(space.classifier_id))
        ids = np.array([example.id for example in stored], np.int64)
        vectors = np.empty((len(stored), space.encoder.info.dim), np.float32)
        missing = self._recall(space, ids, vectors)
        if space.is_stored:
            missing = self._read(space, stored, missing, vectors)
        self._encode(space, stored, missing, vectors, encoding)
        known = KnownExamples(stored, vectors)
        self._remember(space, _Held(ids, known, as_of, _size_bytes(known)))
        return known

    def confirm(self, space: Space, known: KnownExamples, changed_at: datetime) -> None:
        """Notes that these are still all examples of the classifier, which was changed then at last."""
        with self._lock:
            held = self._held.get(space.key)
            if held is not None and held.known is known:
                self._held[space.key] = replace(held, as_of=changed_at)

    def forget(self, classifier_id: int) -> None:
        with self._lock:
            for key in [key for key in self._held if key[0] == classifier_id]:
                del self._held[key]

    def _known(self, space: Space, changed_at: datetime) -> KnownExamples | None:
        with self._lock:
            held = self._held.get(space.key)
            if held is None or held.as_of != changed_at:
                return None
            self._held.move_to_end(space.key)
            return held.known

    def _recall(self, space: Space, ids: Int64, vectors: Float32) -> Int64:
        """Fills in what is in memory; the rows that are not."""
        with self._lock:
            held = self._held.get(space.key)
        if held is None or not len(held.ids):
            return np.arange(len(ids))
        places = np.minimum(np.searchsorted(held.ids, ids), len(held.ids) - 1)
        is_held = held.ids[places] == ids
        vectors[is_held] = held.known.vectors[places[is_held]]
        return np.flatnonzero(~is_held)

    def _read(self, space: Space, stored: Sequence[StoredExample], missing: Int64, vectors: Float32) -> Int64:
        """Fills in what is in the store; the rows that are not."""
        if not any(stored[row].is_encoded for row in missing):
            return missing
        kept = self.store.vectors(space.classifier_id)
        absent = []
        for row in missing.tolist():
            vector = kept.get(stored[row].id)
            if vector is None:
                absent.append(row)
            else:
                vectors[row] = vector
        return np.array(absent, np.int64)

    def _encode(
        self,
        space: Space,
        stored: Sequence[StoredExample],
        missing: Int64,
        vectors: Float32,
        encoding: Encoding | None,
    ) -> None:
        if not len(missing):
            return
        texts = [PassageText("", stored[row].text) for row in missing]
        is_bulk = encoding is not None or len(texts) >= BULK_FROM_TEXTS
        for part in slices(texts, SLICE_CHARACTERS):
            rows = missing[part]
            lane = Lane.BULK if is_bulk else Lane.INTERACTIVE
            # Rounded as they are stored, so that a process that reads them learns and tells the same.
            vectors[rows] = space.encoder.encode_passages(texts[part], lane).astype(np.float16)
            if space.is_stored:
                self.store.save_vectors(
                    space.classifier_id, {stored[row].id: vectors[row] for row in rows.tolist()}
                )
            if encoding is not None:
                encoding(part.stop, len(texts))

    def _remember(self, space: Space, held: _Held) -> None:
        with self._lock:
            self._held.pop(space.key, None)
            if held.size_bytes > self.max_alone_bytes:
                return
            self._held[space.key] = held
            while len(self._held) > 1 and sum(one.size_bytes for one in self._held.values()) > self.max_bytes:
                self._held.popitem(last=False)


def _size_bytes(known: KnownExamples) -> int:
    return known.vectors.nbytes + sum(sys.getsizeof(example.text) for example in known.stored)
