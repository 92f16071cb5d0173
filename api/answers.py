"""Internal types to the JSON of the contract. Plain dicts, written by orjson: searches are hot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

from api.quality_answers import search_defaults_body
from core.backup_types import Backup
from core.collections import CollectionOverview
from core.explain import Contribution, ExplainedPassage, Explanation
from core.filters import MAX_FIELD_BYTES, MAX_FIELDS
from core.index_types import Facet
from core.job_types import Job
from core.label_types import Classification
from core.search import Hit, SearchResult
from core.token_types import TokenField
from core.types import Document, Span

NAMED_INPUTS = 100
RATE_HOLDS_S = 120.0  # after the last batch; then nobody knows how fast the job goes


def json_response(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def truncation_headers(cut: Sequence[int]) -> dict[str, str]:
    """How many inputs were cut, and the first of them: servers and clients refuse long headers."""
    if not cut:
        return {}
    named = ",".join(map(str, cut[:NAMED_INPUTS]))
    return {"X-Truncated-Count": str(len(cut)), "X-Truncated-Inputs": named}


def collection_body(overview: CollectionOverview) -> dict[str, Any]:
    collection, counts, index = overview.collection, overview.counts, overview.index
    return {
        "name": collection.name,
        "description": collection.description,
        "encoder": {
            "id": collection.encoder.id,
            "fingerprint": collection.encoder.fingerprint,
            "dim": collection.encoder.dim,
        },
        "language": collection.settings.language,
        "chunking": {
            "max_tokens": collection.settings.max_tokens,
            "overlap_tokens": collection.settings.overlap_tokens,
        },
        "attributes": dict(collection.settings.attributes),
        "fields": dict(index.fields),
        "unindexed": dict(index.unindexed),
        "fields_beyond_limits": {
            "documents": index.beyond_limits,
            "max_fields": MAX_FIELDS,
            "max_name_bytes": MAX_FIELD_BYTES,
        },
        "search": search_defaults_body(collection.search),
        "documents": {
            "total": counts.total,
            "searchable": counts.searchable,
            "pending": counts.pending,
            "failed": counts.failed,
        },
        "updates_pending": counts.updates_pending,
        "passages": counts.passages,
        "index": {
            "kind": index.kind,
            "bytes": index.bytes,
            "recall_at_10": index.recall_at_10,
            "effort": index.effort,
            "is_below_recall_target": index.is_below_target,
            "built": index.built,
            "applied_seq": index.applied_seq,
            "seq": collection.seq,
        },
        "created_at": collection.created_at,
    }


def document_body(document: Document) -> dict[str, Any]:
    return {
        "id": document.external_id,
        "title": document.title,
        "text": document.text,
        "metadata": document.metadata,
        "state": document.state,
        "update_pending": document.is_update_pending,
        "reason": document.reason,
        "seq": document.seq,
        "job": document.job_id,
        "updated_at": document.updated_at,
    }


def job_body(job: Job) -> dict[str, Any]:
    rate = _rate_per_s(job)
    return {
        "id": job.id,
        "kind": job.kind,
        "collection": job.collection,
        "state": job.state,
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "rate_per_s": rate,
        "eta_s": _eta_s(job, rate),
        "seq": job.seq,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "fields": job.details.get("fields"),
        **{name: job.details[name] for name in ("backup", "classifier") if name in job.details},
        "errors": [{"id": error.id, "reason": error.reason} for error in job.errors],
    }


def backup_body(backup: Backup) -> dict[str, Any]:
    """A backup that cannot be read has its problem, and no collections."""
    return {
        "name": backup.name,
        "bytes": backup.bytes,
        "created_at": backup.created_at,
        "application": backup.application,
        "collections": [
            {
                "name": one.name,
                "seq": one.seq,
                "encoder": {
                    "id": one.encoder.id,
                    "fingerprint": one.encoder.fingerprint,
                    "dim": one.encoder.dim,
                },
                "documents": {
                    "total": one.documents.total,
                    "searchable": one.documents.searchable,
                    "pending": one.documents.pending,
                    "failed": one.documents.failed,
                },
                "passages": one.documents.passages,
            }
            for one in backup.collections
        ],
        "classifiers": [
            {"name": one.name, "examples": one.examples, "versions": one.versions}
            for one in backup.classifiers
        ],
        "problem": backup.problem,
    }


def _rate_per_s(job: Job) -> float | None:
    """Documents a second: of a job that runs lately, of one that is over on the whole; None if not known."""
    if job.finished_at is not None:
        seconds = (job.finished_at - (job.started_at or job.finished_at)).total_seconds()
        return round(job.done / seconds, 2) if job.done and seconds > 0 else None
    if job.rate_per_s is None or job.worked_at is None:
        return None
    silent_s = (datetime.now(UTC) - job.worked_at).total_seconds()
    return round(job.rate_per_s, 2) if silent_s <= RATE_HOLDS_S else None


def _eta_s(job: Job, rate: float | None) -> float | None:
    """Seconds left at the present rate; None while a file is still read, as its length is not known."""
    if job.state.is_final or not job.is_read or not rate:
        return None
    return round((job.total - job.done - job.failed) / rate, 1)


def search_body(result: SearchResult, total_ms: float) -> dict[str, Any]:
    body: dict[str, Any] = {
        "hits": [_hit_body(hit) for hit in result.hits],
        "took_ms": {
            "encode": round(result.encode_ms, 3),
            "search": round(result.search_ms, 3),
            "fetch": round(result.fetch_ms, 3),
            "total": round(total_ms, 3),
        },
        "seq": result.seq,
        "mode": result.mode,
        "truncated": result.is_truncated,
    }
    if result.rewrites is not None:
        body["rewrites"] = [{"text": one.text, "task": one.task} for one in result.rewrites]
    if result.rewrite_problem:
        body["rewrite_problem"] = result.rewrite_problem
    if result.facets:
        body["facets"] = {name: _facet_body(facet) for name, facet in result.facets.items()}
    return body


def _hit_body(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    body = {
        "id": passage.external_id,
        "score": hit.score,
        "title": passage.title,
        "passage": {"text": passage.text, "start": passage.span.start, "end": passage.span.end},
        "metadata": passage.metadata,
        "highlights": [span_body(span) for span in hit.highlights],
        "scores": _scores_body(hit),
    }
    if hit.by_wording:
        body["by_wording"] = [
            {"wording": i, "score": share.score, "rank": share.rank}
            for i, share in enumerate(hit.by_wording)
            if share is not None
        ]
    if hit.explanation is not None:
        body["explanation"] = explanation_body(hit.explanation)
    return body


def _facet_body(facet: Facet) -> dict[str, Any]:
    body: dict[str, Any] = {
        "values": [{"value": value, "count": count} for value, count in facet.values],
        "distinct": facet.distinct,
    }
    if facet.minimum is not None:
        body |= {"min": facet.minimum, "max": facet.maximum}
    return body


def component_scores_body(hit: Hit) -> dict[str, Any]:
    """Of a search hit: its score and rank in the search, and in the indexes."""
    return {"score": hit.score, "rank": hit.rank, **_scores_body(hit)}


def _scores_body(hit: Hit) -> dict[str, Any]:
    parts = {"dense": hit.dense, "lexical": hit.lexical, "rerank": hit.rerank}
    return {name: {"score": part.score, "rank": part.rank} for name, part in parts.items() if part}


def explained_body(explained: ExplainedPassage, with_matrix: bool) -> dict[str, Any]:
    span = explained.span
    body = explanation_body(explained.explanation)
    body["title"] = explained.passage.title
    body["passage"] = {"text": explained.passage.text, "start": span.start, "end": span.end}
    if with_matrix:
        body["matrix"] = explained.explanation.matrix.tolist()
    return body


def explanation_body(explanation: Explanation) -> dict[str, Any]:
    """Contributions of each list add up to the score; `sentence` is the one that carries most.

    `truncated`: the end of the query, the title or the text was not read.
    """
    of_text = [s for s in explanation.sentences if s.field is TokenField.TEXT]
    best = max(of_text, key=lambda sentence: sentence.contribution, default=None)
    return {
        "score": explanation.score,
        "tokens": [contribution_body(c) for c in explanation.tokens],
        "words": [contribution_body(c) for c in explanation.words],
        "sentences": [contribution_body(c) for c in explanation.sentences],
        "query_tokens": [contribution_body(c) for c in explanation.query_tokens],
        "sentence": None if best is None else contribution_body(best),
        "truncated": explanation.is_truncated,
    }


def contribution_body(contribution: Contribution) -> dict[str, Any]:
    return {
        "text": contribution.text,
        "field": contribution.field,
        "start": contribution.start,
        "end": contribution.end,
        "contribution": contribution.contribution,
    }


def span_body(span: Span) -> dict[str, int]:
    return {"start": span.start, "end": span.end}


def classification_body(result: Classification) -> dict[str, Any]:
    """`none`, where it was asked for, is the probability that no label fits."""
    is_none = result.none is not None and not result.labels
    body: dict[str, Any] = {
        "label": result.label,
        "labels": list(result.labels),
        "score": result.score,
        "scores": dict(result.scores),
        "abstained": is_none,
        "truncated": result.is_truncated,
    }
    if result.none is not None:
        body["none"] = result.none
    if is_none:
        body["reason"] = "none_of_these"
    return body
