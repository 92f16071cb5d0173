"""Starting, stopping and refusing to start, with real processes and the shipped model."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.server_process import ServerProcess

pytestmark = pytest.mark.integration

TEXTS = {
    "cats": "The cat sleeps on the warm windowsill.",
    "tax": "How to file an income tax return on time.",
    "bread": "Bake sourdough bread with a crisp crust.",
}


def fill(server: ServerProcess) -> None:
    server.http.put("/v1/collections/c", json={}).raise_for_status()
    documents = [{"id": name, "text": text} for name, text in TEXTS.items()]
    answer = server.http.post("/v1/collections/c/documents?wait=true", json={"documents": documents})
    assert answer.status_code == 200, answer.text


def best(server: ServerProcess, query: str) -> str:
    answer = server.http.post("/v1/collections/c/search", json={"query": query})
    return str(answer.json()["hits"][0]["id"])


def cognate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cognate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment or None)


def test_meaning_is_found_and_kept_over_a_restart_and_a_damaged_snapshot(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = ServerProcess(data)
    server.start()
    fill(server)
    assert best(server, "a pet dozing in the sun") == "cats"
    assert best(server, "money owed to the state") == "tax"
    assert server.stop() == 0
    manifests = list((data / "snapshots").rglob("manifest.json"))
    assert manifests, "a clean stop writes a snapshot"
    server.start()
    assert best(server, "a pet dozing in the sun") == "cats"
    server.kill()
    for file in (data / "snapshots").rglob("*"):
        if file.is_file() and file.name != "manifest.json":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    server.start()
    assert best(server, "making dough") == "bread"
    server.stop()


def test_a_second_server_on_one_data_folder_is_refused(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data")
    server.start()
    try:
        with pytest.raises(AssertionError, match="Another Cognate process uses the data folder"):
            ServerProcess(tmp_path / "data").start()
    finally:
        server.stop()


def test_a_data_folder_of_a_newer_schema_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert cognate("db", "upgrade", "--data-dir", str(tmp_path)).returncode == 0
    with sqlite3.connect(tmp_path / "cognate.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (("serve", "--port", "0"), ("db", "upgrade")):
        refused = cognate(*command, "--data-dir", str(tmp_path))
        assert refused.returncode == 1
        assert "9999" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_data_folder_of_another_encoder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.start()
    fill(server)
    server.stop()
    with sqlite3.connect(tmp_path / "cognate.db") as database:
        database.execute("UPDATE collections SET encoder_fingerprint = 'abcdef', encoder_id = 'e5'")
    refused = cognate("serve", "--port", "0", "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "holds vectors of encoder e5" in refused.stderr
    assert "COGNATE_ENCODER_PATH" in refused.stderr


def test_serving_beyond_loopback_without_keys_is_refused(tmp_path: Path) -> None:
    refused = cognate("serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "COGNATE_API_KEYS" in refused.stderr


def test_the_command_line_does_the_main_job(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in TEXTS.items()))
    server = ServerProcess(tmp_path / "data")
    server.start()
    try:
        where = ("--url", str(server.http.base_url))
        ingested = cognate("ingest", str(rows), "-c", "files", *where)
        assert ingested.returncode == 0, ingested.stderr
        assert "3 documents are searchable, 0 failed" in ingested.stdout
        found = json.loads(cognate("search", "feline nap", "-c", "files", "--json", *where).stdout)
        assert found["hits"][0]["id"] == "cats"
        classified = cognate("classify", "A recipe for rye bread", "-l", "food", "-l", "finance", *where)
        assert classified.stdout.startswith("food")
        assert "import" in cognate("jobs", *where).stdout
        missing = cognate("search", "x", "-c", "none", *where)
        assert (missing.returncode, "Traceback" in missing.stderr) == (1, False)
    finally:
        server.stop()


def test_without_a_server_the_command_line_says_how_to_start_one() -> None:
    refused = cognate("search", "x", "-c", "c", "--url", "http://127.0.0.1:9")
    assert refused.returncode == 1
    assert "cognate serve" in refused.stderr


def test_serving_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cognate.bootstrap import open_runtime;"
        "from cognate.settings import Settings\n"
        f"with open_runtime(Settings(data_dir=Path({str(tmp_path)!r}))) as services:\n"
        "    services.encoder.encode_queries(['x'])\n"
        "    assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
