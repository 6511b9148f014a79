"""Effects of contacts against customers who were held out, with intervals, and the sample sizes that detect them."""
