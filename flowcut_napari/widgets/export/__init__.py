"""From decided masks to a dataset, with its counts before anything is written."""
