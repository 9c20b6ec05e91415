"""Scores of predictions, in percent as published tables have them."""
