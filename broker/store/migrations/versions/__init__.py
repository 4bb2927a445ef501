"""One module per step of the schema; the revision is the schema's number."""
