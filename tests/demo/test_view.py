"""The page fits the terminal, and the table says what came of it."""

import io
from typing import Any

import pytest
from rich.console import Console

from reviver.demo import view
from reviver.demo.story import DEMO, PROVEN, REVIVER, Line, Result, Story

LONG = "db is down: unreachable: PostgreSQL 127.0.0.1:27767/postgres: connection refused, and no process listens " * 3


def service(**what: Any) -> dict[str, Any]:
    plain = {"kind": "redis_stream", "health": "up", "fault": None, "held": "", "attempt": 0, "strategy": ""}
    return plain | {"latency_seconds": 0.001} | what


def busy_story(lines: int) -> Story:
    story = Story(total=4, heading="Fault 1 of 4: PostgreSQL killed", footer="settings: /tmp/x/reviver.toml   " * 4)
    story.services = {
        "db": service(health="recovering", fault="unreachable", attempt=1, strategy="restart"),
        "api": service(health="down", fault="bad_status", held="db is not up; api is looked at again once that is"),
        "cache": service(),
        "tasks": service(health="suspect", fault="timeout"),
    }
    for number in range(lines):
        story.tell(Line(number, REVIVER, f"{number}: {LONG}"))
    return story


def drawn(story: Story, *, width: int, height: int, **how: Any) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, force_terminal=True, **how)
    console.print(view.page(story, width=width, height=height))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 16), (110, 50)])
@pytest.mark.parametrize("lines", [0, 3, 40])
def test_the_page_fits_and_keeps_its_height_whatever_happens(width: int, height: int, lines: int) -> None:
    rows = drawn(busy_story(lines), width=width, height=height, color_system=None)
    assert len(rows) == height - 1
    assert max(map(len, rows)) <= width


def test_the_page_shows_who_is_left_alone_and_what_is_at_work() -> None:
    text = "\n".join(drawn(busy_story(0), width=100, height=24, color_system=None))
    assert 'unreachable: strategy "restart" at work' in text
    assert "left alone: db is not up; api is looked at again once that is" in text
    assert "● suspect" in text


def test_the_newest_lines_are_the_ones_shown() -> None:
    text = "\n".join(drawn(busy_story(40), width=80, height=24, color_system=None))
    assert "39: db is down" in text
    assert " 1: db is down" not in text


def test_long_lines_are_cut_before_the_beginning_of_the_timeline_is_left_out() -> None:
    text = "\n".join(drawn(busy_story(12), width=80, height=24, color_system=None))
    assert " 0: db is down" in text
    assert "11: db is down" in text
    assert text.count("connection refused") == 1, "the latest line has the row that is left"


def test_without_colours_the_page_has_no_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    story = busy_story(2)
    story.tell(Line(3, DEMO, f"{PROVEN}it works"))
    text = "\n".join(drawn(story, width=80, height=24, color_system="standard"))
    assert "\x1b[3" not in text.replace("\x1b[0m", "")


def test_lines_stand_in_the_order_in_which_things_happened_each_once() -> None:
    story = Story(total=1)
    told = [story.tell(Line(at, REVIVER, text)) for at, text in [(2, "later"), (1, "sooner"), (3, "later"), (2, "too")]]
    assert told == [True, True, False, True]
    assert [line.text for line in story.lines] == ["sooner", "later", "too"]


def test_the_closing_table_fits_and_tells_success_from_failure() -> None:
    results = [
        Result(fault="a", title="PostgreSQL killed", service="db", diagnosis="unreachable", strategy="restart",
               noticed_seconds=0.021, recovered_seconds=4.06, proven=True),
        Result(fault="b", title="Worker killed", service="tasks", problem="not noticed"),
    ]  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(view.closing(results, width=80))
    good, bad = (row.split() for row in out.getvalue().splitlines() if "killed" in row)
    assert good == ["PostgreSQL", "killed", "unreachable", "restart", "21", "ms", "4.1", "s", "✓"]
    assert bad == ["Worker", "killed", "-", "-", "-", "-", "✗"]
