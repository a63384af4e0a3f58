"""The training loop and its parts: ranks, optimizer, checkpoints, events, stopping."""
