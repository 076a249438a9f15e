"""Text and its tokens: labels, words, conversations, names of rows, amounts in words."""
