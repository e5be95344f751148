"""The options that several commands share, and what they mean when they aren't given."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from .exits import BAD_CONFIG, Stop
from .output import say

if TYPE_CHECKING:
    from reviver.model.secrets import Resolver
    from reviver.settings import Settings

CONFIG_PLACES: Final = (Path("/etc/reviver/reviver.toml"), Path("config/reviver.toml"))

Config = Annotated[
    Path | None,
    Parameter(
        name=["--config", "-c"],
        env_var="REVIVER_CONFIG",
        help="The settings file. Default: /etc/reviver/reviver.toml, then config/reviver.toml.",
    ),
]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON, for programs.")]
Names = Annotated[str, Parameter(help="The services' names. Default: all.")]
Socket = Annotated[
    Path | None,
    Parameter(name="--socket", help="The daemon's control socket. Default: where the settings put it."),
]


def config_path(config: Path | None) -> Path:
    """
    The settings file that is meant: *config*, or the first of the usual places that has one.

    Raises:
        Stop: There is none.
    """
    found = config or next((place for place in CONFIG_PLACES if place.is_file()), None)
    if found is None:
        places = " nor ".join(map(str, CONFIG_PLACES))
        raise Stop(f"no settings: neither {places} is there; name them with --config or $REVIVER_CONFIG", BAD_CONFIG)
    return found


def settings_from(config: Path | None, resolve_secret: "Resolver | None" = None) -> "Settings":
    """
    The settings that are meant; with *resolve_secret*, their secrets are taken from there.

    Raises:
        Stop: They can't be used; why stands on stderr, a line for each problem.
    """
    from reviver import kinds
    from reviver.settings import SettingsError, load
    from reviver.settings.secrets import resolve

    try:
        return load(config_path(config), kinds.installed(), resolve_secret=resolve_secret or resolve)
    except SettingsError as error:
        for problem in error.problems:
            say(str(problem))
        raise Stop("nothing was done: the settings can't be used", BAD_CONFIG) from error


def socket_path(socket: Path | None, config: Path | None) -> Path:
    """
    The control socket that is meant: *socket*, or where the settings put it, or the usual one.

    Looks at the ``[daemon]`` table and checks nothing else: the daemon goes on answering while its settings are edited.

    Raises:
        Stop: The settings can't be read.
    """
    if socket is not None:
        return socket
    from reviver.settings.paths import control_socket

    is_there = config is not None or any(place.is_file() for place in CONFIG_PLACES)
    return control_socket(_daemon_table(config_path(config)) if is_there else {}, os.environ)


def _daemon_table(path: Path) -> dict[str, Any]:
    import tomli

    try:
        table = tomli.loads(path.read_text(encoding="utf-8")).get("daemon", {})
    except OSError as error:
        raise Stop(f"{path}: {error.strerror}; name the control socket with --socket", BAD_CONFIG) from error
    except ValueError as error:
        raise Stop(f"{path}: {error}; name the control socket with --socket", BAD_CONFIG) from error
    return table if isinstance(table, dict) else {}
