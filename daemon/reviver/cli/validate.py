"""``reviver validate``: everything that is wrong with the settings."""

import os
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
    up, too: run it as the daemon's user, with the daemon's environment. Only the unit itself is given its credentials;
    elsewhere they are taken for granted, and named.
    """
    from reviver import kinds
    from reviver.settings import SettingsError, load
    from reviver.settings.secrets import resolve

    unseen: list[str] = []

    def resolve_what_can_be(reference: dict[str, str]) -> str:
        if "credential" in reference and not os.environ.get("CREDENTIALS_DIRECTORY"):
            unseen.append(reference["credential"])
            return "only the unit is given it"
        return resolve(reference)

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    try:
        settings = load(config_path(config), kinds.installed(), resolve_secret=resolve_what_can_be)
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
        for name in dict.fromkeys(unseen):
            say(
                f"credential {name} was not looked at: systemd gives it to the unit alone (LoadCredential={name}:/PATH)"
            )
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
