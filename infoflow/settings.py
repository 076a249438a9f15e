"""Every environment variable that infoflow reads, in one place: typed, checked, and read anew at each use.

A setting is a field; its variable is the field's name in capitals with INFOFLOW_ before it, but for the service's own two.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from infoflow.errors import InfoflowError

PUBLIC_HOST = "https://api.ndif.us"
OWN_MACHINE = ("127.0.0.1", "localhost", "::1")
"""addresses of the app at which nobody else reaches it"""
OF_STRANGERS: dict[str, Any] = {
    "max_prompt_tokens": 256, "max_new_tokens": 64, "max_patched_runs": 4096, "max_seconds": 120, "runs_per_minute": 60,
    "queue_length": 40, "max_minutes": 2, "local_folders": False, "unload": False, "share_key": False,
}  # fmt: skip
"""what a hosted app allows where nothing else is said"""


FRAMING = ("https://huggingface.co", "https://share.streamlit.io", "https://*.streamlit.app")
"""hosts that show an app which is hosted there in a frame"""


class Settings(BaseSettings):
    """What the environment says now."""

    model_config = SettingsConfigDict(env_prefix="INFOFLOW_", env_ignore_empty=True, extra="ignore")

    max_tokens: PositiveInt = 64
    """the most sources that are kept apart in one run"""
    max_memory_mb: PositiveInt | None = None
    """memory of one run; None for half of what is free"""
    max_minutes: PositiveInt = 10
    """of one sweep of patched runs, as reckoned from the speed of this machine's matrix products"""
    cache: Path | None = None
    """where what is made of GGUF files is kept; None for this user's cache folder"""
    sessions: Path | None = None
    """where saved sessions are kept; None for this user's data folder"""
    local_folders: bool | None = None
    """whether visitors of the app may name folders of this machine; None for the app's own rule"""
    unload: bool | None = None
    """whether visitors of the app may unload models; None for the app's own rule"""
    share_key: bool | None = None
    """whether visitors of the app without a key of their own run with `key`; None for the app's own rule"""
    hosted: bool = False
    """whether strangers use the app: models of a list alone, nothing of this machine's files, and a limit on everything"""
    models: str = "demo"
    """of a hosted app: the models that may be asked here beside the bundled one, with commas between; one on the hub may end in @
    and a commit"""
    ndif_models: str = ""
    """of a hosted app: those that may be asked on the hosted service"""
    max_prompt_tokens: PositiveInt | None = None
    """of one run; None for no limit, as in those below: a hosted app has one for each (`OF_STRANGERS`)"""
    max_new_tokens: PositiveInt | None = None
    """written in one run"""
    max_patched_runs: PositiveInt | None = None
    """of one sweep"""
    max_seconds: PositiveInt | None = None
    """of one run, from when it has the model"""
    runs_per_minute: PositiveInt | None = None
    """of one visitor; what is kept already counts for nothing"""
    queue_length: PositiveInt | None = None
    """runs that wait for one model; of one visitor at most a quarter of them"""
    api: bool = True
    """whether programs may ask over HTTP"""
    api_token: SecretStr = SecretStr("")
    """what they must show then; '' for nothing"""
    cors_origins: str = ""
    """pages of other hosts that a browser lets ask, with commas between"""
    frames: str = ""
    """hosts whose pages may show the app in a frame, with commas between, or *; of a hosted app those of Streamlit Cloud and
    Spaces may anyway"""
    owner_token: SecretStr = SecretStr("")
    """opens the owner's page and the figures for machines; '' for nobody, where others reach the app"""
    log_prompts: bool = False
    """whether prompts stand in the log"""
    host: str = Field(PUBLIC_HOST, validation_alias="NDIF_HOST")
    """address of the hosted service"""
    key: SecretStr = Field(SecretStr(""), validation_alias="NDIF_API_KEY")
    """for that service; shown by no repr"""

    @model_validator(mode="after")
    def _limited_for_strangers(self) -> "Settings":
        if self.hosted:
            for name, most in OF_STRANGERS.items():
                if name not in self.model_fields_set or getattr(self, name) is None:
                    object.__setattr__(self, name, most)
        return self

    @property
    def listed(self) -> tuple[str, ...]:
        """The models that a hosted app runs here; the bundled one always, which its first page is about."""
        return tuple(dict.fromkeys(("demo", *_names(self.models))))

    @property
    def listed_on_ndif(self) -> tuple[str, ...]:
        """The models that a hosted app lets run on the hosted service."""
        return _names(self.ndif_models)

    @property
    def framed_by(self) -> tuple[str, ...]:
        """Hosts beside its own whose pages may show the app in a frame."""
        return (*(FRAMING if self.hosted else ()), *_names(self.frames))

    @property
    def asked_from(self) -> tuple[str, ...]:
        """Hosts whose pages may ask over HTTP."""
        return _names(self.cors_origins)

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unsaid(cls, value: Any, info: Any) -> Any:
        given = value.strip() if isinstance(value, str) else value
        return cls.model_fields[str(info.field_name)].default if given == "" else given

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return value.rstrip("/")


def _names(given: str) -> tuple[str, ...]:
    return tuple(name for one in given.split(",") if (name := one.strip()))


_YES_OR_NO = "1 (yes) or 0 (no)"
_WANTED = dict.fromkeys(("local_folders", "unload", "share_key", "hosted", "api", "log_prompts"), _YES_OR_NO)


def settings() -> Settings:
    """The settings as the environment has them now.

    Raises:
        InfoflowError: a variable that holds no value of its type; it is named, with what it must be.
    """
    said = tuple(item for item in os.environ.items() if item[0].upper().startswith(("INFOFLOW_", "NDIF_")))
    return _read(said)


@lru_cache(maxsize=8)
def _read(said: tuple[tuple[str, str], ...]) -> Settings:
    """The settings of such an environment: reading it takes milliseconds, and it is asked for many times in a run."""
    try:
        return Settings()  # type: ignore[call-arg]  # all of them come from the environment
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        name = field if field.isupper() else f"INFOFLOW_{field.upper()}"
        wanted = _WANTED.get(field, "a whole number of 1 or more")
        raise InfoflowError(f"{name} is '{first['input']}'; it must be {wanted}. Correct it or unset it.") from None


def or_set(name: str, to: str = "more") -> str:
    """The end of a refusal's advice: the variable that whoever runs this may set; nothing where strangers read it."""
    return "" if settings().hosted else f", or set INFOFLOW_{name} to {to}"


def with_temporary(folder: Path) -> dict[str, str]:
    """The environment for a program whose temporary files shall be in a folder."""
    return {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))}
