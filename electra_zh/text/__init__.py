"""Text to token ids, and vocabularies: nothing here loads TensorFlow. A folder is a tokenizer."""
