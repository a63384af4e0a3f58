"""The tab that pages through the clips of a dataset."""
