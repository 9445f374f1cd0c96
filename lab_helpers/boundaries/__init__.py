"""The boundaries of the course, by the same verbs: start, stop, snapshot, restore, list, remove."""
