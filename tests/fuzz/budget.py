"""
How many cases are tried: ``FUZZ_SECONDS`` of them, spread over all tests here; 20 unless it is set.

With the default the cases are the same ones in each run, so that CI fails for a change and never by luck; with any
other number they are new ones.
"""

import os

from hypothesis import HealthCheck, settings

USUAL = 20
SECONDS = int(os.environ.get("FUZZ_SECONDS", USUAL))
PATIENCE = 120 + 10 * SECONDS  # seconds that one test may take on a busy machine


def cases(usual: int) -> settings:
    """Try *usual* cases, which take about two seconds, or as many more as there is more time."""
    return settings(
        max_examples=max(1, usual * SECONDS // USUAL),
        derandomize=SECONDS == USUAL,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
