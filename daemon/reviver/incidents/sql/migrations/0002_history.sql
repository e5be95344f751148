-- What the services answered: one row per service and unbroken run of alike answers.
CREATE TABLE history (
    id      INTEGER PRIMARY KEY, -- rises with time, per service
    service TEXT NOT NULL,
    answer  TEXT NOT NULL,       -- healthy, unknown, void (reviver itself was late), or the fault's kind
    certain INTEGER NOT NULL,
    begun   TEXT NOT NULL,       -- change: the run before ended where this one began; start, stall: nobody looked in between
    woken   INTEGER NOT NULL,    -- 1: an event led to the first question, not the clock
    since   REAL NOT NULL,       -- Unix time at which the first of the answers was asked for
    until   REAL NOT NULL,       -- ... and the last
    boot_id TEXT NOT NULL,
    since_s REAL NOT NULL,       -- the same in seconds since that boot, which never jump
    until_s REAL NOT NULL,
    count   INTEGER NOT NULL,
    latency REAL NOT NULL,       -- seconds that the slowest of the answers took
    message TEXT NOT NULL        -- of the first one
) STRICT;

CREATE INDEX history_by_service ON history (service);
