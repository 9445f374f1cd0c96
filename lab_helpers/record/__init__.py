"""What happened, seen by background jobs: they write it into the journal while the learner works."""
