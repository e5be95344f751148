-- Strategies that have lost trust on a service, until a person trusts them again.
CREATE TABLE demotions (
    service  TEXT NOT NULL,
    strategy TEXT NOT NULL,
    incident TEXT NOT NULL,
    mode     TEXT NOT NULL,      -- how far it goes by itself
    reason   TEXT NOT NULL,
    PRIMARY KEY (service, strategy)
) STRICT, WITHOUT ROWID;
