"""What champions say of every customer: scores, value, and reasons in words, a batch at a time."""
