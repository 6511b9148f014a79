"""Who is contacted, when, through which channel and with which offer, and why the others are not."""
