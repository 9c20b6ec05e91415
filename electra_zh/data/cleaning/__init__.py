"""`clean`: a corpus made ready for build-data."""
