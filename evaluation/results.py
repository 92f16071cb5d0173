"""What an evaluation gives: measures of data sets, with their values per item; kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InvalidInput

FORMAT = "cognate-eval/1"


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of one data set.

    `items` maps a query, pair or example to its share: their mean is `value`. It is empty where the number
    is no mean over items (macro-F1). `std` is the population standard deviation over the seeds of few-shot
    runs.
    """

    name: str
    value: float
    std: float | None = None
    items: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """All measures of one data set; `notes` say what was left out, and why."""

    data_set: str
    kind: str
    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one system: a model (`settings` say how it computed) or a server."""

    system: str
    settings: Mapping[str, str]
    results: tuple[Result, ...]


def require_place(path: Path) -> None:
    """Raises InvalidInput where no file can be written, before what it is to hold is measured."""
    if path.is_dir() or not path.resolve().parent.is_dir():
        found = "a folder" if path.is_dir() else f"no file: the folder {path.resolve().parent} does not exist"
        raise InvalidInput(f"{path} is {found}; name a file in a folder that exists.")


def write_report(report: Report, path: Path, **more: object) -> None:
    """One JSON object; `more` is added beside the report's own fields."""
    body = {"format": FORMAT, **asdict(report), **more}
    try:
        path.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}); name another file.") from None


def read_report(path: Path) -> Report:
    """A report as `write_report` wrote it. Raises InvalidInput."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["format"] != FORMAT:
            raise KeyError("format")
        results = tuple(_result(item) for item in body["results"])
        return Report(str(body["system"]), dict(body["settings"]), results)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path} is no report of an evaluation ({type(error).__name__}: {error}); expected a file of"
            f" format {FORMAT} as 'cognate eval --json FILE' writes it."
        ) from None


def _result(item: Mapping[str, Any]) -> Result:
    measures = tuple(
        Measure(m["name"], float(m["value"]), m["std"], {k: float(v) for k, v in m["items"].items()})
        for m in item["measures"]
    )
    return Result(item["data_set"], item["kind"], measures, tuple(item["notes"]), float(item["took_s"]))
