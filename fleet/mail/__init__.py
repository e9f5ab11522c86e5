"""How does a mail leave the fleet? Templates in, one recipient, one clear outcome."""
