"""Where secrets come from: the environment, a file, or systemd's credentials."""

import os
import stat
from pathlib import Path
from typing import Final

SIZE_MAX: Final = 65536  # bytes; a longer "secret" is a mistaken path


def resolve(reference: dict[str, str]) -> str:
    """
    The secret behind ``{ env = "NAME" }``, ``{ file = "/PATH" }`` or ``{ credential = "NAME" }``.

    A newline at the end of a file is no part of the secret. Credentials are systemd's:
    https://systemd.io/CREDENTIALS/.

    Raises:
        ValueError: It can't be had; the text says why, and never what it holds.
    """
    [(form, name)] = reference.items()
    if not isinstance(name, str) or not name:
        raise ValueError(f"expected a name in quotation marks after {form} =")
    source = {"env": _from_environment, "file": _from_file, "credential": _from_credential}[form]
    try:
        secret = source(name)
    except OSError as error:
        raise ValueError(f"{form} {name} can't be read: {error.strerror}") from error
    if not secret:
        raise ValueError(f"the secret from {form} {name} is empty")
    return secret


def world_readable(path: str) -> bool:
    """Whether everybody on this host may read the file *path*; also ``False`` when that can't be told."""
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ValueError(f"the environment variable {name} isn't set") from None


def _from_file(name: str) -> str:
    path = Path(name)
    if not path.is_absolute():
        raise ValueError(f"expected an absolute path after file =, found {name}")
    return _read(path)


def _from_credential(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ValueError(
            f"there are no credentials ($CREDENTIALS_DIRECTORY isn't set): "
            f"start it by systemd with LoadCredential={name}:/PATH, or use {{ file = … }} or {{ env = … }}"
        )
    if "/" in name or name.startswith("."):
        raise ValueError("expected the name of a credential, without a path")
    path = Path(folder, name)
    if not path.exists():
        raise ValueError(f"there is no credential {name}: add LoadCredential={name}:/PATH to the unit")
    return _read(path)


def _read(path: Path) -> str:
    if not path.is_file():  # reading a fifo would wait for ever
        raise ValueError(f"{path} is no regular file" if path.exists() else f"{path} doesn't exist")
    with path.open("rb") as file:
        content = file.read(SIZE_MAX + 1)
    if len(content) > SIZE_MAX:
        raise ValueError(f"{path} is longer than {SIZE_MAX} bytes: no secret")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{path} isn't UTF-8 text") from None
