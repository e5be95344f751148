"""How the demo looks: a live page on a terminal, elsewhere a line for each thing that happens; a table at the end."""

import textwrap
from typing import IO, Final, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .story import DEMO, PROVEN, Line, Result, Story, short
from .watcher import Service

HEALTH: Final = {
    "up": "green",
    "suspect": "yellow",
    "down": "bold red",
    "recovering": "yellow",
    "paused": "blue",
    "unknown": "dim",
}
WIDTH_MAX: Final = 110
HEIGHT_MIN: Final = 16
FRAME: Final = 11
"""Rows of the live page beside the timeline."""
FOLDS: Final = 2
"""Rows that a long line may have beside its first."""
TIME: Final = 8
WHO: Final = 8


class View(Protocol):
    """One way to show the story."""

    rest: float
    """Seconds to look at the end of a page."""

    def heading(self, story: Story) -> None:
        """A new page begins."""
        ...

    def line(self, line: Line) -> None:
        """Something has happened."""
        ...

    def refresh(self, story: Story) -> None:
        """Time has passed."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...


class Page:
    """A live page, for a terminal."""

    rest = 3.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def heading(self, story: Story) -> None:
        """Nothing by itself: the next refresh shows it."""

    def line(self, line: Line) -> None:
        """Nothing by itself: the next refresh shows it."""

    def refresh(self, story: Story) -> None:
        """Draw the page anew."""
        width, height = min(self._console.width, WIDTH_MAX), max(self._console.height, HEIGHT_MIN)
        self._live.update(page(story, width=width, height=height), refresh=True)

    def close(self) -> None:
        """Remove the page."""
        self._live.stop()


class Lines:
    """A line for each thing that happens."""

    rest = 0.0

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def heading(self, story: Story) -> None:
        """Print it."""
        self._print(story.heading)

    def line(self, line: Line) -> None:
        """Print it."""
        self._print(f"{_time(line):>{TIME}}  {line.who:<{WHO}} {line.text}")

    def refresh(self, story: Story) -> None:
        """Nothing: what happened has been printed."""

    def close(self) -> None:
        """Nothing: it has taken nothing."""

    def _print(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def page(story: Story, *, width: int, height: int) -> RenderableType:
    """The live page: the services, and the timeline of the present fault."""
    title = Table.grid(expand=True)
    title.add_column()
    title.add_column(justify="right")
    title.add_row(Text("reviver demo", style="bold"), Text(_progress(story), style="dim"))
    rows = height - FRAME
    parts = (
        title,
        Text("─" * width, style="dim"),
        _services(story, width),
        Text(),
        Text(story.heading, style="bold"),
        *_timeline(story, width, rows),
        Text(),
        Text(story.footer, style="dim", no_wrap=True, overflow="ellipsis"),
    )
    whole = Table.grid()
    whole.add_column(width=width)
    whole.add_row(Group(*parts))
    return whole


def closing(results: list[Result], *, width: int) -> RenderableType:
    """The table at the end."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", min_width=min(width, 76))
    for name in ("fault", "diagnosis", "strategy"):
        table.add_column(name, no_wrap=True)
    for name in ("noticed", "recovered"):
        table.add_column(name, justify="right")
    table.add_column("proven", justify="center")
    for result in results:
        mark = Text("✓", style="green") if result.proven else Text("✗", style="bold red")
        told = (result.title, result.diagnosis or "-", result.strategy or "-")
        table.add_row(*told, short(result.noticed_seconds), short(result.recovered_seconds), mark)
    return table


def _progress(story: Story) -> str:
    done = "".join("●" if result.proven else "✗" for result in story.results)
    return done + "○" * (story.total - len(done))


def _services(story: Story, width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=6)
    table.add_column(width=12, style="dim")
    table.add_column(width=12)
    table.add_column(width=max(20, width - 6 - 12 - 12 - 6), no_wrap=True, overflow="ellipsis")
    for name, service in story.services.items():
        health = Text(f"● {service['health']}", style=HEALTH.get(service["health"], ""))
        table.add_row(name, service["kind"], health, _doing(service))
    return table


def _doing(service: Service) -> Text:
    """What is wrong with a service, and what reviver does about it."""
    if service["attempt"]:
        return Text(f'{service["fault"] or "fault"}: strategy "{service["strategy"]}" at work', style="yellow")
    if service["held"]:
        return Text(f"left alone: {service['held']}", style="dim")
    if service["fault"]:
        return Text(f"{service['fault']}")
    latency = service["latency_seconds"]
    return Text("" if latency is None else f"answers in {latency * 1000:.1f} ms", style="dim")


def _timeline(story: Story, width: int, rows: int) -> list[RenderableType]:
    """The timeline in exactly *rows* rows: one for each line, and what is left to the latest long ones."""
    drawn: list[RenderableType] = []
    spare = rows - len(story.lines)
    for line in reversed(story.lines):
        rows_of_it = _rows(line, width, at_most=1 + max(0, min(spare, FOLDS)))
        spare -= len(rows_of_it) - 1
        drawn = [*rows_of_it, *drawn]
    return [*drawn[-rows:], *(Text() for _ in range(rows - len(drawn)))]


def _rows(line: Line, width: int, *, at_most: int) -> list[Text]:
    """*line* in rows, the last of which is cut off if need be."""
    indent = TIME + 1 + WHO + 1
    folded = textwrap.wrap(line.text, width - indent) or [""]
    if len(folded) > at_most:
        cut = " ".join(folded[at_most - 1 :])[: width - indent - 1] + "…"
        folded = [*folded[: at_most - 1], cut]
    who = "cyan" if line.who == DEMO else "magenta"
    style = "green" if line.text.startswith(PROVEN) else ""
    head = Text.assemble((f"{_time(line):>{TIME}} ", "dim"), (f"{line.who:<{WHO}} ", who), (folded[0], style))
    return [head, *(Text(" " * indent + more, style) for more in folded[1:])]


def _time(line: Line) -> str:
    return f"{line.at:+.2f} s"


def of(console: Console, *, live: bool) -> View:
    """The view that fits."""
    return Page(console) if live else Lines(console.file)
