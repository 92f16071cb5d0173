"""The app factory: routes, error table and middleware around given services."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import middleware, openapi, problems
from api.config import ApiConfig
from api.job_feed import JobFeed
from api.metrics import Metrics
from api.routes import (
    backups,
    classifiers,
    classify,
    classify_dialects,
    collections,
    documents,
    explain,
    jobs,
    labelling,
    openai,
    operations,
    quality,
    rerank,
    rewrite,
    search,
    tei,
    topics,
)
from api.search_lane import SearchLane
from api.threads import Admins, Probes, Readers, Searchers, Writers
from core.services import Services

# Routes are tried in order, and search is the one called most.
MODULES = (
    search,
    classify,
    collections,
    documents,
    jobs,
    explain,
    rewrite,
    quality,
    topics,
    openai,
    tei,
    rerank,
    classify_dialects,
    classifiers,
    labelling,
    operations,
    backups,
)


def create_app(services: Services, config: ApiConfig) -> FastAPI:
    """An ASGI app; the caller owns the services and stops them."""
    # The pages of documentation bring their scripts: hosts without internet have them too.
    app = FastAPIOffline(
        static_url=middleware.DOCS_ASSETS,
        title="Cognate",
        version=config.version,
        description="Semantic search and classification. Errors are problem+json (RFC 9457), of the dialects'"
        " routes in their own shapes.",
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.services = services
    app.state.config = config
    app.state.metrics = Metrics(services.metrics)
    app.state.writers = Writers()
    app.state.admins = Admins()
    app.state.readers = Readers()
    app.state.searchers = Searchers()
    app.state.probes = Probes()
    app.state.job_feed = JobFeed(services.jobs, app.state.writers)
    problems.install(app)
    for module in MODULES:
        app.include_router(module.router)
    lane = SearchLane(services, app.state.metrics, app.state.searchers, app.router)
    app.router.routes.insert(0, lane)
    openapi.install(app, middleware.OPEN_PATHS, bool(config.key_hashes))
    middleware.install(app, config, app.state.metrics)
    return app
