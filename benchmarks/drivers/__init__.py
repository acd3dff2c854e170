"""One process a subject: what is measured, and nothing else. Spoken to by JSON lines."""
