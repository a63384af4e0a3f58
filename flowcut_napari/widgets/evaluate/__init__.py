"""The Evaluate tab: predictions against ground truth, and the frames that tell most."""
