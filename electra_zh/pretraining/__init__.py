"""Pretraining: masking, objectives, metrics, and the wiring of one run."""
