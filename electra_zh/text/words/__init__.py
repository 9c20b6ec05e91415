"""Word segmentation: jieba, word lists, spaces."""
