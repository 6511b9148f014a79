"""Training, the model store's champion, and scores."""
