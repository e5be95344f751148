"""``reviver run``: the daemon itself, in the foreground."""

from typing import Annotated, Literal

from cyclopts import Parameter

from .options import Config, config_path

LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    Parameter(name="--log-level", help="How much to log; otherwise the settings say."),
]


def run(*, log_level: LogLevel = None, config: Config = None) -> int:
    """
    Watch and recover, in the foreground, until told to stop.

    SIGTERM and SIGINT stop it, SIGHUP has it read the settings again. Bad settings: exit code 78.
    """
    from reviver.app import run as run_daemon

    return run_daemon(config_path(config), log_level=log_level)
