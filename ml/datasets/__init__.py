"""What models learn from: targets, training sets and their splits, and whether a feature knows what it must not."""
