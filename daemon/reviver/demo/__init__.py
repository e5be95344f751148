"""
The demo: real servers in a temporary folder, real faults, and reviver at work before your eyes.

It watches reviver through the public API only, and proves by itself that what reviver calls recovered works again.
"""


def run(*, headless: bool, json: bool, fault: str | None, keep: bool) -> int:
    """
    Break a private stack and watch reviver recover it; returns the process's exit code.

    Args:
        headless: Print a line for each thing that happens, even on a terminal.
        json: Print the result on stdout as JSON, and talk on stderr.
        fault: Only this one; ``None``: each in turn.
        keep: Leave everything running afterwards, to be broken by hand, until interrupted.
    """
    from .show import show

    return show(headless=headless, as_json=json, fault=fault, keep=keep)
