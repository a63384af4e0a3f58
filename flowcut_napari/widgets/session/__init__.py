"""What is open in a window: kept while it runs, saved, opened again; and work that could not be saved."""
