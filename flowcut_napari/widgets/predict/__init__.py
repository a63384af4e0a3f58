"""Predict and look: a trained model over the video that is open, and what it sees beside what it should see."""
