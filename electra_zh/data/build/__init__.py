"""`build-data`: documents to TFRecord shards."""
