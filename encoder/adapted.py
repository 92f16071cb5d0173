"""Encoders with adapters: loaded when first used, the last few of them kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from core.errors import Unavailable
from core.ports.classifiers import Arrays
from core.token_types import TokenParts
from core.types import EncoderInfo, Float32, Int64, Lane, PassageText
from encoder.service import EncoderService

Load = Callable[[Arrays, EncoderInfo], EncoderService]


class AdaptedEncoder:
    """Implements core.ports Encoder and PartsEncoder; holds the adapters alone, so it is cheap to keep.

    Besides what EncoderService raises, each method may raise what loading the model does.
    """

    def __init__(self, shelf: EncoderShelf, adapters: Arrays, info: EncoderInfo) -> None:
        self._shelf = shelf
        self._adapters = adapters
        self._info = info

    @property
    def info(self) -> EncoderInfo:
        return self._info

    def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
        with self._loaded() as encoder:
            return encoder.encode_queries(texts, lane)

    def encode_passages(self, passages: Sequence[PassageText], lane: Lane = Lane.BULK) -> Float32:
        with self._loaded() as encoder:
            return encoder.encode_passages(passages, lane)

    def token_spans(self, texts: Sequence[str]) -> list[Int64]:
        with self._loaded() as encoder:
            return encoder.token_spans(texts)

    def query_parts(self, text: str) -> TokenParts:
        with self._loaded() as encoder:
            return encoder.query_parts(text)

    def passage_parts(self, passages: Sequence[PassageText]) -> list[TokenParts]:
        with self._loaded() as encoder:
            return encoder.passage_parts(passages)

    @contextmanager
    def _loaded(self) -> Iterator[EncoderService]:
        with self._shelf.borrow(self._adapters, self._info) as encoder:
            yield encoder


class EncoderShelf:
    """Keeps the `keep` encoders used last, by fingerprint; safe to use from many threads.

    One that falls off is closed when its last borrower has given it back.
    """

    def __init__(self, load: Load, keep: int) -> None:
        self._load = load
        self._keep = keep
        self._lock = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._is_closed = False

    @contextmanager
    def borrow(self, adapters: Arrays, info: EncoderInfo) -> Iterator[EncoderService]:
        """The encoder with these adapters. Raises Unavailable after `close`."""
        slot = self._take(info.fingerprint)
        try:
            with slot.loading:  # whoever comes first loads, the others wait
                if slot.encoder is None:
                    slot.encoder = self._load(adapters, info)
            yield slot.encoder
        finally:
            self._give_back(slot)

    def close(self) -> None:
        """Closes all that nobody uses, and the others when they are given back. May be called again."""
        with self._lock:
            self._is_closed = True
            removed = [self._remove(fingerprint) for fingerprint in list(self._slots)]
        _close([slot for slot in removed if not slot.borrowers])

    def _take(self, fingerprint: str) -> _Slot:
        with self._lock:
            if self._is_closed:
                raise Unavailable("The encoder is stopping.")
            slot = self._slots.setdefault(fingerprint, _Slot())
            self._slots.move_to_end(fingerprint)
            slot.borrowers += 1
            removed = [self._remove(oldest) for oldest in list(self._slots)[: -self._keep]]
            unused = [old for old in removed if not old.borrowers]
        _close(unused)
        return slot

    def _give_back(self, slot: _Slot) -> None:
        with self._lock:
            slot.borrowers -= 1
            is_last = slot.is_removed and not slot.borrowers
        if is_last:
            _close([slot])

    def _remove(self, fingerprint: str) -> _Slot:
        slot = self._slots.pop(fingerprint)
        slot.is_removed = True
        return slot


class _Slot:
    def __init__(self) -> None:
        self.loading = threading.Lock()
        self.encoder: EncoderService | None = None
        self.borrowers = 0
        self.is_removed = False


def _close(slots: Sequence[_Slot]) -> None:
    for slot in slots:
        if slot.encoder is not None:
            slot.encoder.close()
