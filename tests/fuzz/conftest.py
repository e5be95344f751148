"""Cases may be megabytes, which hypothesis warns of when it names what they are drawn from."""

import pytest

from fuzz.budget import PATIENCE


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.filterwarnings("ignore:Generating overly large repr"))
    item.add_marker(pytest.mark.timeout(PATIENCE))
