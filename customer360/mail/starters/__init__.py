"""Messages to begin with, a folder each; ``customer360 messages new`` copies them."""
