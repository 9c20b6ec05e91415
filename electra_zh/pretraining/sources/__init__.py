"""Parts of a warm start: the report, the heads, and the generator of another model."""
