"""The tab that tells what became of every cut of a frame."""
