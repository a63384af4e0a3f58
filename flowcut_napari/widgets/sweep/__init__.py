"""The Sweep tab: a map of two parameters, measured on the video that is looked at."""
