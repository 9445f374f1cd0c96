"""The log: one JSON object per line on standard output."""

import json
import logging
import sys
from datetime import UTC, datetime

log = logging.getLogger("pinboard")


def log_json_lines() -> None:
    """Send every logger of the process to standard output; of the libraries only what went wrong."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonLine())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    log.setLevel(logging.INFO)


class _JsonLine(logging.Formatter):
    """`extra={"fields": {...}}` of a log call becomes keys of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line; JSON escapes line breaks, so that nobody can forge a second one."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)
