"""Models from and to other tools: Hugging Face's transformers, Google's TF1 code."""
