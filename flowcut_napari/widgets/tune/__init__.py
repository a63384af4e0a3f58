"""The tab with the parameters of the cuts."""
