"""Is the broker sound, and does it do what the fleet counts on? Facts go in, findings come out."""
