"""``reviver completion``: cyclopts' own scripts, printed."""

from typing import Annotated, Literal

from cyclopts import Parameter

from .exits import OK


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell that shall read it.")], /
) -> int:
    """
    Print the script that completes reviver's commands in a shell.

    For bash: `reviver completion bash > /etc/bash_completion.d/reviver`.
    """
    from . import app

    print(app.generate_completion(shell=shell))
    return OK
