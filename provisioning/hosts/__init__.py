"""What must change on a host, and do it: one module each for what it holds and for each way to reach it."""
