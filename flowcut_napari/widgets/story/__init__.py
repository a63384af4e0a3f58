"""The tab that tells what became of every cut, and why two patches hang together."""
