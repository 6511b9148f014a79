"""Landing to raw: clicks by slice, history, reference tables."""
