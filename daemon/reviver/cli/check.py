"""``reviver check``: every service asked once, here and now."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .exits import FAULT, HEALTHY, UNKNOWN, Stop
from .options import Config, Json, Names, settings_from
from .output import print_json, print_table, seconds

if TYPE_CHECKING:
    from reviver.model.checks import CheckResult
    from reviver.model.secrets import Redactor
    from reviver.model.services import Service

WORDS: Final = {"up": ("OK", HEALTHY), "down": ("CRITICAL", FAULT), "unknown": ("UNKNOWN", UNKNOWN)}
"""What monitoring plugins call it (Monitoring Plugins Development Guidelines, "Plugin Return Codes")."""


def check(*names: Names, json: Json = False, config: Config = None) -> int:
    """
    Ask every service once, without the daemon.

    Each is asked over a new connection, all at the same time. The exit code is 0 if all are healthy, 2 if one has a
    fault, 3 if one can't be told or none could be asked (bad usage, bad settings). With a single name the output is a
    monitoring plugin's line.
    """
    from reviver.model.secrets import Redactor

    from .asking import ask_all

    settings = settings_from(config)
    redact = Redactor(settings.secrets)
    results = ask_all(_chosen(settings.services, names))
    facts = {name: _facts(result, redact) for name, result in results.items()}
    if json:
        print_json({"healthy": all(fact["health"] == "up" for fact in facts.values()), "services": facts})
    elif len(names) == 1:
        print(_plugin_line(names[0], facts[names[0]]))
    else:
        print_table(("SERVICE", "HEALTH", "LATENCY", "WHAT"), [_row(name, fact) for name, fact in facts.items()])
    codes = {WORDS[fact["health"]][1] for fact in facts.values()}
    return FAULT if FAULT in codes else max(codes, default=HEALTHY)


def _chosen(services: "Mapping[str, Service]", names: tuple[str, ...]) -> "dict[str, Service]":
    for name in names:
        if name not in services:
            raise Stop(f'there is no service "{name}"; there are: {", ".join(services)}', UNKNOWN)
    return {name: services[name] for name in names or services}


def _facts(result: "CheckResult", redact: "Redactor") -> dict[str, Any]:
    fault = result.fault
    return {
        "health": "down" if fault is not None else "unknown" if result.unknown is not None else "up",
        "fault": None if fault is None else fault.kind.value,
        "message": redact(fault.message if fault is not None else result.unknown or ""),
        "latency_seconds": round(result.latency, 6),
        "certain": fault is not None and fault.certain,
        "details": redact.tree(result.details if fault is None else fault.details),
    }


def _said(fact: Mapping[str, Any]) -> str:
    return ": ".join(part for part in (fact["fault"], fact["message"]) if part)


def _row(name: str, fact: Mapping[str, Any]) -> tuple[str, ...]:
    return name, fact["health"], seconds(fact["latency_seconds"]), _said(fact)


def _plugin_line(name: str, fact: Mapping[str, Any]) -> str:
    """One line as monitoring systems read it: a bar divides the text from the figures, so none may be in the text."""
    word, _ = WORDS[fact["health"]]
    text = _said(fact).replace("|", "/") or f"answered in {seconds(fact['latency_seconds'])}"
    return f"{name.upper()} {word} - {text} | latency={fact['latency_seconds']:.3f}s;;;0"
