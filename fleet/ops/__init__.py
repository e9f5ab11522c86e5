"""The operator's verbs, one per file: each returns a record, none prints."""
