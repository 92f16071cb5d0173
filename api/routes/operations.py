"""Routes for those who run the service: health, version, metrics."""

from __future__ import annotations

import platform

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse

from api.answers import json_response
from api.deps import ConfigDep, MetricsDep, ProbesDep, ServicesDep
from api.json_body import StrictRoute
from core.services import Services

router = APIRouter(tags=["operations"], route_class=StrictRoute)


@router.get("/health/live")
async def live() -> Response:
    return json_response({"status": "alive"})


@router.get("/health/ready", responses={503: {"description": "Not ready; `checks` says why."}})
async def ready(services: ServicesDep, probes: ProbesDep) -> Response:
    return await probes.run(_readiness, services)


@router.get("/health", responses={503: {"description": "Not ready; `checks` says why."}})
async def health(services: ServicesDep, probes: ProbesDep) -> Response:
    """As `/health/ready`, where probes of text-embeddings-inference and others look for it."""
    return await probes.run(_readiness, services)


def _readiness(services: Services) -> Response:
    checks = dict(services.checks())
    status = "not ready" if checks else "ready"
    body = {"status": status, "checks": checks, "warnings": dict(services.warnings())}
    return json_response(body, 503 if checks else 200)


@router.get("/version")
async def version(services: ServicesDep, config: ConfigDep) -> Response:
    encoder = services.encoder.info
    return json_response(
        {
            "version": config.version,
            "api": "v1",
            "python": platform.python_version(),
            "encoder": {"id": encoder.id, "fingerprint": encoder.fingerprint, "dim": encoder.dim},
        }
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(metrics: MetricsDep, probes: ProbesDep) -> Response:
    return Response(await probes.run(metrics.render), media_type=CONTENT_TYPE_LATEST)
