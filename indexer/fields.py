"""Which column holds the id, the text and the title of a document: as told, else guessed from a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.errors import InvalidInput
from core.job_types import ImportFields, ImportPlan

ID_NAMES = ("id", "_id", "doc_id", "document_id", "external_id", "uuid", "guid", "key", "pk", "docid")
TEXT_NAMES = (
    "text", "body", "content", "contents", "document", "passage", "description", "abstract", "summary",
    "message", "review", "comment", "article", "question", "plot", "overview", "review_text", "full_text",
)  # fmt: skip
TITLE_NAMES = ("title", "name", "headline", "heading", "subject", "product_name", "product_title")
SHORTEST_TEXT = 20
METADATA = "metadata_fields"


def plan_fields(
    sample: Sequence[Mapping[str, object]], columns: Sequence[str], fields: ImportFields
) -> ImportPlan:
    """The columns to use; `guessed` of the plan names what `fields` left open and was found by guessing.

    Without an id column rows are numbered. Raises InvalidInput, naming the columns found, for a named column
    that does not exist, and when no column looks like text.
    """
    named = [fields.id_field, fields.text_field, fields.title_field, *(fields.metadata_fields or ())]
    _refuse_unknown([name for name in named if name is not None], columns)
    taken = set(named)
    free = [column for column in columns if column not in taken]
    id_field = fields.id_field or _by_name(ID_NAMES, free)
    free = [column for column in free if column != id_field]
    title_field = fields.title_field or _by_name(TITLE_NAMES, free)
    text_field = fields.text_field or _by_name(TEXT_NAMES, free) or _longest(sample, free)
    if text_field is None and len(columns) == 1:
        text_field = columns[0]
    if text_field is None:
        raise InvalidInput(
            f"No column looks like the text; found the columns {_listed(columns)}. Name one as text_field"
        )
    if title_field == text_field and fields.title_field is None:
        title_field = None
    used = {id_field, text_field, title_field}
    metadata = tuple(dict.fromkeys(fields.metadata_fields or ()))
    if fields.metadata_fields is None:
        metadata = tuple(column for column in columns if column not in used)
    plan = ImportPlan(id_field, text_field, title_field, metadata, ())
    return _with_guesses(plan, fields)


def _with_guesses(plan: ImportPlan, fields: ImportFields) -> ImportPlan:
    roles = ("id_field", "text_field", "title_field", METADATA)
    guessed = tuple(
        role for role in roles if getattr(fields, role) is None and getattr(plan, role) is not None
    )
    return ImportPlan(plan.id_field, plan.text_field, plan.title_field, plan.metadata_fields, guessed)


def _refuse_unknown(named: Sequence[str], columns: Sequence[str]) -> None:
    known = set(columns)
    unknown = next((name for name in named if name not in known), None)
    if unknown is not None:
        raise InvalidInput(f"Column {unknown!r} is not in the file; found the columns {_listed(columns)}")


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column) for column in columns[:30])
    return f"{shown}, and {len(columns) - 30} more" if len(columns) > 30 else shown or "(none)"


def _by_name(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The first of `names` that is a column, whatever its case, spaces and dashes."""
    known = {
        column.strip().lower().replace(" ", "_").replace("-", "_"): column for column in reversed(columns)
    }
    return next((known[name] for name in names if name in known), None)


def _longest(sample: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str | None:
    """The column with the longest text on average, if that is long enough to be one."""
    lengths = {column: _mean_length(sample, column) for column in columns}
    best = max(lengths, key=lambda column: lengths[column], default=None)
    return best if best is not None and lengths[best] >= SHORTEST_TEXT else None


def _mean_length(sample: Sequence[Mapping[str, object]], column: str) -> float:
    texts = [value for row in sample if isinstance(value := row.get(column), str)]
    return sum(map(len, texts)) / len(sample) if texts else 0.0
