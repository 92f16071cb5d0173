"""What is made of the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from cognate.settings import Settings, read_settings, unknown_variables
from core.errors import StartRefused


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://me:p%40ss@host:1/db?sslmode=require", "postgresql+psycopg://me:p%40ss@host:1/db?sslmode=require"),
        ("postgresql:///db?host=/run", "postgresql+psycopg:///db?host=/run"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db"),
        ("sqlite:////data/postgres.db", "sqlite:////data/postgres.db"),
        ("", ""),
    ],
)  # fmt: skip
def test_postgres_urls_may_leave_out_the_driver(
    given: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGNATE_DATABASE_URL", given)
    assert read_settings().database_url == used


@pytest.mark.parametrize("name", ["encoder_path", "reranker_path", "alive_file"])
def test_an_empty_path_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"COGNATE_{name.upper()}", "")
    assert getattr(read_settings(), name) is None


@pytest.mark.parametrize("keys", [",", " ", " , ,"])
def test_keys_that_are_none_refuse_the_start(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNATE_API_KEYS", keys)
    with pytest.raises(StartRefused, match=r"COGNATE_API_KEYS: it is set but holds no key"):
        read_settings()


def test_keys_that_no_header_can_send_refuse_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNATE_API_KEYS", "plain, schl\u00fcssel")
    with pytest.raises(StartRefused, match="key 2: it has characters beyond ASCII") as refused:
        read_settings()
    assert "schl" not in str(refused.value)


def test_keys_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, used in (("", ()), ("a, b,", ("a", "b"))):
        monkeypatch.setenv("COGNATE_API_KEYS", given)
        assert read_settings().keys == used


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", ()),
        ("*", ("*",)),
        (
            "https://App.example.com/, http://localhost:3000,",
            ("https://app.example.com", "http://localhost:3000"),
        ),
        ("https://a.example:443, http://[::1]:8080", ("https://a.example", "http://[::1]:8080")),
        ("chrome-extension://abcdef, http://a:443", ("chrome-extension://abcdef", "http://a:443")),
    ],
)
def test_origins_are_read_as_browsers_write_them(
    given: str, used: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGNATE_CORS_ORIGINS", given)
    assert read_settings().origins == used


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (",", "names no origin"),
        ("*, https://a.example", "leave the others out"),
        ("null", "'null' is no origin"),
        ("app.example.com", "'app.example.com' is no origin"),
        ("https://a.example/app", "is no origin"),
        ("https://*.example.com", "is no origin"),
        ("https://bücher.example", "in ASCII"),
    ],
)
def test_origins_that_no_browser_sends_refuse_the_start(
    given: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGNATE_CORS_ORIGINS", given)
    with pytest.raises(StartRefused, match="COGNATE_CORS_ORIGINS: ") as refused:
        read_settings()
    assert reason in str(refused.value)


@pytest.mark.parametrize("hashed", ["sha256:xyz", "sha256:ab", "plain, sha256:"])
def test_a_hash_that_is_none_refuses_the_start_before_anything_is_opened(
    hashed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGNATE_API_KEYS", hashed)
    with pytest.raises(StartRefused, match=r"COGNATE_API_KEYS: key \d: .* hex digest of 64") as refused:
        read_settings()
    assert hashed not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETENTION_DAYS", "1000000"),
        ("LEASE_S", "1e12"),
        ("BATCH_LIMIT_S", "inf"),
        ("SNAPSHOT_EVERY_S", "inf"),
        ("SWEEP_EVERY_S", "1e-300"),
        ("WAIT_LIMIT_S", "nan"),
        ("ZERO_SHOT_TEMPERATURE", "1e-320"),
    ],
)
def test_numbers_nothing_can_be_done_with_refuse_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"COGNATE_{name}", value)
    with pytest.raises(StartRefused, match=f"COGNATE_{name}: "):
        read_settings()


def test_a_file_of_settings_in_another_encoding_refuses_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_bytes("COGNATE_DEFAULT_CLASSIFIER=Größe".encode("latin-1"))
    with pytest.raises(StartRefused, match=r"\.env .* UTF-8"):
        read_settings()


def test_every_variable_that_is_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"COGNATE_{name.upper()}", raising=False)
    expected = read_settings()
    for name in Settings.model_fields:
        monkeypatch.setenv(f"COGNATE_{name.upper()}", "")
    assert read_settings() == expected


def test_names_are_read_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LOG_LEVEL", "debug"), ("PRECISION", "BF16"), ("LOG_FORMAT", "Json")):
        monkeypatch.setenv(f"COGNATE_{name}", value)
    settings = read_settings()
    assert (settings.log_level, settings.precision, settings.log_format) == ("DEBUG", "bf16", "json")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("API_KEYS", ",", "it is set but holds no key"),
        ("PORT", "http", "must be a whole number"),
        ("THREADS", "-1", "must be greater than or equal to 0"),
        ("BACKEND", "gpu", "must be 'openvino', 'torch' or 'cuda'"),
    ],
)
def test_a_refused_setting_is_told_without_the_words_of_the_validator(
    name: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"COGNATE_{name}", value)
    with pytest.raises(StartRefused) as refused:
        read_settings()
    assert str(refused.value).startswith(f"The settings cannot be used. COGNATE_{name}: {reason}")


def test_variables_that_nothing_reads_are_told_with_the_one_that_may_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("COGNATE_LEASES_S=5\nPOSTGRES_PASSWORD=x\nCOGNATE_VERSION=2\n")
    for name in ("THREDS", "thing", "threads", "API_KEY", "URL", "PORT_8000_TCP", "SERVICE_HOST"):
        monkeypatch.setenv(f"COGNATE_{name}", "1")
    assert unknown_variables() == [
        "COGNATE_LEASES_S is no setting and has no effect; is COGNATE_LEASE_S meant?",
        "COGNATE_THING is no setting and has no effect; docs/settings.md lists them.",
        "COGNATE_THREDS is no setting and has no effect; is COGNATE_THREADS meant?",
    ]
