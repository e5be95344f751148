"""Makes a story that breaks a promise shorter, as long as it breaks the same one: delta debugging, bounded."""

from __future__ import annotations

import time
from dataclasses import replace

from .book import Broken
from .happenings import Moment, Story
from .one import broken


def shrunk(story: Story, error: Broken, *, seconds: float = 60.0) -> tuple[Story, Broken]:
    """A story without the moments that *error* does not need, found within about so many *seconds*."""
    end = time.monotonic() + seconds
    size = max(1, len(story.moments) // 2)
    while size and time.monotonic() < end:
        start = 0
        while start < len(story.moments) and time.monotonic() < end:
            fewer = _without(story, start, size)
            again = broken(fewer)
            if again is not None and again.promise == error.promise:
                story, error = fewer, again
            else:
                start += size
        size //= 2
    return story, error


def _without(story: Story, start: int, size: int) -> Story:
    """*story* without some moments; what follows happens when it would have."""
    gone, rest = story.moments[start : start + size], story.moments[start + size :]
    if rest:
        late = sum(moment.pause for moment in gone)
        rest = (Moment(rest[0].pause + late, rest[0].happening), *rest[1:])
    return replace(story, moments=(*story.moments[:start], *rest))


def report(seed: int, story: Story, error: Broken) -> str:
    """What was broken, by what, and what went on just before."""
    lines = [f"seed {seed} breaks a promise: {error}", "", f"the plan: {story.plan}", ""]
    lines += [f"the story, shrunk to {len(story.moments)} moments:", *(f"  {moment}" for moment in story.moments), ""]
    lines += ["what went on last:", *(note for note in getattr(error, "__notes__", ()))]
    return "\n".join(lines)
