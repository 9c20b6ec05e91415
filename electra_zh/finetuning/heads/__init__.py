"""Output layers of several parts, and how their scores become spans and tags."""
