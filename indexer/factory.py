"""Which FAISS index a collection gets: chosen by size, or an explicit `index_factory` string."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import faiss

from core.errors import InvalidInput

AUTO = "auto"
FLAT = "Flat"
HNSW = "HNSW32"
FLAT_LIMIT = 20_000
# Above, a graph takes too long to build and twice the memory of codes beside half-precision vectors.
HNSW_LIMIT = 1_000_000
# Lists for so many passages; beyond the last, the most lists. Each costs every search a comparison, which at
# a million passages is not won back (docs/scaling.md).
LISTS = ((4_000_000, 1_024), (16_000_000, 4_096), (64_000_000, 16_384))
MOST_LISTS = 65_536
MAX_FACTORY_LENGTH = 100
HNSW_M = (4, 64)
IVF_LISTS = (1, 65_536)
# FAISS asks for 39 training points a centroid; product quantizers have 256 centroids.
POINTS_PER_CENTROID = 39
QUANTIZER_TRAINING_ROWS = 256 * POINTS_PER_CENTROID


def choose_factory(setting: str, rows: int, d: int) -> str:
    """The factory string for `rows` passages of dimension `d` under a collection's `index` setting.

    "auto" is exact up to 20,000 passages, HNSW up to a million, and above inverted lists of packed 4-bit
    codes, whose best are scored again. An explicit index that must be trained stays exact until there are
    enough passages to train it on.
    """
    if setting == AUTO:
        return FLAT if rows <= FLAT_LIMIT else HNSW if rows <= HNSW_LIMIT else _lists(rows, d)
    return setting if rows >= _training_rows(setting, d) else FLAT


def _lists(rows: int, d: int) -> str:
    """Two dimensions to a 4-bit code; one byte to each where d is odd."""
    lists = next((count for most, count in LISTS if rows <= most), MOST_LISTS)
    return f"IVF{lists},PQ{d // 2}x4fs" if d % 2 == 0 else f"IVF{lists},SQ8"


def check_index_kind(setting: str, d: int) -> None:
    """Raises InvalidInput unless `setting` is "auto" or a factory that can filter, grow and be copied."""
    if setting == AUTO:
        return
    if len(setting) > MAX_FACTORY_LENGTH:
        raise InvalidInput(
            f"index is {len(setting)} characters long; at most {MAX_FACTORY_LENGTH} are allowed"
        )
    form = _checked_form(setting)
    _check_dimensions(setting, form, d)
    try:
        index = new_index(setting, d)
    except Exception as error:  # FAISS raises RuntimeError, SWIG also others, by build
        reason = re.split(r"\.cpp:\d+: ", str(error))[-1][-200:] or type(error).__name__
        raise InvalidInput(
            f"index {setting!r} is not a FAISS factory for d={d}: {reason}. {_ADVICE}"
        ) from None
    if not _is_supported(index):
        kind = type(faiss.downcast_index(index)).__name__
        raise InvalidInput(f"index {setting!r} is a FAISS {kind}, which cannot be served here. {_ADVICE}")


_ADVICE = (
    "Use \"auto\", or Flat, SQ8, SQfp16, HNSW<m>, HNSW<m>,SQ8, IVF<n>,Flat|SQ8|PQ<m>|PQ<m>x4fs|RaBitQ, "
    "with PCA<d>, OPQ<m> or RR<d> before it if wished"
)  # fmt: skip


_SQ = r"SQ(?:4|6|8|fp16|bf16)"
_PQ = r"PQ\d{1,4}(?:x(?:[4-9]|1[0-2]))?(?:fs|fsr|np)?"
_RABITQ = r"RaBitQ(?:fs)?[1-9]?"
_FORM = re.compile(
    r"(?:(?:(?:PCAR?|RR)(?P<output>\d{1,5})|OPQ(?P<rotated>\d{1,5})(?:_(?P<rotated_output>\d{1,5}))?),)?"
    rf"(?:Flat|{_SQ}|RaBitQ[1-9]?|HNSW(?P<m>\d{{1,5}})(?:,(?:Flat|{_SQ}|{_PQ}))?"
    rf"|IVF(?P<lists>\d{{1,9}}),(?:Flat|{_SQ}|{_PQ}|{_RABITQ}))",
    re.ASCII,
)
_CODES = re.compile(r",PQ(\d+)")


def _checked_form(setting: str) -> re.Match[str]:
    """Only known forms reach FAISS: others, a quantizer made of indexes say, can cost any time and memory.

    PCAW is none of them: whitened vectors have other inner products.
    """
    form = _FORM.fullmatch(setting)
    if form is None:
        raise InvalidInput(f"index {setting!r} is of no form that can be served here. {_ADVICE}")
    for group, name, (least, most) in (("m", "HNSW<m>", HNSW_M), ("lists", "IVF<n>", IVF_LISTS)):
        if form[group] is not None and not least <= int(form[group]) <= most:
            raise InvalidInput(
                f"index {setting!r}: {name} has {int(form[group]):,}; {least:,} to {most:,} are allowed"
            )
    return form


def _check_dimensions(setting: str, form: re.Match[str], d: int) -> None:
    """What FAISS makes of other numbers fails or ends the process, some only when it is trained."""
    output = int(form["output"] or form["rotated_output"] or d)
    if not 1 <= output <= d:
        raise InvalidInput(
            f"index {setting!r} makes vectors of {output:,} dimensions from those of the encoder, which have"
            f" {d:,}; 1 to {d:,} are allowed"
        )
    codes = _CODES.search(setting)
    for name, m in (("OPQ<m>", form["rotated"]), ("PQ<m>", codes and codes[1])):
        if m is not None and (int(m) == 0 or output % int(m)):
            raise InvalidInput(
                f"index {setting!r}: {name} has {int(m):,}, which does not divide the dimension of its"
                f" vectors, {output:,}; choose a divisor"
            )


def new_index(factory: str, d: int) -> Any:
    """An empty, possibly untrained FAISS index over inner products. Raises RuntimeError for a bad string."""
    return faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)  # owned, already in its own class


def inner_index(index: Any) -> Any:
    """The index below vector transforms, in its own class."""
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def _is_supported(index: Any) -> bool:
    if isinstance(index, faiss.IndexPreTransform):
        chain = [faiss.downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size())]
        if not all(isinstance(transform, faiss.LinearTransform) for transform in chain):
            return False
    supported = (
        faiss.IndexFlat,
        faiss.IndexHNSW,
        faiss.IndexIVF,
        faiss.IndexScalarQuantizer,
        faiss.IndexRaBitQ,
    )
    return isinstance(inner_index(index), supported)


@lru_cache(maxsize=1024)
def _training_rows(setting: str, d: int) -> int:
    """How many rows the index wants for training; kept, because to know it an index must be made."""
    index = new_index(setting, d)
    if index.is_trained:
        return 0
    inner = inner_index(index)
    centroids = inner.nlist if isinstance(inner, faiss.IndexIVF) else 0
    return max(POINTS_PER_CENTROID * centroids, QUANTIZER_TRAINING_ROWS)
