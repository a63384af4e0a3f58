"""Watching a training run: its state, its curves, what it sees."""
