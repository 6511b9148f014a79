"""Places made by an earlier release are opened by this one with nothing lost."""
