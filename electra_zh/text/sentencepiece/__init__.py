"""SentencePiece: models, tokenizer, training of a model."""
