"""Health of a run: measures of its networks, and the causes of a plateau or a collapse."""
