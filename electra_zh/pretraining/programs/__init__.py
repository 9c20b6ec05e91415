"""Runs on machines without TensorFlow: the step is exported elsewhere, and trained here."""
