"""One module per sensor: what it watches, when it asks for a run, and what it says when it does not."""
