"""Settings: one frozen object from flags, then environment `NTT_*`, then `ntt.toml` in the home."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ntt.errors import UsageError
from ntt.model import Route


class UnreadableSettings(UsageError):
    """The home may not be entered, or its settings not be read."""


def default_home() -> Path:
    """`/var/lib/ntt` as root, else `$XDG_DATA_HOME/ntt` (`~/.local/share/ntt`)."""
    if os.geteuid() == 0:
        return Path("/var/lib/ntt")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "ntt"


class Settings(BaseSettings):
    """Where things are and how much is taken; folders may each lie on another file system."""

    model_config = SettingsConfigDict(env_prefix="NTT_", frozen=True, extra="forbid")

    home: Path = Field(default_factory=default_home)
    database_url: str | None = None  # None: the embedded server in the home
    store: Path | None = None
    archives: Path | None = None
    images: Path | None = None  # of media that NTT reads itself
    keep_images: bool = False  # also of watched media whose archive is proven
    workers: int = Field(default_factory=lambda: max(1, min(8, os.cpu_count() or 1)), ge=1, le=64)
    worker_memory_bytes: int = Field(default=2 << 30, ge=256 << 20)  # address space of one worker
    stall_s: float = Field(default=120.0, gt=0)  # a worker without progress for this long is stopped
    slow_s: float = Field(default=60.0, gt=0)  # a listing that takes longer than this ...
    slow_per_s: float = Field(default=500.0, ge=0)  # ... at fewer entries a second is a problem of the medium
    only_route: Route | None = None  # read volumes by this route or not at all: when another is not to be trusted
    read_stall_s: float = Field(default=300.0, gt=0)  # imaging that reads nothing for this long is stopped
    hopeless_s: float = Field(default=48 * 3600.0, gt=0)  # so is a pass that would take longer than this at its rate
    attempts: int = Field(default=2, ge=1, le=50)  # per file that a worker died at, before its failure is recorded
    despite_problems: bool = False  # copy volumes, too, that known problems speak against
    zstd_level: int = Field(default=3, ge=1, le=19)
    postgres_user: str | None = None  # as root: the unprivileged user of the embedded server

    @property
    def store_dir(self) -> Path:
        return self.store or self.home / "store"

    @property
    def archive_dir(self) -> Path:
        return self.archives or self.home / "archives"

    @property
    def images_dir(self) -> Path:
        return self.images or self.home / "images"

    @property
    def work_dir(self) -> Path:
        return self.home / "work"

    @property
    def log_dir(self) -> Path:
        return self.home / "log"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings()
        home = Path(given.get("home") or os.environ.get("NTT_HOME") or default_home())
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, home / "ntt.toml")


def load_settings(home: Path | None, database_url: str | None) -> Settings:
    """Flags that were given win; UsageError names the setting that is wrong and where it stands."""
    try:
        match home, database_url:
            case None, None:
                return Settings()
            case Path(), None:
                return Settings(home=home.absolute())
            case None, str():
                return Settings(database_url=database_url)
            case _:
                return Settings(home=(home or default_home()).absolute(), database_url=database_url)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "ntt.toml"
        raise UsageError(f"setting {where}: {first['msg']}", "correct the flag, NTT_* variable or ntt.toml") from None
    except OSError as wrong:
        text = f"the settings cannot be read: {wrong.strerror}: {wrong.filename}"
        raise UnreadableSettings(text, "check --home") from None
    except ValueError as wrong:
        raise UsageError(f"ntt.toml cannot be read: {wrong}", "correct or remove it") from None
