"""All settings, in one class: `COGNATE_*` environment variables or a `.env` file, read only here."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.config import stored_digest
from api.field_errors import explain_fields
from core.errors import StartRefused

PREFIX, ENV_FILE = "COGNATE_", ".env"
READ_ELSEWHERE = {f"{PREFIX}{name}" for name in ("URL", "API_KEY", "VERSION", "EXTRAS")}  # clients, compose
SERVICE_LINK = re.compile(rf"{PREFIX}(SERVICE|PORT)_")  # Kubernetes gives them where a service is `cognate`
POSTGRES_SCHEME = "postgresql+psycopg"  # as SQLAlchemy names the driver that is installed
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
HOUR_S, DAY_S = 3600, 86_400
ANY_ORIGIN = "*"
ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?")
DEFAULT_PORTS = {"http": "80", "https": "443"}


class Backend(StrEnum):
    OPENVINO = "openvino"
    TORCH = "torch"
    CUDA = "cuda"


class Precision(StrEnum):
    INT8 = "int8"
    BF16 = "bf16"
    F32 = "f32"


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Settings(BaseSettings):
    """Frozen after reading. Sizes in bytes, times in seconds. A variable that is empty counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    data_dir: Path = Field(
        default=Path("cognate-data"), description="Folder of database, snapshots, uploads and backups."
    )
    upload_url: str = Field(
        default="",
        description="fsspec URL where uploads wait for their import, such as `s3://bucket/prefix`;"
        " empty = `uploads` in the data folder.",
    )
    backup_url: str = Field(
        default="",
        description="fsspec URL where backups are kept, such as `s3://bucket/prefix`; empty = `backups` in"
        " the data folder.",
    )
    database_url: str = Field(
        default="",
        description="`postgresql://user:password@host/database`; empty = SQLite in the data folder.",
    )
    redis_url: str = Field(
        default="",
        description="`redis://:password@host:6379/0`: tasks go to workers; empty = this process does them.",
    )
    host: str = Field(
        default="127.0.0.1", description="Address to bind; beyond loopback API keys are needed."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to bind; 0 = any free one.")
    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="Accepted keys, in ASCII, separated by commas, plain or as sha256:<hex digest>.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins of web pages whose scripts may call the API, such as `https://app.example.com`,"
        " separated by commas; `*` = any, with API keys only.",
    )
    encoder_path: Path | None = Field(default=None, description="Model folder; empty = the shipped model.")
    reranker_path: Path | None = Field(
        default=None,
        description="Cross-encoder folder that reranks; empty = the encoder's similarities do.",
    )
    vector_reader_path: Path | None = Field(
        default=None,
        description="Vector reader that names topics; empty = the shipped one, where it fits the encoder.",
    )
    generator_path: Path | None = Field(
        default=None, description="Generator folder for rewrites and explanations; empty = the shipped one."
    )
    max_waiting_generations: int = Field(
        default=16,
        ge=0,
        le=1000,
        description="Calls that may wait for the generator before others are refused with 429.",
    )
    backend: Backend = Field(default=Backend.OPENVINO, description="What computes encoder and reranker.")
    precision: Precision = Field(default=Precision.INT8, description="Arithmetic of the OpenVINO backend.")
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Encoder threads; 0 = all cores of the process or container.",
    )
    ingest_workers: int = Field(default=2, ge=1, le=64, description="Threads that feed the encoder.")
    worker_threads: int = Field(
        default=4, ge=2, le=64, description="Task threads of `cognate worker`; all feed one encoder."
    )
    lease_s: float = Field(
        default=60.0,
        ge=1,
        le=DAY_S,
        description="Seconds after which the batch of a worker that died goes to another.",
    )
    batch_limit_s: float = Field(
        default=900.0,
        gt=0,
        le=DAY_S,
        description="A worker with a batch that takes longer is stuck: it ends itself.",
    )
    sweep_every_s: float = Field(
        default=10.0,
        ge=0.1,
        le=DAY_S,
        description="How often the scheduler has tasks queued that nobody works on.",
    )
    snapshot_every_s: float = Field(
        default=60.0,
        ge=0.1,
        le=30 * DAY_S,
        description="How often an index that changed is written to the data folder.",
    )
    recall_target: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Recall@10 against exact search that an index must have; one with less is searched with"
        " more effort.",
    )
    alive_file: Path | None = Field(
        default=None, description="File that `worker` and `scheduler` touch every 5 s while they are well."
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port where `worker` and `scheduler` serve `/metrics` without a key; 0 = none.",
    )
    max_queued_batches: int = Field(
        default=10_000, ge=1, description="Batches that may wait before uploads are refused with 429."
    )
    max_body_bytes: int = Field(default=64 * 1024**2, ge=1024, description="Largest JSON body.")
    max_upload_bytes: int = Field(
        default=2 * 1024**3, ge=1024, description="Largest import file; of packed Parquet also unpacked."
    )
    max_text_bytes: int = Field(default=1024**2, ge=1, description="Largest text of one document.")
    wait_limit_s: float = Field(default=30.0, gt=0, le=HOUR_S, description="Longest `wait=true`.")
    retention_days: float = Field(
        default=7.0,
        gt=0,
        le=36_500,
        description="Days for which finished jobs and traces of deleted documents are kept.",
    )
    zero_shot_temperature: float = Field(
        default=0.057, ge=0.001, le=100, description="Softmax temperature of zero-shot classification."
    )
    default_classifier: str = Field(
        default="",
        description="Classifier of `/predict` and `/classify` requests that name none; empty = the only one"
        " there is.",
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO, description="Level of the log: DEBUG, INFO, WARNING or ERROR."
    )
    log_format: LogFormat = Field(
        default=LogFormat.CONSOLE, description="Lines for people or JSON for machines."
    )

    @field_validator("database_url")
    @classmethod
    def _name_the_driver(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        return POSTGRES_SCHEME + separator + rest if scheme in ("postgres", "postgresql") else url

    @field_validator("backend", "precision", "log_level", "log_format", mode="before")
    @classmethod
    def _read_any_case(cls, value: object, about: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        return value.upper() if about.field_name == "log_level" else value.lower()

    @field_validator("api_keys")
    @classmethod
    def _need_a_key(cls, keys: SecretStr) -> SecretStr:
        if keys.get_secret_value() and not _split(keys):
            raise ValueError("it is set but holds no key; separate keys by commas, or leave it out")
        for number, key in enumerate(_split(keys), start=1):
            if not (key.isascii() and key.isprintable()):
                raise ValueError(f"key {number}: it has characters beyond ASCII, which not all clients send")
            try:
                stored_digest(key)
            except ValueError:
                reason = f"key {number}: after 'sha256:' a hex digest of 64 digits is expected"
                raise ValueError(reason) from None
        return keys

    @field_validator("cors_origins")
    @classmethod
    def _read_origins(cls, listed: str) -> str:
        """As browsers write them: in lower case, without the port of the scheme."""
        given = [one.strip() for one in listed.split(",") if one.strip()]
        if listed and not given:
            raise ValueError("it is set but names no origin; separate origins by commas, or leave it out")
        if ANY_ORIGIN in given and len(given) > 1:
            raise ValueError("* stands for any origin; leave the others out, or name them without it")
        return ",".join(one if one == ANY_ORIGIN else _origin(one) for one in given)

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(one for one in self.cors_origins.split(",") if one)

    @property
    def keys(self) -> tuple[str, ...]:
        return _split(self.api_keys)

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK_HOSTS


def _origin(given: str) -> str:
    found = ORIGIN.fullmatch(given.lower())
    if found is None:
        raise ValueError(
            f"{given[:200]!r} is no origin; expected scheme, host and port without a path, in ASCII, as"
            " browsers send it: https://app.example.com or http://localhost:3000"
        )
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" if port in (None, DEFAULT_PORTS.get(scheme)) else f"{scheme}://{host}:{port}"


def _split(keys: SecretStr) -> tuple[str, ...]:
    return tuple(key.strip() for key in keys.get_secret_value().split(",") if key.strip())


def unknown_variables() -> list[str]:
    """A sentence for each `COGNATE_*` variable that nothing reads, of the environment or `.env`."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | READ_ELSEWHERE
    given = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE))}
    return [
        f"{name} is no setting and has no effect; {_nearest(name, known)}"
        for name in sorted(given - known)
        if name.startswith(PREFIX) and not SERVICE_LINK.match(name)
    ]


def _nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    return f"is {near[0]} meant?" if near else "docs/settings.md lists them."


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` that are not None win. Raises StartRefused."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks the values
    except UnicodeDecodeError as error:
        raise StartRefused(
            f"The file .env of this folder is not in UTF-8: {error}. Save it as UTF-8."
        ) from None
    except ValidationError as error:
        faults = explain_fields(error.errors(), body=None)
        reasons = "; ".join(f"COGNATE_{fault['field'].upper()}: {fault['reason']}" for fault in faults)
        raise StartRefused(f"The settings cannot be used. {reasons}") from None
