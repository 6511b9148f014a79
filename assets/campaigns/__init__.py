"""Who is contacted, how, when, and why not."""
