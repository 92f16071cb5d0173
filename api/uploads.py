"""Reads a multipart form with one file while it arrives, and streams the file into the store of uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from api.threads import Writers
from core.errors import InvalidInput, TooLarge
from core.ports.work import UploadStore, UploadWriter

BLOCK_BYTES: Final = 1 << 20
MAX_FIELD_BYTES: Final = 1 << 20
FILE_FIELD: Final = "file"


@dataclass(frozen=True, slots=True)
class StoredForm:
    """`name` of the file in the store, `filename` as the sender calls it, and the other fields."""

    name: str
    filename: str
    fields: dict[str, str]


@asynccontextmanager
async def stored_form(
    request: Request, known: Collection[str], store: UploadStore, writers: Writers
) -> AsyncIterator[StoredForm]:
    """The form, its file whole in the store; removed again when the body of the `with` raises.

    `known` are the fields a form may have beside the file. What is sent too much, wrongly, or not to its end
    leaves nothing in the store. Raises InvalidInput, TooLarge, StorageFull, Unavailable, HTTPException.
    """
    form = _Form(request.headers.get("content-type", ""), known)
    name = uuid4().hex
    writer = await writers.run(store.create, name)
    try:
        await _receive(request, form, writer, writers)
        await writers.run(writer.commit)
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await writers.run(writer.discard)
        if isinstance(error, ClientDisconnect):
            raise HTTPException(400, "The upload ended before its last byte; send it again.") from None
        raise
    try:
        yield StoredForm(name, form.filename, form.fields)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await writers.run(store.delete, name)
        raise


async def _receive(request: Request, form: _Form, writer: UploadWriter, writers: Writers) -> None:
    block = bytearray()
    async for piece in request.stream():
        block += form.feed(piece)
        if len(block) >= BLOCK_BYTES:
            await writers.run(writer.write, bytes(block))
            block.clear()
    form.finish()
    await writers.run(writer.write, bytes(block))


class _Form:
    """A parser that is fed the body piece by piece; fields are kept, the file's content is handed through."""

    def __init__(self, content_type: str, known: Collection[str]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data":
            raise HTTPException(
                415, f"Content-Type is {content_type[:100]!r}; send multipart/form-data with a field 'file'."
            )
        if not boundary:
            raise HTTPException(
                415,
                f"Content-Type is {content_type[:100]!r} without a boundary; send the one that parts the form"
                " (multipart/form-data; boundary=...). Clients set it themselves when they are left to.",
            )
        self.filename = ""
        self.fields: dict[str, str] = {}
        self._known = known
        self._content: list[bytes] = []
        self._header, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._field: str | None = None
        self._data = bytearray()
        self._has_file = self._is_whole = False
        self._parser = self._make_parser(boundary)

    def feed(self, body: bytes) -> bytes:
        """What `body` holds of the file."""
        self._content = []
        try:
            self._parser.write(body)
        except FormParserError as error:
            raise HTTPException(400, f"The body is no valid multipart form: {error}.") from None
        return b"".join(self._content)

    def finish(self) -> None:
        if not self._is_whole:
            raise HTTPException(400, "The multipart form ends before its last boundary; send it whole.")
        if not self._has_file:
            raise InvalidInput(f"The form has no file; send it as the field {FILE_FIELD!r}.")

    def _make_parser(self, boundary: bytes) -> MultipartParser:
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise HTTPException(400, f"The body is no valid multipart form: {error}.") from None

    def _on_part_begin(self) -> None:
        self._disposition, self._field = b"", None
        self._data.clear()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if b"name" not in options:
            raise HTTPException(400, "A part of the form has no name in its Content-Disposition header.")
        name = _decoded(options[b"name"])
        if name == FILE_FIELD:
            self._begin_file(options.get(b"filename"))
        elif name in self._known:
            self._field = name
        else:
            listed = ", ".join(sorted({FILE_FIELD, *self._known}))
            raise InvalidInput(f"Unknown form field {name[:80]!r}; known are {listed}.")

    def _begin_file(self, filename: bytes | None) -> None:
        if self._has_file:
            raise InvalidInput("The form holds more than one file; send each in a request of its own.")
        if filename is None:
            raise InvalidInput(
                f"The field {FILE_FIELD!r} has no filename; expected a file with a name (filename=, not"
                " filename*=, which forms have not)."
            )
        self.filename = Path(_decoded(filename)).name
        if not self.filename:
            raise InvalidInput("The uploaded file has no name; its ending tells the format.")
        self._has_file = True

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._content.append(data[start:end])
            return
        self._data += data[start:end]
        if len(self._data) > MAX_FIELD_BYTES:
            raise TooLarge(
                f"Form field {self._field!r} is longer than the limit of {MAX_FIELD_BYTES:,} bytes."
            )

    def _on_part_end(self) -> None:
        if self._field is not None:
            self.fields[self._field] = _decoded(bytes(self._data))

    def _on_end(self) -> None:
        self._is_whole = True


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
