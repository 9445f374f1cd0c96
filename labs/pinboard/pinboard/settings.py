"""The settings, all from the environment, read once at the start."""

from collections.abc import Mapping
from dataclasses import dataclass

from pinboard import __version__
from pinboard.problem import SettingError

DEFAULT_PORT = 8000


@dataclass(frozen=True)
class Settings:
    """Where the service keeps its pins, where it listens, and which version it says it is."""

    database_url: str
    host: str
    port: int
    version: str


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingError; whether the database URL is usable is for `open_store` to say."""
    return Settings(
        database_url=_value(environment, "DATABASE_URL", "sqlite:///pinboard.db"),
        host=_value(environment, "PINBOARD_HOST", "127.0.0.1"),
        port=_port(_value(environment, "PINBOARD_PORT", str(DEFAULT_PORT))),
        version=_value(environment, "PINBOARD_VERSION", __version__),
    )


def _value(environment: Mapping[str, str], name: str, default: str) -> str:
    value = environment.get(name, default).strip()
    # Set but empty is almost always a mistake elsewhere (a missing key, an unset variable). To take the default here
    # would hide it: the service would run on a local file while everybody believes that it uses the database.
    if not value:
        raise SettingError(f"{name} is not usable", "it is set, but empty", "give it a value, or unset it")
    return value


def _port(value: str) -> int:
    # For a Service that is called pinboard, Kubernetes gives every pod beside it PINBOARD_PORT=tcp://ADDRESS:PORT (a
    # "service link"). That is where the Service is, and says nothing about where to listen.
    if value.startswith("tcp://"):
        return DEFAULT_PORT
    # Port 0 is legitimate: the system chooses a free one, and the first line of the log says which.
    if value.isascii() and value.isdigit() and len(value) <= 5 and int(value) <= 65535:
        return int(value)
    raise SettingError(
        "PINBOARD_PORT is not usable", f"{value!r} is not a port", "set a whole number from 0 to 65535, such as 8000"
    )
