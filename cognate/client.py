"""A thin HTTP client of the contract, for the command line and the demo."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from cognate.options import DEFAULT_URL
from core.errors import CognateError, InvalidInput, Unavailable

Item = TypeVar("Item")
Json = dict[str, Any]
TIMEOUT_S = 120.0
REWRITING_TIMEOUT_S = 1800.0
POLL_S = 0.2  # where it is not known when the work will be done
SHORTEST_POLL_S, LONGEST_POLL_S = 0.05, 0.25  # of a job at work, whose ETA can be far off
QUEUED_POLL_S = 1.0
POLL_ALL_S = 2.0
AWAY = (502, 503, 504)  # the server is not ready, or a proxy before it does not reach it
LONGEST_OUTAGE_S = 60.0  # of a server whose jobs are followed: it, or its database, starts again
OPEN_STATES = ("queued", "running")
MAX_JOBS = 1000  # that the server lists at once


class RequestFailed(CognateError):
    """The server refused; the message is its own."""


class Client:
    """Speaks to one server. Raises RequestFailed with the server's reason, Unavailable when none answers.

    It also raises Unavailable for a server that is not ready, and InvalidInput for what is no address or key.
    """

    def __init__(self, url: str, api_key: str = "") -> None:
        headers = {"Authorization": f"Bearer {checked_key(api_key)}"} if api_key else {}
        self._url = checked_url(url)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def create_collection(self, name: str) -> Json:
        return self._call("PUT", f"/v1/collections/{quoted(name)}", json={})

    def collection(self, name: str) -> Json:
        return self._call("GET", f"/v1/collections/{quoted(name)}")

    def delete_collection(self, name: str) -> None:
        self._call("DELETE", f"/v1/collections/{quoted(name)}")

    def add(self, collection: str, documents: Sequence[Json], wait: bool = False) -> Json:
        """The job of these documents, which are retried while the server says that it is overloaded."""
        path = f"/v1/collections/{quoted(collection)}/documents"
        while True:
            answer = self._send("POST", path, json={"documents": list(documents)}, params={"wait": wait})
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return dict(checked(answer)["job"])
            time.sleep(float(answer.headers.get("Retry-After", "1")))

    def upload(self, collection: str, path: Path, fields: dict[str, str]) -> Json:
        """The job of an import."""
        with path.open("rb") as file:
            answer = self._send(
                "POST",
                f"/v1/collections/{quoted(collection)}/import",
                files={"file": (path.name, file)},
                data=fields,
            )
        return dict(checked(answer)["job"])

    def search(self, collection: str, query: str, k: int, **options: Any) -> Json:
        body = {"query": query, "k": k, **options}
        return self._call("POST", f"/v1/collections/{quoted(collection)}/search", json=body)

    def quality(self, collection: str, modes: str, k: int, rewrite: bool) -> Json:
        given = {"modes": modes, "k": k, "rewrite": rewrite}
        self._be_patient()
        return self._call("GET", f"/v1/collections/{quoted(collection)}/quality", params=given)

    def tune(self, collection: str, is_applied: bool, folds: int, rewrite: bool) -> Json:
        body = {"apply": is_applied, "folds": folds, "rewrite": rewrite}
        self._be_patient()
        return self._call("POST", f"/v1/collections/{quoted(collection)}/tune", json=body)

    def topics(self, collection: str, k: int | None, terms: int) -> Json:
        """Without points of a map."""
        given = {"k": k, "terms": terms, "documents": 1, "points": 0}
        asked = {name: value for name, value in given.items() if value is not None}
        return self._call("GET", f"/v1/collections/{quoted(collection)}/topics", params=asked)

    def classify(
        self, texts: Sequence[str], labels: Sequence[str | Json], options: Mapping[str, Any] | None = None
    ) -> Json:
        """`options` are further fields of the request, such as `multi_label`."""
        body = {"texts": list(texts), "labels": list(labels), **(options or {})}
        return self._call("POST", "/v1/classify", json=body)

    def job(self, job_id: str) -> Json:
        return self._call("GET", f"/v1/jobs/{quoted(job_id)}")

    def jobs(self, limit: int = 100, state: str | None = None) -> list[Json]:
        """The newest, each with its first errors; only those in `state`."""
        params = {"limit": limit} | ({} if state is None else {"state": state})
        return list(self._call("GET", "/v1/jobs", params=params)["jobs"])

    def cancel(self, job_id: str) -> Json:
        return self._call("POST", f"/v1/jobs/{quoted(job_id)}/cancel")

    def create_backup(self, name: str | None, collection: str | None) -> Json:
        """The job that makes it."""
        body = {"name": name, "collection": collection}
        return dict(self._call("POST", "/v1/admin/backups", json=body)["job"])

    def backups(self) -> list[Json]:
        return list(self._call("GET", "/v1/admin/backups")["backups"])

    def backup(self, name: str) -> Json:
        return self._call("GET", f"/v1/admin/backups/{quoted(name)}")

    def restore_backup(
        self, name: str, collection: str | None = None, new_name: str | None = None, replace: bool = False
    ) -> Json:
        """The job that restores it."""
        body = {"collection": collection, "as": new_name, "replace": replace}
        return dict(self._call("POST", f"/v1/admin/backups/{quoted(name)}/restore", json=body)["job"])

    def verify_backup(self, name: str) -> Json:
        """The job that verifies it."""
        return dict(self._call("POST", f"/v1/admin/backups/{quoted(name)}/verify")["job"])

    def delete_backup(self, name: str) -> None:
        self._call("DELETE", f"/v1/admin/backups/{quoted(name)}")

    def follow(self, job_ids: Sequence[str], on_progress: Callable[[list[Json]], None]) -> list[Json]:
        """Polls the jobs until all are over; they are given to `on_progress` each time.

        Asking takes the processor from the work, which is done in the order of the jobs. So it asks for the
        last one, and now and then, with one question, for all. A server that is away is waited for.
        """
        known: dict[str, Json] = {}
        asked_all_s = -math.inf
        while job_ids:
            last = patiently(lambda: self.job(job_ids[-1]))
            if is_over(last) or time.monotonic() - asked_all_s >= POLL_ALL_S:
                asked_all_s = time.monotonic()
                patiently(lambda: self._look_at_all(job_ids, known))
            known[job_ids[-1]] = last
            jobs = [known[job_id] for job_id in job_ids]
            on_progress(jobs)
            if all(is_over(job) for job in jobs):
                return jobs
            is_behind = last["state"] == "queued" and len(jobs) > 1
            time.sleep(QUEUED_POLL_S if is_behind else pause_s(last))
        return []

    def _look_at_all(self, job_ids: Sequence[str], known: dict[str, Json]) -> None:
        """Brings `known` up to date; only the list of jobs is short, each alone tells its errors."""
        listed = {job["id"]: job for job in self.jobs(limit=MAX_JOBS)}
        for job_id in job_ids:
            job = known.get(job_id)
            if job is not None and is_over(job):
                continue
            found = listed.get(job_id)
            is_enough = found is not None and found["state"] in (*OPEN_STATES, "succeeded")
            known[job_id] = found if found is not None and is_enough else self.job(job_id)

    def _call(self, method: str, path: str, **options: Any) -> Json:
        return checked(self._send(method, path, **options))

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _be_patient(self) -> None:
        """Rewriting 200 queries takes minutes, and a collection may do so by default."""
        self._http.timeout = httpx.Timeout(REWRITING_TIMEOUT_S, connect=TIMEOUT_S)

    def _unreachable(self, error: httpx.TransportError) -> Unavailable:
        reason = ": ".join(filter(None, (type(error).__name__, str(error))))
        return Unavailable(
            f"No answer from {self._url} ({reason}). Start a server with 'cognate serve',"
            " or name another with --url or COGNATE_URL."
        )


def patiently(ask: Callable[[], Item]) -> Item:
    """The answer, which is asked for again while Unavailable is raised, for LONGEST_OUTAGE_S."""
    ends = time.monotonic() + LONGEST_OUTAGE_S
    while True:
        try:
            return ask()
        except Unavailable:
            if time.monotonic() >= ends:
                raise
        time.sleep(QUEUED_POLL_S)


def pause_s(job: Json) -> float:
    """How long to wait before asking again: short when little is left to do."""
    if job["eta_s"] is None:
        return POLL_S
    return max(SHORTEST_POLL_S, min(LONGEST_POLL_S, float(job["eta_s"]) / 2))


def is_over(job: Json) -> bool:
    return job["state"] not in OPEN_STATES


def quoted(name: str) -> str:
    """As one part of a path, whatever is in it; dots alone would name another path."""
    return quote(name, safe="").replace(".", "%2E")


def checked_url(url: str) -> str:
    """Raises InvalidInput unless it is the address of a server."""
    try:
        is_address = httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        is_address = False
    if not is_address:
        raise InvalidInput(f"{url!r} is no address of a server; give one like {DEFAULT_URL}.")
    return url


def checked_key(key: str) -> str:
    """Raises InvalidInput where no header can hold it."""
    if not (key.isascii() and key.isprintable()):
        raise InvalidInput("The API key has characters that no key has: line ends, or others beyond ASCII.")
    return key


def checked(answer: httpx.Response) -> Json:
    """The JSON of an answer.

    Raises Unavailable for the statuses of `AWAY`, RequestFailed for others and for what is no answer of ours.
    """
    try:
        body = answer.json() if answer.content else {}
    except ValueError:
        body = None
    if answer.is_success and isinstance(body, dict):
        return body
    failure = Unavailable if answer.status_code in AWAY else RequestFailed
    if isinstance(body, dict) and isinstance(body.get("detail"), str):
        raise failure(body["detail"])
    raise failure(
        f"{answer.url} answers HTTP {answer.status_code}, and not as Cognate does; is that its address?"
    )


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
