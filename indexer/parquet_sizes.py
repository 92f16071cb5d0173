"""Sizes that a Parquet file states, read without the library, which some damage makes end the process.

The footer and the head of each page are Thrift structs in the compact protocol (its specification is in
apache/thrift); the numbers of their fields are those of parquet.thrift (apache/parquet-format).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import IO, Final, TypeVar

from core.errors import InvalidInput, TooLarge

MAGIC: Final = b"PAR1"
TAIL_BYTES: Final = 4 + len(MAGIC)  # the length of the footer, then the magic
MAX_FOOTER_BYTES: Final = 32 * 1024 * 1024
PAGE_HEAD_BYTES: Final = 64  # enough for what is read of it
MAX_DEPTH: Final = 32  # Parquet's own structs are less than ten deep

_ONE_BYTE, _I32, _I64, _BINARY, _LIST, _SET, _MAP, _STRUCT = 3, 5, 6, 8, 9, 10, 11, 12
_VARINTS = (4, _I32, _I64)
_FIXED_BYTES = {7: 8, 13: 16}  # double, uuid
_BOOLEANS = (1, 2)  # a field of one has its value in its head

Field = tuple[int, int]  # its number and kind
Value = TypeVar("Value")
_ROW_GROUPS, _COLUMNS, _COLUMN_METADATA = (4, _LIST), (1, _LIST), (3, _STRUCT)
_UNPACKED_SIZE, _DATA_AT, _DICTIONARY_AT = (6, _I64), (9, _I64), (11, _I64)  # of the metadata of a column
_PAGE_TYPE, _PAGE_SIZE, _DICTIONARY_PAGE = (1, _I32), (2, _I32), 2


class _Damaged(ValueError):
    """No Thrift struct, or not the one that belongs there."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in one row group: its bytes, unpacked, and the place of its first page in the file."""

    size: int
    start: int


def read_footer(file: IO[bytes]) -> bytes:
    """The footer as it is in the file. Raises InvalidInput for what does not end like Parquet, TooLarge."""
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC or length > size - TAIL_BYTES:
        raise InvalidInput(
            f"The file does not end like Parquet: found {tail!r}, expected the length of its footer and"
            f" {MAGIC!r}. Send it whole, and in the format that its name says"
        )
    if length > MAX_FOOTER_BYTES:
        raise TooLarge(
            f"The footer of the Parquet file has {length:,} bytes; the limit is {MAX_FOOTER_BYTES:,}. Write"
            " fewer, larger row groups"
        )
    file.seek(size - TAIL_BYTES - length)
    return file.read(length)


def column_chunks(footer: bytes) -> list[list[Chunk]]:
    """Of each row group its columns. Raises InvalidInput for a damaged footer."""
    try:
        return _row_groups(_Thrift(footer))
    except (_Damaged, IndexError):  # IndexError: it ends too early
        raise InvalidInput(
            "The footer of the Parquet file is damaged or encrypted; make the file again and send it whole"
        ) from None


def dictionary_bytes(file: IO[bytes], chunk: Chunk) -> int:
    """Bytes, unpacked, of the dictionary of a column: no cell taken from it is longer. 0 without one.

    Raises InvalidInput where no page begins.
    """
    file.seek(chunk.start)
    thrift = _Thrift(file.read(PAGE_HEAD_BYTES))
    found: dict[Field, int] = {}
    try:
        for field in thrift.fields():
            if field in (_PAGE_TYPE, _PAGE_SIZE):
                found[field] = thrift.integer()
            else:
                thrift.skip(field[1])
            if len(found) == 2:
                return found[_PAGE_SIZE] if found[_PAGE_TYPE] == _DICTIONARY_PAGE else 0
        raise _Damaged
    except (_Damaged, IndexError):
        raise InvalidInput(
            f"The Parquet file is damaged: byte {chunk.start:,} begins no page, as its footer says. Make the"
            " file again and send it whole"
        ) from None


def _row_groups(thrift: _Thrift) -> list[list[Chunk]]:
    def columns() -> list[Chunk]:
        return _field(thrift, _COLUMNS, lambda: [column() for _ in range(thrift.structs())])

    def column() -> Chunk:
        return _field(thrift, _COLUMN_METADATA, lambda: _chunk(thrift))

    return _field(thrift, _ROW_GROUPS, lambda: [columns() for _ in range(thrift.structs())])


def _chunk(thrift: _Thrift) -> Chunk:
    found = _integers(thrift, (_UNPACKED_SIZE, _DATA_AT, _DICTIONARY_AT))
    if min(found.values(), default=-1) < 0 or not found.keys() >= {_UNPACKED_SIZE, _DATA_AT}:
        raise _Damaged
    data_at = found[_DATA_AT]
    return Chunk(found[_UNPACKED_SIZE], min(data_at, found.get(_DICTIONARY_AT) or data_at))


def _field(thrift: _Thrift, wanted: Field, read: Callable[[], Value]) -> Value:
    """What `read` reads in the wanted field of the struct that begins here."""
    found = None
    for field in thrift.fields():
        if field == wanted:
            found = read()
        else:
            thrift.skip(field[1])
    if found is None:
        raise _Damaged
    return found


def _integers(thrift: _Thrift, wanted: Collection[Field]) -> dict[Field, int]:
    """Those of the wanted fields that the struct has which begins here."""
    found = {}
    for field in thrift.fields():
        if field in wanted:
            found[field] = thrift.integer()
        else:
            thrift.skip(field[1])
    return found


@dataclass(slots=True)
class _Thrift:
    """`data` read from `at` on; IndexError past its end."""

    data: bytes
    at: int = 0

    def fields(self) -> Iterator[Field]:
        """Number and kind of each field of a struct; its value is to be read before the next is asked for."""
        number = 0
        while (head := self._byte()) & 0x0F:
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self.integer()
            yield number, kind

    def structs(self) -> int:
        """How many structs the list has that begins here."""
        count, kind = self._list_head()
        if count and kind != _STRUCT:
            raise _Damaged
        return count

    def integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def skip(self, kind: int, depth: int = 0) -> None:
        """Passes over the value of a field."""
        if kind not in _BOOLEANS:
            self._skip(kind, depth)

    def _skip(self, kind: int, depth: int) -> None:
        """Passes over one value; outside of a field a boolean has a byte of its own."""
        if kind in _VARINTS:
            self._varint()
        elif kind == _BINARY:
            length = self._varint()
            self.at += length
        elif kind == _ONE_BYTE or kind in _BOOLEANS:
            self.at += 1
        elif kind in _FIXED_BYTES:
            self.at += _FIXED_BYTES[kind]
        else:
            self._skip_nested(kind, depth + 1)

    def _skip_nested(self, kind: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _Damaged
        if kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth)
            return
        if kind == _MAP:
            count = self._count(self._varint())
            both = self._byte() if count else 0
            kinds = [both >> 4, both & 0x0F]
        elif kind in (_LIST, _SET):
            count, inner = self._list_head()
            kinds = [inner]
        else:
            raise _Damaged
        for _ in range(count):
            for inner in kinds:
                self._skip(inner, depth)

    def _list_head(self) -> tuple[int, int]:
        """How many values, and of which kind."""
        head = self._byte()
        return self._count(head >> 4 if head >> 4 < 15 else self._varint()), head & 0x0F

    def _count(self, count: int) -> int:
        """Each value takes a byte or more, so that no more than are there can be stated."""
        if count > len(self.data) - self.at:
            raise _Damaged
        return count

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) >= 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise _Damaged
        return value | byte << shift
