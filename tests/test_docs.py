"""The docs say what the code does: every setting, every route, every command of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from api.app import MODULES
from cognate.settings import Settings

ROOT = Path(__file__).parent.parent


def settings_table() -> str:
    """The table of docs/settings.md as it must be."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = getattr(default, "get_secret_value", lambda value=default: value)()
        shown = "" if shown in (None, "") else f"`{shown}`"
        rows.append(f"| `COGNATE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows)


def test_every_setting_is_documented_with_its_default() -> None:
    assert settings_table() in (ROOT / "docs/settings.md").read_text(), settings_table()


@pytest.mark.parametrize("module", MODULES)
def test_every_route_is_documented(module: object) -> None:
    text = (ROOT / "docs/api.md").read_text()
    routes = [route for route in module.router.routes if isinstance(route, APIRoute)]  # type: ignore[attr-defined]  # a module
    assert routes
    for route in routes:
        for method in route.methods or ():
            path = route.path_format.replace(":path", "")
            assert f"`{method} {path}`" in text, f"{method} {path} is not in docs/api.md"


def test_the_openapi_document_can_be_made(tmp_path: Path) -> None:
    from api.app import create_app
    from api.config import ApiConfig

    app = create_app(services=_NoServices(), config=ApiConfig("1"))  # type: ignore[arg-type]  # not called
    with TestClient(app) as client:
        paths = client.get("/openapi.json").json()["paths"]
    assert "/v1/collections/{name}/search" in paths


class _NoServices:
    jobs = metrics = None


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?m)(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_every_link_between_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
