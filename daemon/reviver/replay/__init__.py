"""
Replay: the recorded past, driven through the state machine with other settings.

``reading`` takes it from a journal's file, ``past`` knows what each service would have answered when, ``driver`` asks
as the supervisor would and lets the core decide, ``judging`` holds what would have been done against what came of it.
Nothing here acts, waits, or writes.
"""
