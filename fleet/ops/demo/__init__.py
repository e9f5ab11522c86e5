"""Does the whole job work on this machine? Every claim is shown on real components."""
