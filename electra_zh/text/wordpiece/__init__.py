"""WordPiece: characters, tokenizer, training of a vocabulary."""
