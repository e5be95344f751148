"""What a person approves: one plan, named by a token, so that another plan can't be had by the same word."""

import hashlib
import json
from collections.abc import Sequence

from reviver.model.services import Strategy


def plan(strategy: Strategy) -> Sequence[str]:
    """What each step of *strategy* would do, as its action describes it."""
    return [step.action.describe() for step in strategy.steps]


def token(incident: str, attempt: int, strategy: Strategy) -> str:
    """The name of this very plan: another incident, attempt, step or word of it has another one."""
    steps = [(step.kind, step.action.describe(), step.timeout) for step in strategy.steps]
    text = json.dumps([incident, attempt, strategy.name, steps])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
