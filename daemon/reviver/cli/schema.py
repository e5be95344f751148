"""``reviver schema``: the JSON schema of the settings."""

from .exits import OK


def schema() -> int:
    """
    Print the JSON schema of the settings, for editors.

    It knows the kinds of checks and actions that are installed. Write it beside the settings and name it in their first
    line: `#:schema ./reviver.schema.json`.
    """
    from reviver import kinds
    from reviver.settings.schema import render_schema

    print(render_schema(kinds.installed()), end="")
    return OK
