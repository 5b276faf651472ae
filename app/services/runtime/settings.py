"""What can be set from outside: argument, then environment (``CLSL_…``), then default."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.services.runtime.logs import LogFormat
from db.models import Role


class Settings(BaseSettings):
    """Settings of one workspace. Made at the edge, passed down, never imported."""

    model_config = SettingsConfigDict(env_prefix="CLSL_", frozen=True, extra="forbid")

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("clsl", appauthor=False),
        description="Where the database, features, checkpoints and thumbnails live.",
    )
    database_url: str | None = Field(
        default=None, description="postgresql:// URL; default: SQLite in the data directory."
    )
    queue_url: str | None = Field(
        default=None,
        description="redis:// or postgresql:// URL; default: the database's server, else SQLite.",
    )
    backbone: str = Field(default="auto", description="auto, builtin, or any open_clip model name.")
    pretrained: str | None = Field(
        default=None, description="open_clip hub tag, or path of a local checkpoint."
    )
    device: str | None = Field(default=None, description="cpu, cuda, …; default: what is there.")
    retrain_after: int = Field(
        default=50, ge=0, description="Decisions that start a retraining; 0 turns it off."
    )
    keep_runs: int = Field(
        default=5,
        ge=0,
        description="Newest model runs of a dataset whose files are kept, besides the serving and "
        "the pinned one; 0 keeps all.",
    )
    max_pixels: int = Field(
        default=100_000_000, gt=0, description="Larger pictures are refused undecoded."
    )
    upload_megabytes: int = Field(
        default=1_024, gt=0, description="Largest file that may be uploaded."
    )
    unpacked_megabytes: int = Field(
        default=8_192, gt=0, description="Most that an uploaded archive may hold, unpacked."
    )
    unpacked_files: int = Field(
        default=200_000, gt=0, description="Most files that an uploaded archive may hold."
    )
    unpacked_ratio: int = Field(
        default=200, gt=0, description="How many times larger a file may become by unpacking."
    )
    thumbnail_megabytes: int = Field(
        default=2_000, ge=0, description="Most the kept thumbnails take up; 0 keeps none."
    )
    picture_megabytes: int = Field(
        default=5_000, ge=0, description="Most the pictures fetched from URLs take up on the disk."
    )
    fetch_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Longest that fetching a picture may take, for each of 3 tries.",
    )
    fetch_megabytes: int = Field(
        default=100, gt=0, description="Largest picture that is fetched from a URL."
    )
    allow_private_hosts: bool = Field(
        default=False,
        description="Whether pictures may be fetched from addresses that are not public.",
    )
    worker: bool = Field(default=True, description="Whether the app starts a worker.")
    token_seconds: int = Field(
        default=3600, gt=0, description="How long a review page's key to the routes is valid."
    )

    log_format: LogFormat = Field(
        default="text", description="text, or json: one object a line, for machines."
    )
    metrics_token: str | None = Field(
        default=None, description="What Prometheus must send; without one: this machine only."
    )
    requests_per_second: float = Field(
        default=40.0, ge=0, description="Most a person's page may send; 0 sets no limit."
    )
    default_role: Role | None = Field(
        default=None,
        description="Of people who are new: viewer, annotator, reviewer, admin. Default: admin, "
        "and viewer of those who sign in.",
    )
    sign_in: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="auto: people sign in once a provider is configured, or ever was.",
    )
    sign_in_hours: float = Field(
        default=24.0, gt=0, le=720, description="After how many a person signs in again."
    )
    admins: str = Field(
        default="",
        description="Verified e-mail addresses, with commas, whose people begin as administrators; "
        "without any the first person to sign in does.",
    )
    members: str = Field(
        default="",
        description="Verified e-mail addresses or @domains, with commas, of those who may sign in; "
        "without any everybody whom the provider signs in may.",
    )
    allowed_origins: str = Field(
        default="", description="Origins, with commas, under which a proxy shows the tool."
    )

    def newcomers_role(self, *, signed_in: bool) -> Role:
        """The role of people who are new, by whether it is proved who they are."""
        if self.default_role is not None:
            return self.default_role
        return Role.VIEWER if signed_in else Role.ADMIN

    @property
    def effective_database_url(self) -> str:
        """The URL in use."""
        return self.database_url or f"sqlite:///{self.data_dir / 'clsl.db'}"

    @property
    def effective_queue_url(self) -> str | None:
        """The queue's URL; None for a file in the data directory."""
        on_server = (self.database_url or "").startswith("postgresql")
        return self.queue_url or (self.database_url if on_server else None)
