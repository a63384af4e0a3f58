"""Deciding about masks: matches side by side, verdicts, identities, brush, undo."""
