"""The dictionary of one keyword column: text to code and back. Codes count from 0 and never change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from core.types import Int32, Int64
from indexer.attributes_values import day_of

Blob = bytes  # where `bytes` is a property

MIN_RECENT = 1_024
MAX_RECENT_SHARE = 0.25
NO_DATE = np.iinfo(np.int64).min


class Base:
    """The older texts, packed: UTF-8 one after the other, and their hashes in order.

    Text of code c is `blob[offsets[c] : offsets[c + 1]]`; `hashes` (n,) ascend, `codes` (n,) are theirs.
    A Python dictionary would take four times the memory.
    """

    __slots__ = ("blob", "codes", "hashes", "offsets")

    def __init__(self, blob: bytes, offsets: Int64, hashes: Int64) -> None:
        """`hashes` (n,) by code."""
        self.blob = blob
        self.offsets = offsets
        self.codes = np.argsort(hashes, kind="stable").astype(np.int32)
        self.hashes = hashes[self.codes]

    @property
    def n(self) -> int:
        return len(self.codes)

    @property
    def bytes(self) -> int:
        return len(self.blob) + self.offsets.nbytes + self.hashes.nbytes + self.codes.nbytes

    def text(self, code: int) -> str:
        return self.blob[self.offsets[code] : self.offsets[code + 1]].decode()

    def find(self, texts: Sequence[str]) -> Int32:
        """(m,) codes; -1 for those it does not have."""
        found = np.full(len(texts), -1, dtype=np.int32)
        if not self.n:
            return found
        wanted = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
        places = np.searchsorted(self.hashes, wanted)
        is_near = self.hashes[np.minimum(places, self.n - 1)] == wanted
        for i in np.flatnonzero(is_near).tolist():
            found[i] = self._at(int(places[i]), int(wanted[i]), texts[i])
        return found

    def _at(self, place: int, wanted: int, text: str) -> int:
        """The code of the text among those of its hash, which begin at `place`."""
        while place < self.n and self.hashes[place] == wanted:
            code = int(self.codes[place])
            if self.text(code) == text:
                return code
            place += 1
        return -1


EMPTY = Base(b"", np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))


class Keywords:
    """Grows at its end. One thread adds; any thread may look up what was there when its view was published.

    Recent texts are in a dictionary of Python's, and packed into the base when they have become many.
    """

    def __init__(self, base: Base = EMPTY) -> None:
        self._parts: tuple[Base, dict[str, int], list[str]] = (base, {}, [])
        self._dates = np.empty(0, dtype=np.int64)

    @property
    def count(self) -> int:
        base, _, recent = self._parts
        return base.n + len(recent)

    @property
    def bytes(self) -> int:
        """Of a recent text about 200 bytes: its object, its number and its places in dictionary and list."""
        base, _, recent = self._parts
        return base.bytes + 200 * len(recent) + self._dates.nbytes

    def add(self, texts: Sequence[str]) -> Int32:
        """(m,) codes of the texts, new ones for those not seen before."""
        base, codes, recent = self._parts
        if base.n:
            missing = [text for text in dict.fromkeys(texts) if text not in codes]
            known = dict(zip(missing, base.find(missing).tolist(), strict=True))
        else:
            known = {}
        found = np.empty(len(texts), dtype=np.int32)
        for i, text in enumerate(texts):
            code = codes.get(text, -1)
            if code < 0:
                code = known.get(text, -1)
            if code < 0:
                code = base.n + len(recent)
                recent.append(text)
                codes[text] = code
            found[i] = code
        self._pack_if_due()
        return found

    def find(self, texts: Sequence[str], count: int) -> list[int]:
        """Codes below `count` of the texts that are there."""
        base, codes, _ = self._parts
        found = [codes.get(text, -1) for text in texts]
        missing = [text for text, code in zip(texts, found, strict=True) if code < 0]
        if missing:
            found += base.find(missing).tolist()
        return [code for code in found if 0 <= code < count]

    def texts(self, codes: Iterable[int]) -> list[str]:
        base, _, recent = self._parts
        return [base.text(code) if code < base.n else recent[code - base.n] for code in codes]

    def dates(self, count: int) -> Int64:
        """(count,) microseconds since 1970 of the texts that are dates, NO_DATE of the others.

        Read once and kept, so that a new view reads only new texts; two threads at once read them twice.
        """
        known = self._dates
        if len(known) < count:
            found = (day_of(text) for text in self.texts(range(len(known), count)))
            added = np.array([NO_DATE if day is None else day for day in found], dtype=np.int64)
            self._dates = known = np.concatenate([known, added])
        return known[:count]

    def packed(self, codes: Int64) -> tuple[Blob, Int64]:
        """UTF-8 of the texts of `codes` (m,), and their offsets (m + 1,)."""
        encoded = [text.encode() for text in self.texts(codes.tolist())]
        return b"".join(encoded), offsets_of([len(one) for one in encoded])

    def kept(self, codes: Int64) -> Keywords:
        """A dictionary of the texts of `codes` (m,) alone, which get the codes 0 to m - 1."""
        return unpacked(*self.packed(codes))

    def _pack_if_due(self) -> None:
        base, _, recent = self._parts
        if len(recent) <= max(MIN_RECENT, MAX_RECENT_SHARE * base.n):
            return
        encoded = [text.encode() for text in recent]
        ends = base.offsets[-1] + offsets_of([len(one) for one in encoded])[1:]
        hashes = np.empty(base.n + len(recent), dtype=np.int64)
        hashes[base.codes] = base.hashes
        hashes[base.n :] = np.fromiter(map(hash, recent), dtype=np.int64, count=len(recent))
        packed = Base(base.blob + b"".join(encoded), np.concatenate([base.offsets, ends]), hashes)
        self._parts = (packed, {}, [])


def offsets_of(lengths: Sequence[int] | Int32) -> Int64:
    """(n + 1,) where each of n texts of these lengths begins and the last ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def unpacked(blob: bytes, offsets: Int64) -> Keywords:
    """The dictionary of packed texts. Raises ValueError if they are no UTF-8 or not distinct."""
    texts = [blob[start:stop].decode() for start, stop in pairwise(offsets.tolist())]
    if len(set(texts)) != len(texts):
        raise ValueError("a dictionary of keywords holds a text twice")
    hashes = np.fromiter(map(hash, texts), dtype=np.int64, count=len(texts))
    return Keywords(Base(blob, offsets, hashes))
