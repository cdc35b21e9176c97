"""Every setting of Channelscribe, read once from the environment and the project's ``.env`` file."""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from channelscribe.alerts.quiet_hours import parse_quiet_hours
from channelscribe.errors import MisconfiguredError

PROJECT_ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Settings by their field name in capitals behind ``CHANNELSCRIBE_``; docs/settings.md is made from this class."""

    model_config = SettingsConfigDict(
        env_prefix="CHANNELSCRIBE_", env_file=PROJECT_ROOT / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    home: Path = Field(
        PROJECT_ROOT / ".channelscribe",
        description="Folder for everything that is written: environments, databases, data.",
    )
    data_root: Path | None = Field(None, description="Folder of the artifacts; `data` below the home folder if unset.")
    archive_dsn: str | None = Field(
        None, description="libpq connection string of the archive; the embedded Postgres if unset."
    )
    stages_python: Path | None = Field(
        None, description="Python of the stages' environment; the one that `make setup` made if unset."
    )
    channels: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Channels that the daily run polls, separated by commas: URLs, or @handles or ids of YouTube."
    )
    limit: int = Field(10, ge=1, le=1000, description="New videos taken of each channel in one run.")
    profile: str = Field("bundled", description="Profile that names the engine and model of every stage.")
    runtime: Literal["auto", "docker", "process"] = Field(
        "auto",
        description="What runs the stages: containers, or child processes. With `auto`, `channelscribe up` takes "
        "containers where a Docker engine answers and has the stages' image; without `up`, it means `process`.",
    )
    stages_image: str = Field(
        f"channelscribe/stages:{version('channelscribe')}", description="Image of the stages' containers."
    )
    models_root: Path | None = Field(
        None,
        description="Folder of the models, which containers can only read; `models` below the home folder if unset.",
    )
    gpus: Annotated[tuple[str, ...], NoDecode] = Field(
        ("0",),
        description="GPUs to work on, separated by commas: indexes or UUIDs of nvidia-smi. Batches take turns.",
    )
    batch_minutes: int = Field(
        0,
        ge=0,
        le=1440,
        description="About how many minutes of audio one container works on. 0: a video each; with a profile for a "
        "GPU ten hours at most, in a run of more than ten videos.",
    )
    cookies_file: Path | None = Field(
        None,
        description="Cookies for yt-dlp, in Netscape's format: for what a site shows only to an account. The file is "
        "read, never written.",
    )
    proxy: str | None = Field(
        None, description="Proxy for all that yt-dlp asks for, as http://, https:// or socks5://."
    )
    request_pause_s: float = Field(
        0.5, ge=0, le=60, description="Seconds between two requests of yt-dlp to a site while it lists or looks up."
    )
    download_kib_per_s: int = Field(0, ge=0, description="Most KiB a second that one download takes; 0 for no limit.")
    max_hours: float = Field(12, gt=0, le=1000, description="Longer items are not fetched.")
    max_download_gib: float = Field(8, gt=0, description="Larger downloads are not fetched.")
    min_free_gib: float = Field(2, ge=0, description="Room that a download must leave on the disk of the data root.")
    youtube_videos_per_hour: int = Field(
        300,
        ge=1,
        le=3600,
        description="Videos that YouTube is asked for in an hour, evenly spread over it: downloads and look-ups.",
    )
    pot_provider: str | None = Field(
        None, description="URL of a PO token provider for YouTube (bgutil-ytdlp-pot-provider), where one runs."
    )
    allow_private_addresses: bool = Field(
        False,
        description="Poll and fetch from loopback and private networks, too. The demo's own channel is always allowed.",
    )
    keep_days: int = Field(
        30, ge=1, le=36_500, description="Days after which the maintenance removes artifacts that nothing uses."
    )
    embedder_idle_s: float = Field(
        900,
        ge=1,
        description="Seconds without a search after which the running stack's embedder gives the text model's memory "
        "back.",
    )
    alert_targets: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Who is told what is wrong: ids of Airflow connections, separated by commas. See alerts.md.",
    )
    alert_quiet_hours: str | None = Field(
        None,
        description="When nobody is told, as 22:00-07:00 or 22:00-07:00 Europe/Berlin (UTC without a zone): what is "
        "wrong then is told afterwards.",
    )
    alert_run_minutes: int = Field(
        120, ge=1, le=10_080, description="Minutes after which a run that is still going is told of."
    )
    alert_slow_factor: float = Field(
        3.0, ge=1, le=1000, description="How many times its usual time a stage may take before it is told of."
    )
    alert_silent_days: int = Field(
        30, ge=1, le=3650, description="Days without anything new after which a followed channel is told of."
    )
    schedule: str = Field("0 4 * * *", description="Cron expression (UTC) of the daily run.")
    port: int = Field(8080, ge=1024, le=65535, description="Port of Airflow's UI and API, on loopback.")
    demo_port: int = Field(8765, ge=1024, le=65535, description="Port of the demo channel, on loopback.")

    @field_validator("channels", "gpus", "alert_targets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("schedule")
    @classmethod
    def _looks_like_cron(cls, value: str) -> str:
        if not value.startswith("@") and len(value.split()) != 5:
            raise ValueError("give five fields, such as 0 4 * * *, or @daily")
        return value

    @field_validator("alert_quiet_hours")
    @classmethod
    def _is_a_span_of_hours(cls, value: str | None) -> str | None:
        if value is not None:
            parse_quiet_hours(value)
        return value

    @field_validator("gpus")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("give one at least, such as 0")
        return value

    @field_validator("home", "data_root", "models_root", "stages_python", "cookies_file", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        # Not resolved: a virtual environment's python is a link that must be called by its own name.
        return value.expanduser().absolute() if value else None

    @property
    def data_dir(self) -> Path:
        """Folder of the artifacts."""
        return self.data_root or self.home / "data"

    @property
    def models_dir(self) -> Path:
        """Folder of the models."""
        return self.models_root or self.home / "models"

    @property
    def stages_interpreter(self) -> Path:
        """Python of the stages' environment."""
        return self.stages_python or self.home / "venv" / "stages" / "bin" / "python"

    @property
    def embedder_socket(self) -> Path:
        """Unix socket of the running stack's embedder, in a folder that is closed to others."""
        return self.home / "run" / "embedder" / "socket"

    @property
    def postgres_dir(self) -> Path:
        """Data folder of the embedded Postgres."""
        return self.home / "postgres"


@cache
def get_settings() -> Settings:
    """Read the settings once per process.

    Raises:
        MisconfiguredError: a setting has a value that is not allowed.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "CHANNELSCRIBE_" + str(first["loc"][0]).upper()
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise MisconfiguredError(f"{name}={first['input']!r} is not allowed: {reason}.") from None
