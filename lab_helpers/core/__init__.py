"""What every room builds upon, and what knows no tool: errors, events, waiting, processes, settings, storage."""
