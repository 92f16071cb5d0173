"""Judgements, measured quality and tuning as the JSON of the contract."""

from __future__ import annotations

from typing import Any

from core.fusion import Fusion
from core.judgement_types import JudgedPage, JudgementCounts
from core.quality import ModeQuality, QualityReport
from core.search_defaults import fusion_of
from core.search_settings import Setting
from core.tune import Fold, TuneReport
from core.types import SearchDefaults


def search_defaults_body(search: SearchDefaults) -> dict[str, Any]:
    """What is set, in the shape in which it is sent."""
    fusion = {"method": search.fusion_method, "dense_weight": search.dense_weight}
    body = {
        "mode": search.mode,
        "fusion": _set(fusion) or None,
        "rerank": search.rerank,
        "rewrite": search.rewrite,
    }
    return _set(body)


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def counts_body(counts: JudgementCounts) -> dict[str, Any]:
    return {
        "queries": counts.queries,
        "judgements": counts.judgements,
        "measurable": counts.measurable,
        "not_found": {"documents": counts.not_found, "examples": list(counts.examples)},
    }


def judged_body(page: JudgedPage) -> dict[str, Any]:
    return {
        "items": [
            {
                "query": query.text,
                "relevant": [{"id": id_, "relevance": grade} for id_, grade in query.relevance.items()],
            }
            for query in page.queries
        ],
        "next": page.following,
    }


def quality_body(report: QualityReport) -> dict[str, Any]:
    collection, counts = report.collection, report.counts
    is_sample = report.measured < counts.measurable
    return {
        "collection": collection.name,
        "seq": report.seq,
        "k": report.k,
        "queries": {
            "judged": counts.queries,
            "measurable": counts.measurable,
            "without_relevant": counts.queries - counts.measurable,
            "measured": report.measured,
        },
        "sample": {"seed": report.seed} if is_sample else None,
        "not_found": {"documents": counts.not_found, "examples": list(counts.examples)},
        "settings": {
            "encoder": collection.encoder.id,
            "index": report.index_kind,
            "fusion": _fusion_body(fusion_of(collection.search)),
            "search": search_defaults_body(collection.search),
        },
        "best": report.best,
        "modes": {quality.mode: _mode_body(quality) for quality in report.modes},
        "took_ms": round(report.took_s * 1000, 1),
    }


def _mode_body(quality: ModeQuality) -> dict[str, Any]:
    body: dict[str, Any] = {**quality.measures, "p": quality.p}
    if quality.worst:
        body["worst"] = [
            {"query": w.query, "value": w.value, "relevant": list(w.relevant), "found": list(w.found)}
            for w in quality.worst
        ]
    return body


def tune_body(report: TuneReport) -> dict[str, Any]:
    return {
        "collection": report.collection.name,
        "measure": report.measure,
        "queries": report.queries,
        "chosen": {**_setting_body(report.chosen), "out_of_fold": report.value},
        "present": {**_setting_body(report.present), "out_of_fold": report.present_value},
        "p": report.p,
        "better": report.is_better,
        "applied": report.is_applied,
        "search": search_defaults_body(report.collection.search),
        "folds": [_fold_body(fold) for fold in report.folds],
        "settings": [{**_setting_body(setting), "value": value} for setting, value in report.settings],
        "took_ms": round(report.took_s * 1000, 1),
    }


def _fold_body(fold: Fold) -> dict[str, Any]:
    return {
        "queries": fold.queries,
        "chosen": _setting_body(fold.chosen),
        "value": fold.value,
        "present": fold.present,
    }


def _setting_body(setting: Setting) -> dict[str, Any]:
    body: dict[str, Any] = {"mode": setting.mode}
    if setting.fusion is not None:
        body["fusion"] = _fusion_body(setting.fusion)
    if setting.is_rewritten:
        body["rewrite"] = True
    return body


def _fusion_body(fusion: Fusion) -> dict[str, Any]:
    """Reciprocal ranks have no weight."""
    return _set(
        {
            "method": fusion.method,
            "dense_weight": fusion.dense_weight if fusion.method == "convex" else None,
        }
    )
