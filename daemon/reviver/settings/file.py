"""A settings file, read: all of it is right, or all that is wrong is told at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from reviver.model.secrets import Resolver, Secret
from reviver.model.services import DaemonPolicy, Service

from .known import KnownKinds
from .problems import Problem
from .secrets import resolve

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """What the daemon itself is told."""

    listen: str
    """``HOST:PORT`` of the metrics, the API and the status page; ``[HOST]:PORT`` for IPv6; port 0: any free one."""
    state_dir: Path
    control_socket: Path
    log_level: LogLevel
    policy: DaemonPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that a settings file says."""

    path: Path
    daemon: DaemonSettings
    services: Mapping[str, Service]
    """In the order of the file."""
    secrets: tuple[Secret, ...]
    """Every secret that was resolved, for a ``Redactor``."""
    warnings: tuple[Problem, ...]
    """What is valid and likely not meant."""


def load(path: Path, kinds: KnownKinds, *, resolve_secret: Resolver = resolve) -> Settings:
    """
    The settings that the file *path* says.

    Raises:
        SettingsError: It can't be read, or something in it is wrong; tells everything that is.
    """
    raise NotImplementedError


def parse(
    text: str,
    kinds: KnownKinds,
    *,
    path: Path,
    resolve_secret: Resolver = resolve,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """
    The settings that *text* says; *path* is named in problems.

    Raises:
        SettingsError: Something in it is wrong; tells everything that is.
    """
    raise NotImplementedError
