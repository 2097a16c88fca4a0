"""Results and events in, text out; nothing is decided here."""
