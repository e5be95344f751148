"""reviver: watches services, names what is wrong with them, and carries out the recovery."""

__version__ = "0.1.0"
