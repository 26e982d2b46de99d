"""Mining: queries to programs to phrases, phrases to candidate boxes, candidates through three checks."""
