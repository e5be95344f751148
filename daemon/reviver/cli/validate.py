"""``reviver validate``: everything that is wrong with the settings."""

from typing import TYPE_CHECKING, Any

from .exits import BAD_CONFIG, OK
from .options import Config, Json, config_path
from .output import print_json, say

if TYPE_CHECKING:
    from reviver.settings import Problem, Settings


def validate(*, json: Json = False, config: Config = None) -> int:
    """
    Read the settings and say everything that is wrong with them.

    Each problem is a line `FILE:LINE: key: what is wrong` on stderr, and the exit code is then 78. Secrets are looked
    up, too: run it as the daemon's user, with the daemon's environment.
    """
    from reviver import kinds
    from reviver.settings import SettingsError, load

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    try:
        settings = load(config_path(config), kinds.installed())
        warnings = settings.warnings
    except SettingsError as error:
        errors = error.problems
    if json:
        print_json([_record(p, "error") for p in errors] + [_record(p, "warning") for p in warnings])
    else:
        for problem in errors:
            say(str(problem))
        for problem in warnings:
            say(f"{problem} (warning)")
    if errors:
        return BAD_CONFIG
    if not json:
        print(_found(settings))
    return OK


def _record(problem: "Problem", severity: str) -> dict[str, Any]:
    return {
        "file": str(problem.file),
        "line": problem.line,
        "key": problem.key,
        "message": problem.message,
        "severity": severity,
    }


def _found(settings: "Settings") -> str:
    services = len(settings.services)
    strategies = sum(len(service.strategies) for service in settings.services.values())
    return (
        f"{settings.path} is valid: {services} service{'s' * (services != 1)}, "
        f"{strategies} {'strategy' if strategies == 1 else 'strategies'}"
    )
