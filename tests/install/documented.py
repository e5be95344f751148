"""The commands of ``docs/install.md``: the tests run what people are told to type."""

import re

from install.shell import ROOT


def documented(start: str) -> str:
    """The block of shell commands that begins with *start*."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/install.md").read_text(), re.MULTILINE | re.DOTALL)
    [block] = [block for block in blocks if block.startswith(start)]
    return str(block).strip()
