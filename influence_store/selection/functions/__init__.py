"""The set functions, one per file: formula and source on top, then code that looks like it."""
