-- Each entry carries a hash over itself and the one before it, so that nobody changes the past unseen.
ALTER TABLE entries ADD COLUMN chain TEXT NOT NULL DEFAULT '';   -- '': written before there was a chain
