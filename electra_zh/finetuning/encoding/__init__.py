"""Examples as token ids and labels, in NumPy: pairs, windows, words, tags, batches."""
