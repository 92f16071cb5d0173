"""Which of several requests of one call an error is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.errors import CognateError, InvalidInput, NotFound


@contextmanager
def blaming(item: int) -> Iterator[None]:
    """What the block finds wrong with a request is wrong with the one at place `item`, counted from 0."""
    try:
        yield
    except (InvalidInput, NotFound) as error:
        error.item = item
        raise


@contextmanager
def placed(places: Sequence[int]) -> Iterator[None]:
    """The block works on some of the requests only: `places` says where each of them stands among all."""
    try:
        yield
    except CognateError as error:
        if error.item is not None:
            error.item = places[error.item]
        raise


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Errors of the block say which item of the list `field` of the call they are about."""
    try:
        yield
    except (InvalidInput, NotFound) as error:
        if error.item is None:
            raise
        told = f"{field}[{error.item}]: {error}"
        if isinstance(error, NotFound):
            raise NotFound(told) from None
        errors: list[dict[str, object]] = [{"field": f"{field}.{error.item}", "reason": str(error)}]
        raise InvalidInput(told, error.errors or errors) from None
