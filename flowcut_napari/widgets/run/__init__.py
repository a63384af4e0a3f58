"""The tab that makes the masks of the whole video."""
