"""Annotated dependencies of the routes; async, because sync ones would each cost a thread hop."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.config import ApiConfig
from api.job_feed import JobFeed
from api.metrics import Metrics
from api.threads import Admins, Probes, Readers, Searchers, Writers
from core.services import Services


async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def _config(request: Request) -> ApiConfig:
    return cast(ApiConfig, request.app.state.config)


async def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


async def _writers(request: Request) -> Writers:
    return cast(Writers, request.app.state.writers)


async def _admins(request: Request) -> Admins:
    return cast(Admins, request.app.state.admins)


async def _readers(request: Request) -> Readers:
    return cast(Readers, request.app.state.readers)


async def _searchers(request: Request) -> Searchers:
    return cast(Searchers, request.app.state.searchers)


async def _probes(request: Request) -> Probes:
    return cast(Probes, request.app.state.probes)


async def _job_feed(request: Request) -> JobFeed:
    return cast(JobFeed, request.app.state.job_feed)


async def _request_id(request: Request) -> str:
    return cast(str, request.state.request_id)


async def _is_head(request: Request) -> bool:
    return cast(bool, request.state.is_head)


ServicesDep = Annotated[Services, Depends(_services)]
ConfigDep = Annotated[ApiConfig, Depends(_config)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
WritersDep = Annotated[Writers, Depends(_writers)]
AdminsDep = Annotated[Admins, Depends(_admins)]
ReadersDep = Annotated[Readers, Depends(_readers)]
SearchersDep = Annotated[Searchers, Depends(_searchers)]
ProbesDep = Annotated[Probes, Depends(_probes)]
JobFeedDep = Annotated[JobFeed, Depends(_job_feed)]
RequestIdDep = Annotated[str, Depends(_request_id)]
IsHeadDep = Annotated[bool, Depends(_is_head)]
