"""Paging through the clips of a dataset."""
