"""The tab that shows why two patches hang together."""
