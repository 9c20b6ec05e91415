"""electra-zh: pretrain and fine-tune ELECTRA for Chinese with TensorFlow 2."""

__version__ = "0.1.0"
