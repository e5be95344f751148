"""
Settings: one TOML file becomes typed settings, or a list of everything that is wrong with it.

This room decides what may be written and what it means. It is told which kinds of checks and actions exist
(``known.KnownKinds``), and imports none.
"""

from .file import DaemonSettings, Settings, load, parse
from .known import KindUnusable, KnownKinds
from .problems import Problem, SettingsError

__all__ = ["DaemonSettings", "KindUnusable", "KnownKinds", "Problem", "Settings", "SettingsError", "load", "parse"]
