"""The registry of kinds, with packages made for the purpose."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from reviver.kinds import Kinds, installed
from reviver.model.checks import Check
from reviver.settings import KindUnusable, SettingsError, parse
from reviver.settings.schema import schema
from settings.samples import KINDS, Db


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _package(folder: Path, name: str, registered: str, source: str = "") -> None:
    """A package that is as good as installed, with what it registers as checks."""
    (folder / f"{name}.py").write_text(source)
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[reviver.checks]\n{registered}\n")


KIND = "from dataclasses import dataclass\n@dataclass\nclass Nats:\n    pass\n"


def test_a_package_adds_its_own_kind(packages: Path) -> None:
    _package(packages, "acme_a", "nats_a = acme_a:Nats", KIND)
    kinds = installed()
    assert "nats_a" in kinds.check_names()
    kind = kinds.check("nats_a")
    assert kind is not None
    assert (kind.__module__, kind.__name__) == ("acme_a", "Nats")


def test_the_kinds_that_reviver_registers_are_known_by_name() -> None:
    assert {"postgres", "redis", "http", "tcp"} <= set(installed().check_names())
    assert {"systemd.restart", "command", "wait"} <= set(installed().action_names())


def test_a_name_that_nobody_registers_is_no_kind() -> None:
    assert installed().check("nonesuch") is None
    assert installed().action("nonesuch") is None


def test_looking_up_a_name_imports_that_kind_alone() -> None:
    code = (
        "import sys; from reviver.kinds import installed; kinds = installed(); kinds.check_names(); kinds.check('tcp');"
        "print(*(name for name in sys.modules if name.startswith(('reviver.checks.', 'reviver.actions.'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["reviver.checks.tcp"]


def test_a_missing_module_is_named_with_the_extra_that_brings_it(packages: Path) -> None:
    _package(packages, "acme_b", "nats_b = acme_b:Nats [nats]", "import no_such_client\n")
    told = r'^check "nats_b" needs the Python module "no_such_client", which is missing; install acme_b\[nats\]$'
    with pytest.raises(KindUnusable, match=told):
        installed().check("nats_b")


def test_a_missing_module_is_named_when_no_extra_is_known(packages: Path) -> None:
    _package(packages, "acme_c", "nats_c = acme_c:Nats", "import no_such_client\n")
    with pytest.raises(KindUnusable, match=r'"no_such_client", which is missing$'):
        installed().check("nats_c")


def test_what_is_registered_and_not_there_is_told(packages: Path) -> None:
    _package(packages, "acme_d", "nats_d = acme_d:Nats")
    with pytest.raises(KindUnusable, match=r"can't be loaded from acme_d:Nats"):
        installed().check("nats_d")


def test_what_is_registered_and_no_kind_is_told(packages: Path) -> None:
    _package(packages, "acme_e", "nats_e = acme_e:Nats", "class Nats: pass\n")
    with pytest.raises(KindUnusable, match=r"is no kind: a dataclass was expected"):
        installed().check("nats_e")


def test_one_name_registered_by_two_packages_is_usable_by_neither(packages: Path) -> None:
    _package(packages, "acme_f", "nats_f = acme_f:Nats", KIND)
    _package(packages, "acme_g", "nats_f = acme_g:Nats", KIND)
    with pytest.raises(KindUnusable, match=r'^check "nats_f" is registered by acme_f and acme_g'):
        installed().check("nats_f")


def test_a_package_that_is_seen_twice_is_still_one(packages: Path) -> None:
    _package(packages, "acme_j", "nats_j = acme_j:Nats", KIND)
    _package(packages, "acme_j_editable", "nats_j = acme_j:Nats")
    assert installed().check("nats_j") is not None


def test_a_kind_that_cannot_be_loaded_is_left_out_of_the_schema(packages: Path) -> None:
    _package(packages, "acme_h", "nats_h = acme_h:Nats", "import no_such_client\n")
    entries = list(entry_points(group="reviver.checks", name="nats_h"))
    definitions = schema(Kinds(checks={"db": Db, "nats_h": entries}))["$defs"]
    assert "service.db" in definitions
    assert "service.nats_h" not in definitions


def test_kinds_can_be_given_as_classes() -> None:
    kind: type[Check] | None = KINDS.check("db")
    assert kind is Db
    assert KINDS.check_names() == ["db", "ping", "queue"]


def test_a_kind_that_cannot_be_loaded_is_a_problem_at_the_line_that_names_it(packages: Path) -> None:
    _package(packages, "acme_i", "nats_i = acme_i:Nats", "import no_such_client\n")
    with pytest.raises(SettingsError) as caught:
        parse('[services.a]\n\ncheck = "nats_i"\n', installed(), path=Path("reviver.toml"))
    assert str(caught.value) == (
        'reviver.toml:3: services.a.check: check "nats_i" needs the Python module "no_such_client", which is missing'
    )
