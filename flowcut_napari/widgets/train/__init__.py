"""The Train tab: what is trained, on what, and the processes that do it."""
