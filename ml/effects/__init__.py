"""What contacts bring: effects against customers who were held out, with intervals, and how many it takes to see one."""
